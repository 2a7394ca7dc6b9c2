"""What a person's grant is turned into: access token, ID token, refresh token."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

from services.identity.cabinets.machine_store import Machine
from services.identity.openid import audiences, dpop_binding, subject_gate, token_journal, tokens
from services.identity.openid.authorization_details import within_grant
from services.identity.openid.bucket_names import new_refresh_secret, refresh_place
from services.identity.openid.clients import Client
from services.identity.openid.effects import StoreRefresh
from services.identity.openid.issuer import OPENID_SCOPES, Audience
from services.identity.openid.kernel import Kernel
from services.identity.openid.refusals import InvalidGrant
from services.identity.openid.snapshot import Grant
from services.identity.openid.subject_gate import AnsweredFor, InForce, Stopped
from services.identity.sign_in.session import LONGEST

REFRESH_IDLE = timedelta(days=14)
OFFLINE_GRANT_LIFE = timedelta(days=90)
SESSION_GRANT_LIFE = LONGEST
"""From the beginning of the session, not of the grant."""


class AccessLasts(NamedTuple):
    """How long one authorization lets a client in, for people to read: whole days, or hours of a session at most."""

    days: int = 0
    hours: int = 0


def access_lasts(scopes: Iterable[str]) -> AccessLasts:
    """By the very clocks of the grant (`completion.py`)."""
    if "offline_access" in scopes:
        return AccessLasts(days=OFFLINE_GRANT_LIFE.days)
    return AccessLasts(hours=SESSION_GRANT_LIFE // timedelta(hours=1))


def pass_gate(kernel: Kernel, grant: Grant, shown: dict[str, Any] | None = None) -> InForce:
    """Whatever stops the subject reads as `invalid_grant` (openid.md §4, "gate missing in a sibling grant").

    `shown` are the claims of the access token by which the grant is known, if it is.
    """
    snapshot, client = kernel.snapshot, kernel.client
    try:
        if shown is None:
            passed = subject_gate.check_grant(grant, client, snapshot.now)
        else:
            passed = subject_gate.check_token(shown, snapshot.floor, grant, client, snapshot.now)
    except Stopped as stop:
        token_journal.note_refusal(kernel.caller, stop.reason, grant)
        raise InvalidGrant from stop
    if grant.expires_at <= snapshot.now:
        raise InvalidGrant
    return passed


def pass_gate_of_machine(kernel: Kernel, machine: Machine) -> AnsweredFor:
    """The same gate for a cabinet's software, which stands on its sponsor."""
    try:
        return subject_gate.check_machine(machine, kernel.client)
    except Stopped as stop:
        token_journal.note_machine_refusal(kernel.caller, stop.reason, machine)
        raise InvalidGrant from stop


def chosen_audience(kernel: Kernel, grant: InForce, client: Client) -> Audience:
    """granted ∩ what the client is registered for today, and of that the one that is asked. Raises `InvalidTarget`."""
    issuer = kernel.snapshot.issuer
    allowed = audiences.granted_still(grant.granted.resources, client, issuer)
    audience = audiences.chosen(kernel.asked.parameters.resources, allowed, issuer)
    dpop_binding.check_reach(kernel.proof, audience, issuer)
    return audience


def narrowed_scopes(
    kernel: Kernel, grant: InForce, client: Client, audience: Audience, asked: str | None
) -> list[str]:
    """granted ∩ asked ∩ what is allowed today ∩ what the audience knows. Never wider than the grant."""
    granted = frozenset(grant.granted.scopes)
    wanted = granted & frozenset(asked.split()) if asked else granted
    allowed = subject_gate.allowed_scopes(wanted, client, grant.subject) & audience.scopes
    if kernel.proof is None:
        # openid.md §1, `compat`: a bearer token opens UserInfo and nothing else.
        allowed &= OPENID_SCOPES
    return sorted(allowed)


def token_response(
    kernel: Kernel,
    client: Client,
    grant: InForce,
    audience: Audience,
    scopes: list[str],
    *,
    nonce: str | None = None,
) -> dict[str, Any]:
    """RFC 6749 §5.1. `scope` is always said: it may be less than was asked. No token outlives its grant.

    Raises `InvalidAuthorizationDetails` when more is asked than was granted.
    """
    asked = kernel.asked.parameters.get("authorization_details")
    details = within_grant(grant.granted.details, _firm_of(kernel, grant), asked)
    jkt = kernel.proof.jkt if kernel.proof else None
    life = tokens.lifetime(kernel.snapshot.now, grant.expires_at, longest=tokens.ACCESS_TOKEN_LIFE)
    access_token = tokens.own_token(
        kernel.snapshot, client, grant, audience=audience.uri, scopes=scopes, jkt=jkt, life=life
    )
    answer: dict[str, Any] = {
        "access_token": access_token,
        "token_type": "DPoP" if jkt else "Bearer",
        "expires_in": int(life.total_seconds()),
        "scope": " ".join(scopes),
    }
    if "openid" in grant.granted.scopes:
        answer["id_token"] = tokens.id_token(
            kernel.snapshot, client, grant, nonce=nonce, access_token=access_token
        )
    if details:
        answer["authorization_details"] = details
    return answer


def _firm_of(kernel: Kernel, grant: Grant) -> str | None:
    number = grant.subject.adherent_number
    return None if number is None else f"{kernel.snapshot.issuer.caisse}:{number}"


def new_refresh_token(kernel: Kernel, client: Client, grant: InForce) -> tuple[str, StoreRefresh]:
    """32 random bytes; a public client's is bound to its DPoP key (RFC 9449 §5), a confidential one's to the client."""
    secret = new_refresh_secret(grant.id)
    bound = kernel.proof.jkt if kernel.proof and not client.is_confidential else None
    now = kernel.snapshot.now
    return secret, StoreRefresh(
        place=refresh_place(secret),
        grant_id=grant.id,
        dpop_jkt=bound,
        issued_at=now,
        expires_at=min(now + REFRESH_IDLE, grant.expires_at),
    )
