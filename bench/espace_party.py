"""Espace as the party under load: its clients, its people, one of them signed in."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.espace_installation import CAISSE, Installation
from bench.oauth_party import REDIRECT, SCOPE, Client, Party
from libs.common.access.signatures import SigningKey
from libs.common.values.identifiers import new_id
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, REFRESH, TOKEN_EXCHANGE, ClientMetadata
from services.identity.openid.register import register_client
from services.identity.sign_in.session import cookie_name, open_session

EVERYTHING = f"{SCOPE} declaration.read declaration.submit attestation.read attestation.request standing.read"


@dataclass
class Member:
    """Somebody with one firm."""

    person_id: Any
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
    await open_browser(inst, party, member.person_id)
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
        "resources": (f"{inst.settings.adherent.base}/{CAISSE}",),
        **({"jwks": {"keys": [key.published_jwk()]}} if by_key else {}),
        **said,
    }
    async with inst.db.transaction(CAISSE) as tx:
        client = await register_client(tx, ClientMetadata(**known), now=datetime.now(UTC), plain_http=True)
    bound = SigningKey.generate("ES256") if said["profile"] == "fapi" else None
    return Client(client.client_id, client.secret, key, bound)


async def a_member(inst: Installation, *, password_hash: str | None = None) -> Member:
    """A person with an active account for a firm of their own."""
    person_id, adherent_id, now = new_id(), new_id(), datetime.now(UTC)
    email = f"{person_id.hex}@entreprise.example"
    async with inst.db.transaction(CAISSE) as tx:
        await tx.execute(
            """
            INSERT INTO person (id, email, email_key, full_name, password_hash, created_at)
            VALUES ($1, $2, $2, 'Camille Martin', $3, $4)
            """,
            person_id, email, password_hash, now,
        )  # fmt: skip
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
    return Member(person_id, email)


async def open_browser(inst: Installation, party: Party, person_id: Any, *, acr: Any = "pwd") -> None:
    """Give the party's browser a session of this person, as the sign-in page would open it."""
    now = datetime.now(UTC)
    async with inst.db.transaction(CAISSE) as tx:
        opened = await open_session(
            tx, person_id=person_id, acr=acr, amr=["pwd"] if acr == "pwd" else ["pwd", "otp"], now=now,
            second_factor_at=None if acr == "pwd" else now,
        )  # fmt: skip
    party.cookies = {cookie_name(CAISSE): opened.cookie}
