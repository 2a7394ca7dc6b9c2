"""A mandate and a collaborator → a delegated token (RFC 8693). The adhérent is absent.

granted = requested ∩ mandate ∩ access group ∩ client ceiling ∩ resource, always
an intersection. Unknown, foreign, pending and dead mandates are one answer.
"""

# authlib's own annotations name its mixins; ours name what we pass.
# pyright: reportIncompatibleMethodOverride=false

from datetime import UTC, datetime
from typing import Any

from authlib.consts import default_json_headers
from authlib.oauth2.rfc6749 import BaseGrant, TokenEndpointMixin

from libs.common.database.journal import Act, Actor
from libs.common.values.identifiers import public_id
from services.identity.delegation.power import MandatePower
from services.identity.openid import audiences, dpop_binding, tokens
from services.identity.openid.authorization_details import narrow_mandate
from services.identity.openid.clients import TOKEN_EXCHANGE
from services.identity.openid.effects import Note
from services.identity.openid.issuing import pass_gate
from services.identity.openid.kernel import Kernel
from services.identity.openid.presented import bound_key
from services.identity.openid.refusals import (
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    UnauthorizedClient,
)
from services.identity.openid.snapshot import Grant

MANDATE = "urn:espace:params:oauth:token-type:mandate"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


class TokenExchange(BaseGrant, TokenEndpointMixin):
    """The grant that authlib lacks, through its own extension point."""

    GRANT_TYPE = TOKEN_EXCHANGE
    server: Kernel

    def validate_token_request(self) -> None:
        self.authenticate_token_endpoint_client()
        client = self.server.client
        if not client.check_grant_type(TOKEN_EXCHANGE) or not client.is_confidential:
            raise UnauthorizedClient("The client may not exchange tokens.")
        for check in CHECKS:
            check(self.server)
        pass_gate(self.server, actor_of(self.server), client)

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        return 200, issue(self.server), default_json_headers


def types_are_ours(kernel: Kernel) -> None:
    """RFC 8693 §2.1: a mandate as subject, an access token as actor, an access token as result."""
    asked = kernel.asked.parameters
    if asked.need("subject_token_type") != MANDATE or asked.need("actor_token_type") != ACCESS_TOKEN:
        raise InvalidRequest("The subject is a mandate and the actor an access token.")
    if (asked.get("requested_token_type") or ACCESS_TOKEN) != ACCESS_TOKEN:
        raise InvalidRequest("Only access tokens are issued.")
    asked.need("subject_token")
    asked.need("actor_token")


def actor_token_is_the_caller_s(kernel: Kernel) -> None:
    """Verified, alive, a person's own (a delegated token opens no second hop), of this client and for us."""
    claims, client = kernel.snapshot.presented, kernel.snapshot.client
    if claims is None or client is None or claims.get("client_id") != client.client_id:
        raise InvalidGrant
    if "act" in claims or not str(claims.get("sub", "")).startswith("per_"):
        raise InvalidGrant
    if claims.get("aud") != kernel.snapshot.issuer.url or kernel.snapshot.presented_is_revoked:
        raise InvalidGrant
    if expiry_of(claims) <= kernel.snapshot.now:
        raise InvalidGrant


def proof_key_is_the_actor_s(kernel: Kernel) -> None:
    """The caller holds the key that the actor token is bound to."""
    jkt = bound_key(kernel.snapshot.presented or {})
    if jkt is None or kernel.proof is None:
        raise InvalidGrant
    dpop_binding.check_bound(kernel.proof, jkt)


def actor_used_two_factors(kernel: Kernel) -> None:
    """delegation.md §5: members of a cabinet hold a second factor, without exception."""
    if (kernel.snapshot.presented or {}).get("acr") != "mfa":
        raise InvalidGrant


def mandate_is_in_force(kernel: Kernel) -> None:
    """One answer for unknown, foreign, pending, dead, and for whoever may not use it."""
    power_of(kernel)


CHECKS = (
    types_are_ours,
    actor_token_is_the_caller_s,
    proof_key_is_the_actor_s,
    actor_used_two_factors,
    mandate_is_in_force,
)


def power_of(kernel: Kernel) -> MandatePower:
    power = kernel.snapshot.power
    if power is None or power.not_after <= kernel.snapshot.now:
        raise InvalidGrant
    return power


def actor_of(kernel: Kernel) -> Grant:
    if kernel.snapshot.grant is None:
        raise InvalidGrant
    return kernel.snapshot.grant


def expiry_of(claims: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(claims["exp"], UTC)


def issue(kernel: Kernel) -> dict[str, Any]:
    """Lifetime = min(300 s, rest of actor token, of its grant, of mandate and group). No refresh token."""
    snapshot, asked = kernel.snapshot, kernel.asked.parameters
    power, actor, client = power_of(kernel), actor_of(kernel), snapshot.client
    if client is None or kernel.proof is None:
        raise InvalidGrant
    audience = audiences.chosen(asked.resources, audiences.open_to(client, snapshot.issuer), snapshot.issuer)
    scopes = power.scopes & client.scopes & audience.scopes
    if (wanted := asked.get("scope")) is not None:
        scopes &= frozenset(wanted.split())
    if not scopes:
        raise InvalidScope
    whole, narrowing = tokens.mandate_detail(snapshot, power), asked.get("authorization_details")
    details = [narrow_mandate(whole, narrowing, snapshot.establishments)]
    life = tokens.lifetime(
        snapshot.now,
        expiry_of(snapshot.presented or {}),
        actor.expires_at,
        power.not_after,
        longest=tokens.DELEGATED_TOKEN_LIFE,
    )
    kernel.effects.append(Note(_act(kernel, power, actor, scopes)))
    return {
        "access_token": tokens.delegated_token(
            snapshot, client, actor, power,
            audience=audience.uri, scopes=scopes, details=details, jkt=kernel.proof.jkt, life=life,
        ),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "DPoP",
        "expires_in": int(life.total_seconds()),
        "scope": " ".join(sorted(scopes)),
        "authorization_details": details,
    }  # fmt: skip


def _act(kernel: Kernel, power: MandatePower, actor: Grant, scopes: frozenset[str]) -> Act:
    return Act(
        action="token.delegated",
        subject_kind="mandate",
        subject_id=public_id("mdt", power.mandate_id),
        at=kernel.snapshot.now,
        adherent_id=power.adherent_id,
        actor=Actor(
            person_id=actor.subject.person_id,
            cabinet_id=power.cabinet_id,
            mandate_id=power.mandate_id,
            mandate_version=power.version,
        ),
        details={"client_id": actor.client_id, "scopes": sorted(scopes)},
    )
