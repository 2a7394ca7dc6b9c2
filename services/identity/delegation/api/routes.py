"""Delegations for programs: the portal, a caisse's own site, a firm's software. Audience: the issuer."""

import re
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from litestar import Request, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.http.application import Clock
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import new_id, parse_public_id, public_id
from services.identity.cabinets import store as cabinets
from services.identity.cabinets.portfolio import Client, portfolio
from services.identity.cabinets.store import Waiting
from services.identity.delegation import reading_store, store
from services.identity.delegation.api.acknowledged import floor_of, signed_receipt
from services.identity.delegation.notices import Notices
from services.identity.delegation.parties import may_manage_mandates
from services.identity.delegation.reading_store import Listed
from services.identity.delegation.revoke import revoke
from services.identity.floors.acknowledged import Questions, acknowledged, silent
from services.identity.openid.provider import Provider

OWN = Scopes("openid", "mandate.manage", delegable=False, services=False)
"""Any token of the person's own: what it sees follows from who it is, not from a right."""

OWN_WITH_TWO_FACTORS = Scopes("openid", delegable=False, services=False, acr="mfa")

MANAGE = Scopes(
    "mandate.manage", delegable=False, services=False, acr="two_step", max_age=timedelta(minutes=5)
)
"""Never a cabinet's token; a second step less than five minutes old (RFC 9470 tells the client)."""


@get("/api/me", access=OWN)
async def show_me(
    slug: FromPath[str],
    token: NamedDependency[AccessToken],
    db: NamedDependency[Database],
) -> dict[str, Any]:
    """Who the person is at this caisse: its firms, its cabinets, and the firm this token is for."""
    person_id = _person(token)
    async with db.transaction(parse_caisse_slug(slug)) as tx:
        person = await reading_store.person(tx, person_id)
        accounts = await reading_store.accounts_of(tx, person_id)
        memberships = await cabinets.memberships(tx, person_id)
    if person is None:
        raise NotFound
    return {
        "person": {
            "id": public_id("per", person.id),
            "email": person.email,
            "full_name": person.full_name,
        },
        "adherent": None if token.adherent_id is None else public_id("adh", token.adherent_id),
        "accounts": [
            {
                "adherent_id": public_id("adh", one.adherent_id),
                "adherent_number": one.adherent_number,
                "legal_name": one.legal_name,
                "siren": one.siren,
                "is_administrator": one.is_administrator,
                "rights": one.rights,
            }
            for one in accounts
        ],
        "cabinets": [
            {
                "cabinet_id": public_id("cab", one.cabinet_id),
                "siren": one.siren,
                "name": one.name,
                "role": one.role,
            }
            for one in memberships
        ],
    }


@get("/api/adherents/{adherent:str}/delegations", access=OWN)
async def list_delegations(
    slug: FromPath[str],
    adherent: FromPath[str],
    token: NamedDependency[AccessToken],
    db: NamedDependency[Database],
) -> dict[str, Any]:
    """Every delegation of the firm, to its own people; an unknown firm and another's answer alike."""
    adherent_id = parse_public_id("adh", adherent)
    async with db.transaction(parse_caisse_slug(slug)) as tx:
        await _of_the_firm(tx, token, adherent_id)
        every = await reading_store.of_adherent(tx, adherent_id)
    return {"delegations": [_listed(one) for one in every]}


