"""The three shapes of access token, and the ID token. Claims first, one signature each.

Shapes: docs/reference/tokens.md. `jti` of a person's token begins with its
grant, so that revoking the grant is seen by introspection without a row per token.
"""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from libs.common.access.signatures import b64url
from libs.common.values.identifiers import public_id
from services.identity.delegation.power import MandatePower
from services.identity.openid.clients import Client
from services.identity.openid.person_claims import granted_claims
from services.identity.openid.snapshot import Grant, Snapshot
from services.identity.openid.subject_gate import AnsweredFor, InForce
from services.identity.sign_in.session import sid_of

ACCESS_TOKEN_LIFE = timedelta(minutes=10)
DELEGATED_TOKEN_LIFE = timedelta(minutes=5)
ID_TOKEN_LIFE = timedelta(minutes=10)


def new_jti(grant_id: UUID | None = None) -> str:
    tail = secrets.token_urlsafe(12)
    return tail if grant_id is None else f"{public_id('gnt', grant_id)}.{tail}"


def _base(
    snapshot: Snapshot, client: Client, audience: str, scopes: Iterable[str], life: timedelta
) -> dict[str, Any]:
    # Never after the database's clock at the moment of the read: a revocation that was not seen is dated later.
    issued_at = int((snapshot.now - snapshot.ahead).timestamp())
    return {
        "iss": snapshot.issuer.url,
        "aud": audience,
        "caisse": snapshot.issuer.caisse,
        "client_id": client.client_id,
        "iat": issued_at,
        "exp": issued_at + int(life.total_seconds()),
        "scope": " ".join(sorted(scopes)),
    }


def _confirmed(claims: dict[str, Any], jkt: str | None) -> dict[str, Any]:
    return {**claims, "cnf": {"jkt": jkt}} if jkt is not None else claims


def own_token(
    snapshot: Snapshot,
    client: Client,
    grant: InForce,
    *,
    audience: str,
    scopes: Iterable[str],
    jkt: str | None,
    life: timedelta,
) -> str:
    """A person's own token, for the firm they chose to act for, if any."""
    claims = _base(snapshot, client, audience, scopes, life)
    claims |= {"sub": public_id("per", grant.subject.person_id), "jti": new_jti(grant.id)} | _authentication(
        grant
    )
    if grant.subject.adherent_id is not None:
        claims["adherent"] = public_id("adh", grant.subject.adherent_id)
    return snapshot.issuer.keys.sign(_confirmed(claims, jkt), typ="at+jwt")


def _authentication(grant: Grant) -> dict[str, Any]:
    granted = grant.granted
    return {
        "acr": granted.acr,
        "amr": list(granted.amr),
        "auth_time": granted.auth_time,
        "sid": sid_of(grant.subject.session_id),
    }


def service_token(
    snapshot: Snapshot, client: Client, *, audience: str, scopes: Iterable[str], jkt: str | None
) -> str:
    """A service's own token; its `sub` is its client id, which can never look like a person's (openid.md line 23)."""
    claims = _base(snapshot, client, audience, scopes, ACCESS_TOKEN_LIFE)
    claims |= {"sub": client.client_id, "jti": new_jti()}
    return snapshot.issuer.keys.sign(_confirmed(claims, jkt), typ="at+jwt")


def mandate_detail(snapshot: Snapshot, power: MandatePower) -> dict[str, Any]:
    """The power as RFC 9396 details: what the token may do, for which establishments, until when."""
    detail: dict[str, Any] = {
        "type": "mandate",
        "mandate": public_id("mdt", power.mandate_id),
        "ver": power.version,
        "family": power.family,
        "role": power.role,
        "identifier": f"{snapshot.issuer.caisse}:{power.adherent_number}",
        "establishments": list(power.establishments),
        "not_after": int(power.not_after.timestamp()),
    }
    if power.group_id is not None:
        detail["group"] = public_id("grp", power.group_id)
    if power.amount_cap_cents is not None:
        detail["amount_cap_cents"] = power.amount_cap_cents
    return detail


class Acting(Struct, frozen=True, kw_only=True):
    """Whoever holds the pen in a delegated act: what its token says of it, and until when it may.

    `act` are its own members of the claim (RFC 8693 §4.1); `authentication` is a person's; `grant_id` is
    the grant that a person's token came from. `until` None leaves the mandate alone to bound the token.
    """

    act: dict[str, str]
    authentication: dict[str, Any] = {}
    grant_id: UUID | None = None
    person_id: UUID | None = None
    until: datetime | None = None


def person_acting(grant: InForce, until: datetime) -> Acting:
    """A collaborator, by their own token of which this is the grant."""
    person_id = grant.subject.person_id
    return Acting(
        act={"sub": public_id("per", person_id), "sub_profile": "user"},
        authentication=_authentication(grant),
        grant_id=grant.id,
        person_id=person_id,
        until=until,
    )


def machine_acting(machine: AnsweredFor) -> Acting:
    """A cabinet's software, and who answers for it: nobody signed in, so nothing tells when or how."""
    sponsor = public_id("per", machine.sponsor_id)
    return Acting(act={"sub": public_id("mch", machine.id), "sub_profile": "service", "sponsor": sponsor})


def delegated_token(
    snapshot: Snapshot,
    client: Client,
    acting: Acting,
    power: MandatePower,
    *,
    audience: str,
    scopes: Iterable[str],
    details: list[dict[str, Any]],
    jti: str,
    jkt: str,
    life: timedelta,
) -> str:
    """The adhérent's power in a cabinet's hand: `sub` is the firm, `act` the person or machine, and the cabinet."""
    claims = _base(snapshot, client, audience, scopes, life)
    claims |= {
        "sub": public_id("adh", power.adherent_id),
        "jti": jti,
        "act": {
            **acting.act,
            "iss": snapshot.issuer.url,
            "org": public_id("cab", power.cabinet_id),
            "org_siren": power.cabinet_siren,
        },
        "authorization_details": details,
        **acting.authentication,
    }
    return snapshot.issuer.keys.sign(_confirmed(claims, jkt), typ="at+jwt")


def id_token(
    snapshot: Snapshot, client: Client, grant: InForce, *, nonce: str | None, access_token: str
) -> str:
    """OpenID Connect Core §2: who signed in, when and how, for this client alone."""
    algorithm = client.metadata.id_token_signed_response_alg
    issued_at = int(snapshot.now.timestamp())
    claims: dict[str, Any] = {
        "iss": snapshot.issuer.url,
        "sub": grant.granted.subject,
        "aud": client.client_id,
        "iat": issued_at,
        "exp": issued_at + int(ID_TOKEN_LIFE.total_seconds()),
        "at_hash": half_hash(access_token, algorithm),
    } | _authentication(grant)
    claims["acr"] = grant.granted.answered_acr or grant.granted.acr
    if nonce is not None:
        claims["nonce"] = nonce
    claims |= granted_claims("id_token", grant, client)
    return snapshot.issuer.keys.sign(claims, typ="JWT", algorithm=algorithm)


def half_hash(value: str, algorithm: str) -> str:
    """`at_hash` (OpenID Connect Core §3.1.3.6): SHA-512 for EdDSA with Ed25519, SHA-256 for the others."""
    digest = (hashlib.sha512 if algorithm == "EdDSA" else hashlib.sha256)(value.encode()).digest()
    return b64url(digest[: len(digest) // 2])


def lifetime(now: datetime, *ends: datetime, longest: timedelta) -> timedelta:
    """The shortest of all that bounds a token."""
    return min([longest, *(end - now for end in ends)])
