"""Espace as the party under load: its clients, its people, one of them signed in, and a cabinet with a mandate."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bench.espace_installation import CAISSE, Installation
from bench.oauth_party import REDIRECT, SCOPE, Client, Delegation, Party
from libs.common.access.signatures import SigningKey
from libs.common.database.transaction import Tx
from libs.common.values.identifiers import new_id, public_id
from libs.common.values.siret import luhn_digit
from services.identity.cabinets.register import add_collaborator, create_cabinet
from services.identity.delegation.accept import accept_offer
from services.identity.delegation.mandate import ALL
from services.identity.delegation.notices import Notices
from services.identity.delegation.offer import offer
from services.identity.delegation.parties import MayAnswerForCabinet, MayManageMandates
from services.identity.delegation.terms import Terms, default_days, grants_of_bundle
from services.identity.mail.enqueue import Mail
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, REFRESH, TOKEN_EXCHANGE, ClientMetadata
from services.identity.openid.write_client import register_client
from services.identity.sign_in.session import Acr, cookie_name, open_session

EVERYTHING = f"{SCOPE} declaration.read declaration.submit attestation.read attestation.request standing.read"


@dataclass
class Member:
    """Somebody with one firm."""

    person_id: UUID
    adherent_id: UUID
    email: str


async def espace_party(inst: Installation, name: str = "espace") -> Party:
    """Three clients, and a browser with a session."""
    issuer = f"{inst.settings.identity.base}/{CAISSE}"
    party = Party(name, inst.host, issuer, {})
    party.clients["plain"] = await a_client(
        inst, profile="compat", token_endpoint_auth_method="client_secret_basic"
    )
    party.clients["signed"] = await a_client(inst, profile="compat")
    party.clients["bound"] = await a_client(
        inst, profile="fapi", grant_types=(CODE, REFRESH, CLIENT_CREDENTIALS, TOKEN_EXCHANGE)
    )
    member = await a_member(inst)
    party.cookies = await a_browser(inst, member.person_id)
    party.delegation = await a_delegation(inst, member)
    return party


async def a_client(inst: Installation, **said: Any) -> Client:
    key = SigningKey.generate("ES256")
    by_key = said.get("token_endpoint_auth_method", "private_key_jwt") == "private_key_jwt"
    known: dict[str, Any] = {
        "client_name": "Logiciel mesuré",
        "redirect_uris": (REDIRECT,),
        "grant_types": (CODE, REFRESH, CLIENT_CREDENTIALS),
        "scope": EVERYTHING,
        "consent": "implicit",
        "resources": tuple(
            f"{inst.settings.service(name).base}/{CAISSE}" for name in ("adherent", "documents")
        ),
        **({"jwks": {"keys": [key.published_jwk()]}} if by_key else {}),
        **said,
    }
    async with inst.db.transaction(CAISSE) as tx:
        client = await register_client(tx, ClientMetadata(**known), now=datetime.now(UTC), plain_http=True)
    bound = SigningKey.generate("ES256") if said["profile"] == "fapi" else None
    return Client(client.client_id, client.secret, key, bound)


async def a_member(inst: Installation, *, password_hash: str | None = None) -> Member:
    """A person with an active account for a firm of their own."""
    adherent_id, now = new_id(), datetime.now(UTC)
    async with inst.db.transaction(CAISSE) as tx:
        person_id = await a_person(tx, now, password_hash=password_hash)
        await tx.execute(
            """
            INSERT INTO adherent (id, caisse, adherent_number, siren, siret, legal_name, address, imported_at)
            VALUES ($1, $2, $3, '732829320', '73282932000074', 'Maçonnerie du Port', '{1 rue du Port}', $4)
            """,
            adherent_id, CAISSE, adherent_id.hex[-12:], now,
        )  # fmt: skip
        await tx.execute(
            """
            INSERT INTO account (id, caisse, person_id, adherent_id, is_administrator, rights, state, created_at,
                                 activated_at)
            VALUES ($1, $2, $3, $4, true, '{}', 'active', $5, $5)
            """,
            new_id(), CAISSE, person_id, adherent_id, now,
        )  # fmt: skip
    return Member(person_id, adherent_id, email_of(person_id))


async def a_browser(inst: Installation, person_id: UUID, *, acr: Acr = "pwd") -> dict[str, str]:
    """The cookies of a session of this person, as the sign-in page would open it."""
    now = datetime.now(UTC)
    async with inst.db.transaction(CAISSE) as tx:
        opened = await open_session(
            tx, person_id=person_id, acr=acr, amr=["pwd"] if acr == "pwd" else ["pwd", "otp"], now=now,
            second_factor_at=None if acr == "pwd" else now,
        )  # fmt: skip
    return {cookie_name(CAISSE): opened.cookie}


async def a_delegation(inst: Installation, member: Member) -> Delegation:
    """The member's firm gave a mandate to a cabinet, whose owner is signed in with two factors."""
    now, notices = datetime.now(UTC), Notices(Mail(inst.keys), inst.settings.identity.base)
    starts_on, ends_on = default_days(now)
    terms = Terms(grants_of_bundle("declare"), ALL, starts_on, ends_on, None)
    async with inst.db.transaction(CAISSE) as tx:
        owner = await a_person(tx, now)
        cabinet = await create_cabinet(tx, _a_siren(), "Cabinet mesuré", now=now, open_to_all=True)
        await add_collaborator(tx, cabinet, owner, "owner", now=now)
        firm = MayManageMandates(member.person_id, member.adherent_id, is_stepped_up=True)
        offered = await offer(tx, firm, cabinet, terms, key=str(new_id()), now=now, notices=notices)
        answering = MayAnswerForCabinet(owner, cabinet)
        await accept_offer(tx, answering, offered.mandate.id, key=str(new_id()), now=now, notices=notices)
    return Delegation(
        public_id("mdt", offered.mandate.id),
        f"{inst.settings.adherent.base}/{CAISSE}",
        await a_browser(inst, owner, acr="mfa"),
    )


def _a_siren() -> str:
    digits = f"{secrets.randbelow(90_000_000) + 10_000_000}"
    return digits + luhn_digit(digits)


async def a_person(tx: Tx, now: datetime, *, password_hash: str | None = None) -> UUID:
    person_id = new_id()
    email = email_of(person_id)
    await tx.execute(
        """
        INSERT INTO person (id, email, email_key, full_name, password_hash, created_at)
        VALUES ($1, $2, $2, 'Camille Martin', $3, $4)
        """,
        person_id, email, password_hash, now,
    )  # fmt: skip
    return person_id


def email_of(person_id: UUID) -> str:
    return f"{person_id.hex}@entreprise.example"