@get("/api/cabinets/{cabinet:str}/portfolio", access=OWN_WITH_TWO_FACTORS)
async def show_portfolio(
    request: Request[Any, Any, Any],
    slug: FromPath[str],
    cabinet: FromPath[str],
    token: NamedDependency[AccessToken],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> dict[str, Any]:
    """The clients this collaborator may act for, and what waits for an answer.

    `search`, `page` (from 1) and `per_page` (at most 5,000) narrow it.
    """
    cabinet_id = parse_public_id("cab", cabinet)
    query = request.query_params
    now = clock()
    async with db.transaction(parse_caisse_slug(slug)) as tx:
        if await store.role_in_cabinet(tx, _person(token), cabinet_id) is None:
            raise NotFound
        waiting = await cabinets.waiting(tx, cabinet_id, _person(token), now)
        page = await portfolio(
            tx,
            _person(token),
            cabinet_id,
            now=now,
            search=query.get("search", "")[:100],
            page=_number(query.get("page", ""), 1),
            per_page=_number(query.get("per_page", ""), cabinets.LONGEST_PAGE),
        )
    return {
        "clients": [_waiting(one) for one in waiting] + [_client(one) for one in page.clients],
        "has_more": page.has_more,
    }


@delete("/api/mandates/{mandate:str}", access=MANAGE, status_code=200)
async def revoke_mandate(
    request: Request[Any, Any, Any],
    slug: FromPath[str],
    mandate: FromPath[str],
    token: NamedDependency[AccessToken],
    db: NamedDependency[Database],
    notices: NamedDependency[Notices],
    clock: NamedDependency[Clock],
    questions: NamedDependency[Questions],
    provider: NamedDependency[Provider],
    wait: FromQuery[Literal["all"] | None] = None,
) -> dict[str, Any]:
    """Revoke. `Idempotency-Key` (16 to 128 characters) may be given; without it, revoked is revoked, whoever asks.

    `wait=all` answers once every service has applied it, or has been silent for two seconds: with a
    receipt that the caisse signs. The revocation itself waits for nobody.
    """
    caisse = parse_caisse_slug(slug)
    mandate_id = parse_public_id("mdt", mandate)
    key = request.headers.get("idempotency-key", "")
    # Read first: once the power is taken back, nothing may keep the receipt from being signed.
    issuer = await provider.issuer(caisse)
    async with db.transaction(caisse) as tx:
        found = await store.find(tx, mandate_id)
        if found is None:
            raise NotFound
        await _of_the_firm(tx, token, found.adherent_id)
        by = await may_manage_mandates(tx, _person(token), found.adherent_id, is_stepped_up=True)
        if found.state == "revoked" and not key:
            revoked = found
        else:
            key = key if 16 <= len(key) <= 128 else f"revoke-{mandate}-{public_id('per', by.person_id)}"
            revoked = (await revoke(tx, by, mandate_id, key=key, now=clock(), notices=notices)).mandate
    told = {"id": mandate, "state": revoked.state, "version": revoked.version, "at": revoked.state_at}
    if wait is None:
        return told
    heard = await questions.ask(db, caisse, f"{mandate}/{revoked.version}", floor_of(revoked, clock()))
    signed = signed_receipt(issuer, revoked, heard, jti=new_id(), now=clock())
    return {**told, "acknowledged": acknowledged(heard), "silent": silent(heard), "receipt": signed}


async def _of_the_firm(tx: Tx, token: AccessToken, adherent_id: UUID) -> None:
    """Raises `NotFound` unless the token's person belongs to the firm, and the token is not for another."""
    if token.adherent_id not in (None, adherent_id):
        raise NotFound
    if await store.administers(tx, _person(token), adherent_id) is None:
        raise NotFound


def _person(token: AccessToken) -> UUID:
    if token.person_id is None:
        raise NotFound
    return token.person_id


def _number(typed: str, otherwise: int) -> int:
    return int(typed) if re.fullmatch("[1-9][0-9]{0,4}", typed) else otherwise


def _listed(one: Listed) -> dict[str, Any]:
    mandate = one.mandate
    return {
        "id": public_id("mdt", mandate.id),
        "version": mandate.version,
        "state": mandate.state,
        "family": mandate.family,
        "role": mandate.role,
        "scopes": mandate.scopes,
        "establishments": mandate.establishments,
        "starts_on": mandate.starts_on,
        "ends_on": mandate.ends_on,
        "amount_cap_cents": mandate.amount_cap_cents,
        "machine": mandate.machine,
        "answer_by": mandate.answer_by,
        "at": mandate.state_at,
        "cabinet_id": public_id("cab", mandate.cabinet_id),
        "cabinet_name": one.cabinet_name,
        "cabinet_siren": one.cabinet_siren,
        "adherent_id": public_id("adh", mandate.adherent_id),
        "adherent_number": one.adherent_number,
        "legal_name": one.firm_name,
        "siren": one.firm_siren,
    }


def _client(client: Client) -> dict[str, Any]:
    power = client.power
    return {
        "id": public_id("mdt", power.mandate_id),
        "version": power.version,
        "state": "active",
        "family": power.family,
        "role": power.role,
        "scopes": sorted(power.scopes),
        "establishments": power.establishments,
        "ends_on": client.ends_on,
        "not_after": power.not_after,
        "amount_cap_cents": power.amount_cap_cents,
        "group": None if power.group_id is None else public_id("grp", power.group_id),
        "adherent_id": public_id("adh", power.adherent_id),
        "adherent_number": power.adherent_number,
        "legal_name": client.legal_name,
        "siren": client.siren,
    }


def _waiting(one: Waiting) -> dict[str, Any]:
    return {
        "id": public_id("mdt", one.mandate_id),
        "state": one.state,
        "family": one.family,
        "role": one.role,
        "adherent_number": one.adherent_number,
        "legal_name": one.legal_name,
        "siren": one.siren,
        "answer_by": one.answer_by,
    }


ROUTES = [show_me, list_delegations, show_portfolio, revoke_mandate]
