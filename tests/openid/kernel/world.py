"""A kernel without a database: snapshots made by hand, so that Hypothesis can turn every knob."""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from libs.common.access.dpop import Nonces, dpop_proof
from libs.common.access.signatures import SigningKey, b64url, sign_compact
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.cabinets.machine_store import Machine
from services.identity.delegation.power import MandatePower
from services.identity.openid.bucket_names import code_place, refresh_place
from services.identity.openid.caller import UnprovenRequest
from services.identity.openid.client_authentication import credentials_of
from services.identity.openid.clients import (
    CLIENT_CREDENTIALS,
    CODE,
    REFRESH,
    TOKEN_EXCHANGE,
    Client,
    ClientMetadata,
)
from services.identity.openid.dpop_binding import ProofHeaders
from services.identity.openid.issuer import Issuer, audiences_of
from services.identity.openid.snapshot import Code, Grant, Granted, Refresh, Snapshot, Subject
from services.identity.openid.subject_gate import InForce
from services.identity.openid.tokens import own_token
from services.identity.openid.wire import Parameters
from services.identity.signing_keys.key_ring import KeyRing

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
URL = "https://id.example.test/mediterranee"
ADHERENT = "https://adherent.example.test/mediterranee"
DOCUMENTS = "https://documents.example.test/mediterranee"
VERIFIER = "v" * 64
SCOPES = "openid email declaration.read declaration.submit attestation.request"


@cache
def keys() -> dict[str, SigningKey]:
    return {name: SigningKey.generate("ES256") for name in ("issuer", "client", "dpop", "other")}


@cache
def issuer() -> Issuer:
    key = keys()["issuer"]
    ring = KeyRing({"ES256": key}, [key.published_jwk()])
    return Issuer(CaisseSlug("mediterranee"), URL, audiences_of(URL, ADHERENT, DOCUMENTS), ring)


def client(**changes: Any) -> Client:
    said: dict[str, Any] = {
        "client_name": "Logiciel",
        "profile": "fapi",
        "redirect_uris": ("https://client.example/cb",),
        "grant_types": (CODE, REFRESH, CLIENT_CREDENTIALS, TOKEN_EXCHANGE),
        "scope": SCOPES,
        "resources": (ADHERENT, DOCUMENTS),
        "jwks": {"keys": [keys()["client"].published_jwk()]},
        **changes,
    }
    return Client(client_id="client_1", state="active", secret_hash=None, metadata=ClientMetadata(**said))


def subject(**changes: Any) -> Subject:
    said: dict[str, Any] = {
        "person_id": UUID(int=1),
        "person_state": "active",
        "email": "a@example.test",
        "full_name": "Awa Diallo",
        "locale": "fr",
        "session_id": UUID(int=2),
        "session_ends_at": NOW + timedelta(hours=2),
        "session_seen_at": NOW,
        "account_id": UUID(int=3),
        "account_state": "active",
        "is_administrator": True,
        "adherent_id": UUID(int=4),
        "adherent_number": "123456",
        "adherent_state": "member",
        **changes,
    }
    return Subject(**said)


def grant(**changes: Any) -> Grant:
    said: dict[str, Any] = {
        "id": UUID(int=5),
        "client_id": "client_1",
        "granted": Granted(
            scopes=tuple(SCOPES.split()), resources=(URL, ADHERENT, DOCUMENTS), auth_time=int(NOW.timestamp()) - 60,
            acr="mfa", amr=("pwd", "otp"), subject="per_X",
        ),
        "created_at": NOW,
        "expires_at": NOW + timedelta(hours=12),
        "revoked": False,
        "subject": subject(),
        **changes,
    }  # fmt: skip
    return Grant(**said)


def code(**changes: Any) -> Code:
    said: dict[str, Any] = {
        "place": code_place("c"),
        "grant": grant(),
        "redirect_uri": "https://client.example/cb",
        "code_challenge": b64url(hashlib.sha256(VERIFIER.encode()).digest()),
        "dpop_jkt": None,
        "nonce": "n",
        "expires_at": NOW + timedelta(seconds=60),
        "consumed": False,
        **changes,
    }
    return Code(**said)


def refresh(**changes: Any) -> Refresh:
    said: dict[str, Any] = {
        "place": refresh_place("r"), "grant": grant(), "dpop_jkt": None, "expires_at": NOW + timedelta(days=1),
        "spent": False,
        **changes,
    }  # fmt: skip
    return Refresh(**said)


