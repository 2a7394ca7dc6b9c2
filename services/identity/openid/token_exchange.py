"""A mandate and whoever acts → a delegated token (RFC 8693). The adhérent is absent.

The actor is a collaborator, by the access token they obtained through the calling
client, or the calling client itself, when it is a cabinet's software: then there is
no actor token. What proves the actor differs; all that follows is one path.

granted = requested ∩ mandate ∩ access group ∩ client ceiling ∩ resource, always
an intersection. Unknown, foreign, pending and dead mandates are one answer.
"""

# authlib's own annotations name its mixins; ours name what we pass.
# pyright: reportIncompatibleMethodOverride=false

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from authlib.consts import default_json_headers
from authlib.oauth2.rfc6749 import BaseGrant, TokenEndpointMixin

from libs.common.database.journal import Act, Actor
from libs.common.values.identifiers import public_id
from services.identity.cabinets.machine_store import Machine
from services.identity.delegation.power import MandatePower
from services.identity.openid import audiences, dpop_binding, tokens
from services.identity.openid.authorization_details import narrow_mandate
from services.identity.openid.clients import TOKEN_EXCHANGE
from services.identity.openid.effects import Note, NoteUse, SpendPass
from services.identity.openid.issuing import pass_gate, pass_gate_of_machine
from services.identity.openid.kernel import Kernel
from services.identity.openid.presented import bound_key
from services.identity.openid.refusals import (
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    UnauthorizedClient,
)
from services.identity.openid.snapshot import Grant
from services.identity.openid.tokens import Acting, machine_acting, person_acting
from services.identity.openid.wire import Parameters
from services.identity.sign_in.throttle import Allowance, bucket_of

MANDATE = "urn:espace:params:oauth:token-type:mandate"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
PER_CABINET = Allowance(timedelta(milliseconds=50), 600)
"""Exchanges of all the machines of one cabinet in one caisse, refused ones included: 20 a second, 600 at once."""


class TokenExchange(BaseGrant, TokenEndpointMixin):
    """The grant that authlib lacks, through its own extension point."""

    GRANT_TYPE = TOKEN_EXCHANGE
    server: Kernel

    def validate_token_request(self) -> None:
        self.authenticate_token_endpoint_client()
        client = self.server.client
        if not client.check_grant_type(TOKEN_EXCHANGE) or not client.is_confidential:
            raise UnauthorizedClient("The client may not exchange tokens.")
        for check in checks_of(self.server):
            check(self.server)

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        return 200, issue(self.server), default_json_headers


def by_itself(asked: Parameters) -> bool:
    """RFC 8693 §2.1: without an actor token, the actor is the authenticated client."""
    return asked.get("actor_token") is None and asked.get("actor_token_type") is None


# Of every exchange.


def types_are_ours(kernel: Kernel) -> None:
    """RFC 8693 §2.1: a mandate as subject, an access token as result."""
    asked = kernel.asked.parameters
    if asked.need("subject_token_type") != MANDATE:
        raise InvalidRequest("The subject is a mandate.")
    if (asked.get("requested_token_type") or ACCESS_TOKEN) != ACCESS_TOKEN:
        raise InvalidRequest("Only access tokens are issued.")
    asked.need("subject_token")


def target_is_an_address(kernel: Kernel) -> None:
    """RFC 8693 §2.1, §2.2.2: our targets have no logical names, and the one that is named is never passed over."""
    if kernel.asked.parameters.get("audience") is not None:
        raise InvalidTarget("Name the target by resource, not by audience.")


def mandate_is_in_force(kernel: Kernel) -> None:
    """delegation.md §3: one answer for unknown, foreign, pending, dead, and for whoever may not use it."""
    power_of(kernel)


def whoever_acts_passes_the_gate(kernel: Kernel) -> None:
    """openid.md §4, "gate missing in a sibling grant": the collaborator's grant, or the machine and its sponsor."""
    acting_in(kernel)


# Of a collaborator's.


def actor_type_is_ours(kernel: Kernel) -> None:
    """RFC 8693 §2.1: the type is said when the token is, and ours is one."""
    asked = kernel.asked.parameters
    if asked.need("actor_token_type") != ACCESS_TOKEN:
        raise InvalidRequest("The actor is an access token.")
    asked.need("actor_token")


def actor_token_is_the_caller_s(kernel: Kernel) -> None:
    """delegation.md §3: of this issuer, and obtained through the calling client."""
    if shown(kernel)["client_id"] != kernel.client.client_id:
        raise InvalidGrant


def actor_is_a_person(kernel: Kernel) -> None:
    """delegation.md §3: neither a service, nor whoever acts under a mandate already: there is no second hop."""
    if "act" in shown(kernel) or not shown(kernel)["sub"].startswith("per_"):
        raise InvalidGrant


def actor_token_is_for_this_issuer(kernel: Kernel) -> None:
    """RFC 9068 §4: whoever accepts a token is its audience."""
    if shown(kernel)["aud"] != kernel.snapshot.issuer.url:
        raise InvalidGrant


def actor_token_is_alive(kernel: Kernel) -> None:
    """RFC 8693 §2.1: still good, by its own date and by RFC 7009."""
    if kernel.snapshot.presented_is_revoked or expiry_of(shown(kernel)) <= kernel.snapshot.now:
        raise InvalidGrant


def proof_key_is_the_actor_s(kernel: Kernel) -> None:
    """delegation.md §3: the caller holds the key that the actor token is bound to (RFC 9449 §6)."""
    jkt = bound_key(shown(kernel))
    if jkt is None or kernel.proof is None:
        raise InvalidGrant
    dpop_binding.check_bound(kernel.proof, jkt)