def power(**changes: Any) -> MandatePower:
    said: dict[str, Any] = {
        "mandate_id": UUID(int=6), "version": 7, "adherent_id": UUID(int=4), "adherent_number": "123456",
        "family": "contributions", "role": "principal",
        "scopes": frozenset({"declaration.read", "declaration.submit", "attestation.request"}),
        "establishments": ("*",), "not_after": NOW + timedelta(days=300), "amount_cap_cents": None,
        "cabinet_id": UUID(int=8), "cabinet_siren": "732829320", "group_id": None, "machine": False, **changes,
    }  # fmt: skip
    return MandatePower(**said)


def snapshot(**changes: Any) -> Snapshot:
    the_client: Client = changes.get("client") or client()
    said: dict[str, Any] = {
        "issuer": issuer(),
        "now": NOW,
        "nonces": Nonces(b"n" * 32),
        "client": the_client,
        "client_keys": tuple((the_client.metadata.jwks or {}).get("keys", ())),
        **changes,
    }
    return Snapshot(**said)


def presented(the_grant: Grant, scopes: tuple[str, ...] = ("openid",)) -> dict[str, Any]:
    """The claims of an actor token that this grant would have given a moment ago."""
    token = own_token(
        snapshot(),
        client(),
        InForce(the_grant),
        audience=URL,
        scopes=scopes,
        jkt=keys()["dpop"].kid,
        life=timedelta(minutes=10),
    )
    return issuer().keys.read_own_jwt(token, typ="at+jwt") or {}


FORMS: dict[str, dict[str, str]] = {
    CODE: {"code": "c", "redirect_uri": "https://client.example/cb", "code_verifier": VERIFIER},
    REFRESH: {"refresh_token": "r"},
    CLIENT_CREDENTIALS: {},
    TOKEN_EXCHANGE: {
        "subject_token": "mdt_X",
        "subject_token_type": "urn:espace:params:oauth:token-type:mandate",
        "actor_token": "t",
        "actor_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "resource": ADHERENT,
    },
}


def assertion(**changes: Any) -> str:
    now = int(NOW.timestamp())
    said = {
        "iss": "client_1",
        "sub": "client_1",
        "aud": URL,
        "iat": now,
        "exp": now + 60,
        "jti": "j",
        **changes,
    }
    return sign_compact(keys()["client"], {"kid": keys()["client"].kid}, said)


def asked(grant_type: str, **changes: str) -> UnprovenRequest:
    """A right request of a right client; `changes` are its form's."""
    form = {
        "grant_type": grant_type,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion(),
        **FORMS[grant_type],
        **changes,
    }
    resource = form.pop("resource", None)
    parameters = Parameters(form, (resource,) if resource else ())
    proof = dpop_proof(keys()["dpop"], "POST", f"{URL}/token", clock=NOW.timestamp)
    return UnprovenRequest(
        parameters, credentials_of(parameters, None), ProofHeaders((proof,), "POST", f"{URL}/token")
    )


def machine(**changes: Any) -> Machine:
    said: dict[str, Any] = {
        "id": UUID(int=9), "client_id": "client_1", "cabinet_id": UUID(int=8), "name": "Paie & Co",
        "sponsor_id": UUID(int=1), "sponsor_state": "active", "membership": "active", "not_before": None, **changes,
    }  # fmt: skip
    return Machine(**said)


def asked_by_a_machine() -> UnprovenRequest:
    """An exchange without an actor token: whoever calls is the actor."""
    whole = asked(TOKEN_EXCHANGE)
    values = {n: v for n, v in whole.parameters.values.items() if not n.startswith("actor_token")}
    return replace(whole, parameters=Parameters(values, whole.parameters.resources))


def asked_by_a_public_client(grant_type: str) -> UnprovenRequest:
    """The same, of a client that proves nothing but its key."""
    whole = asked(grant_type)
    values = {n: v for n, v in whole.parameters.values.items() if not n.startswith("client_assertion")}
    parameters = Parameters({**values, "client_id": "client_1"}, whole.parameters.resources)
    return replace(whole, parameters=parameters, credentials=credentials_of(parameters, None))


def whole_snapshot(the_grant: Grant | None = None, **changes: Any) -> Snapshot:
    """Everything every grant reads, all of it in order."""
    found = the_grant or grant()
    actor = grant(subject=replace(found.subject), revoked=found.revoked, client_id=found.client_id)
    said: dict[str, Any] = {
        "code": code(grant=found),
        "refresh": refresh(grant=found),
        "grant": actor,
        "presented": presented(grant()),
        "power": power(),
        **changes,
    }
    return snapshot(**said)