def actor_used_two_factors(kernel: Kernel) -> None:
    """delegation.md §5: members of a cabinet hold a second factor, without exception."""
    if shown(kernel).get("acr") != "mfa":
        raise InvalidGrant


# Of a machine's.


def caller_is_a_machine(kernel: Kernel) -> None:
    """RFC 8693 §2.1, docs/decisions/0080: any other client says for whom it asks."""
    if kernel.snapshot.machine is None:
        raise InvalidRequest("The actor_token is missing.")


def proof_is_there(kernel: Kernel) -> None:
    """openid.md line 13."""
    dpop_binding.check_required(kernel.proof, kernel.client)


def cabinet_is_within_its_rate(kernel: Kernel) -> None:
    """delegation.md §5: one rate a cabinet. Judged when the effects are written, whatever this exchange comes to."""
    shared_by = f"{kernel.snapshot.issuer.caisse}/{machine_of(kernel).cabinet_id}"
    key = bucket_of("machines", shared_by)
    kernel.effects.append(SpendPass(key, PER_CABINET, kernel.snapshot.now))


OF_EVERY_EXCHANGE = (types_are_ours, target_is_an_address)
OF_A_PERSON = (
    actor_type_is_ours,
    actor_token_is_the_caller_s,
    actor_is_a_person,
    actor_token_is_for_this_issuer,
    actor_token_is_alive,
    proof_key_is_the_actor_s,
    actor_used_two_factors,
    mandate_is_in_force,
    whoever_acts_passes_the_gate,
)
OF_A_MACHINE = (
    caller_is_a_machine,
    proof_is_there,
    cabinet_is_within_its_rate,
    whoever_acts_passes_the_gate,
    mandate_is_in_force,
)


def checks_of(kernel: Kernel) -> tuple[Callable[[Kernel], None], ...]:
    of_whoever_acts = OF_A_MACHINE if by_itself(kernel.asked.parameters) else OF_A_PERSON
    return *OF_EVERY_EXCHANGE, *of_whoever_acts


def power_of(kernel: Kernel) -> MandatePower:
    power = kernel.snapshot.power
    if power is None or power.not_after <= kernel.snapshot.now:
        raise InvalidGrant
    return power


def shown(kernel: Kernel) -> dict[str, Any]:
    """The claims of the actor token; whatever is no access token of ours is worth nothing."""
    if kernel.snapshot.presented is None:
        raise InvalidGrant
    return kernel.snapshot.presented


def actor_of(kernel: Kernel) -> Grant:
    if kernel.snapshot.grant is None:
        raise InvalidGrant
    return kernel.snapshot.grant


def machine_of(kernel: Kernel) -> Machine:
    if kernel.snapshot.machine is None:
        raise InvalidGrant
    return kernel.snapshot.machine


def acting_in(kernel: Kernel) -> Acting:
    """Whoever acts, by the gate. Raises `InvalidGrant`."""
    if by_itself(kernel.asked.parameters):
        return machine_acting(pass_gate_of_machine(kernel, machine_of(kernel)))
    grant = pass_gate(kernel, actor_of(kernel), shown(kernel))
    return person_acting(grant, min(grant.expires_at, expiry_of(shown(kernel))))


def expiry_of(claims: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(claims["exp"], UTC)


def issue(kernel: Kernel) -> dict[str, Any]:
    """Lifetime = min(300 s, rest of actor token, of its grant, of mandate and group). No refresh token."""
    snapshot, asked = kernel.snapshot, kernel.asked.parameters
    power, acting, client = power_of(kernel), acting_in(kernel), kernel.client
    if kernel.proof is None:
        raise InvalidGrant
    audience = audiences.chosen(asked.resources, audiences.open_to(client, snapshot.issuer), snapshot.issuer)
    scopes = power.scopes & client.scopes & audience.scopes
    if (wanted := asked.get("scope")) is not None:
        scopes &= frozenset(wanted.split())
    if not scopes:
        raise InvalidScope
    whole, narrowing = tokens.mandate_detail(snapshot, power), asked.get("authorization_details")
    details = [narrow_mandate(whole, narrowing, snapshot.establishments)]
    ends = [power.not_after] if acting.until is None else [power.not_after, acting.until]
    life = tokens.lifetime(snapshot.now, *ends, longest=tokens.DELEGATED_TOKEN_LIFE)
    jti = tokens.new_jti(acting.grant_id)
    kernel.effects.append(Note(_act(kernel, power, acting, scopes, jti)))
    if snapshot.machine is not None:
        kernel.effects.append(NoteUse(snapshot.machine.id, snapshot.now))
    return {
        "access_token": tokens.delegated_token(
            snapshot, client, acting, power,
            audience=audience.uri, scopes=scopes, details=details, jti=jti, jkt=kernel.proof.jkt, life=life,
        ),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "DPoP",
        "expires_in": int(life.total_seconds()),
        "scope": " ".join(sorted(scopes)),
        "authorization_details": details,
    }  # fmt: skip


def _act(kernel: Kernel, power: MandatePower, acting: Acting, scopes: frozenset[str], jti: str) -> Act:
    """A machine is nobody: the line names it and its sponsor, and no person as the one who acted."""
    named = {} if acting.person_id else {"machine": acting.act["sub"], "sponsor": acting.act["sponsor"]}
    return Act(
        action="token.delegated",
        subject_kind="mandate",
        subject_id=public_id("mdt", power.mandate_id),
        at=kernel.snapshot.now,
        adherent_id=power.adherent_id,
        actor=Actor(
            person_id=acting.person_id,
            cabinet_id=power.cabinet_id,
            mandate_id=power.mandate_id,
            mandate_version=power.version,
            token_jti=jti,
        ),
        details={"client_id": kernel.client.client_id, "scopes": sorted(scopes), **named},
    )
