"""Introspection (RFC 7662, RFC 9701): what an authenticated resource server may know of a token for it."""

from datetime import UTC, datetime
from typing import Any

from libs.common.access.revocations import is_under
from libs.common.values.identifiers import public_id
from services.identity.cabinets.machine_store import Machine
from services.identity.delegation.power import power_for_exchange
from services.identity.openid import audiences, store, subject_gate
from services.identity.openid.answers import Answer, Decision, refusal_answer
from services.identity.openid.bucket_names import refresh_place
from services.identity.openid.caller import Caller, UnprovenRequest
from services.identity.openid.clients import Client
from services.identity.openid.commit import commit
from services.identity.openid.issuer import Issuer
from services.identity.openid.presented import (
    machine_of,
    mandate_of,
    read_access_token,
    sought,
)
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import InvalidClient, Refusal
from services.identity.openid.snapshot import Grant, Snapshot
from services.identity.openid.subject_gate import Stopped

INACTIVE: dict[str, Any] = {"active": False}
JWT_TYPE = "application/token-introspection+jwt"


async def answer_introspection(
    provider: Provider, issuer: Issuer, asked: UnprovenRequest, accept: str, now: datetime
) -> Answer:
    """RFC 7662 §2."""
    snapshot = await load(provider, issuer, asked, now)
    decision = decide(asked, snapshot, signed=JWT_TYPE in accept.lower())
    return await commit(provider.db, issuer.caisse, decision, snapshot)


async def load(provider: Provider, issuer: Issuer, asked: UnprovenRequest, now: datetime) -> Snapshot:
    """The caller, the token's claims, the grant behind it, and for a delegated token its mandate as of now."""
    client_id = asked.credentials.client_id
    token = asked.parameters.get("token") or ""
    found: dict[str, Any] = {}
    claims = read_access_token(token, issuer)
    read = provider.db.one_statement(issuer.caisse)
    if claims is not None:
        client, standing, issued_to = await store.load_presented(
            read, client_id, sought(claims), claims["client_id"]
        )
        found |= {"presented": claims, "issued_to": issued_to, **standing._asdict()}
        mandate = mandate_of(claims)
        if mandate is not None and machine_of(claims) is not None:
            _, found["machine"], found["power"] = await store.load_for_machine(
                read, claims["client_id"], mandate[0], now
            )
        elif mandate is not None and standing.grant is not None:
            person_id = standing.grant.subject.person_id
            found["power"] = await power_for_exchange(read, mandate[0], person_id, now)
    else:
        client, found["refresh"] = await store.load_for_refresh(read, client_id, refresh_place(token))
    return await provider.snapshot(issuer, now, client, signed=asked.assertion, **found)


def decide(asked: UnprovenRequest, snapshot: Snapshot, *, signed: bool) -> Decision:
    """Client, then the token; whatever is wrong with the token is one answer, `inactive`."""
    caller = Caller(asked, snapshot)
    try:
        client = caller.prove()
        asked.parameters.need("token")
        if not client.is_confidential:
            raise InvalidClient
    except Refusal as error:
        return Decision(refusal_answer(error, snapshot), tuple(caller.effects))
    body = describe(client, snapshot)
    return Decision(_answer(body, client, snapshot, signed=signed), tuple(caller.effects))


def describe(client: Client, snapshot: Snapshot) -> dict[str, Any]:
    """The token as its own claims tell it, or `{"active": false}`."""
    if snapshot.presented is not None:
        return _access_token(client, snapshot, snapshot.presented)
    refresh = snapshot.refresh
    if (
        refresh is None
        or refresh.spent
        or refresh.expires_at <= snapshot.now
        or not refresh.check_client(client)
    ):
        return INACTIVE
    if not _in_force(refresh.grant, client, snapshot.now):
        return INACTIVE
    return {
        "active": True,
        "client_id": client.client_id,
        "scope": refresh.get_scope(),
        "sub": refresh.grant.granted.subject,
        "exp": int(refresh.expires_at.timestamp()),
        "iss": snapshot.issuer.url,
    }


def _access_token(client: Client, snapshot: Snapshot, claims: dict[str, Any]) -> dict[str, Any]:
    """openid.md line 24: only the token's audience, or the client it was issued to, sees it."""
    issued_to = snapshot.issued_to
    mine = claims["client_id"] == client.client_id
    if not (mine or claims["aud"] in client.metadata.introspects) or issued_to is None:
        return INACTIVE
    if datetime.fromtimestamp(claims["exp"], UTC) <= snapshot.now or snapshot.presented_is_revoked:
        return INACTIVE
    if claims["aud"] not in audiences.open_to(issued_to, snapshot.issuer):
        # Withdrawn from the client since: its floor says so to the services, this to who asks.
        return INACTIVE
    if not _alive(claims, issued_to, snapshot):
        return INACTIVE
    bound = "DPoP" if "cnf" in claims else "Bearer"
    return {"active": True, "token_type": bound} | claims


def _alive(claims: dict[str, Any], issued_to: Client, snapshot: Snapshot) -> bool:
    """Whether it would be given today, as it is, and no floor has been raised above it.

    A service asks when it does not know what was revoked (delegation.md §4): whatever its floors would refuse, this
    does.
    """
    by_itself = claims["sub"] == claims["client_id"]
    if not by_itself and "act" not in claims:
        return mandate_of(claims) is None and _own_in_force(claims, issued_to, snapshot)
    if snapshot.floor is not None and is_under(snapshot.floor.timestamp(), claims["iat"]):
        return False
    if by_itself:
        return issued_to.state == "active" and frozenset(claims["scope"].split()) <= issued_to.scopes
    return _actor_in_force(claims, issued_to, snapshot) and _holds_the_power(claims, issued_to, snapshot)


def _own_in_force(claims: dict[str, Any], issued_to: Client, snapshot: Snapshot) -> bool:
    """A person's own token, by the gate of UserInfo and of the exchange."""
    if snapshot.grant is None:
        return False
    try:
        subject_gate.check_token(claims, snapshot.floor, snapshot.grant, issued_to, snapshot.now)
    except Stopped:
        return False
    return True


def _actor_in_force(claims: dict[str, Any], issued_to: Client, snapshot: Snapshot) -> bool:
    if machine_of(claims) is not None:
        return _machine_in_force(claims, snapshot.machine, issued_to)
    return snapshot.grant is not None and _in_force(snapshot.grant, issued_to, snapshot.now)


def _holds_the_power(claims: dict[str, Any], issued_to: Client, snapshot: Snapshot) -> bool:
    """The question of the exchange, now: version, state, group, colleague; and the token is within the answer."""
    power, mandate = snapshot.power, mandate_of(claims)
    if power is None or mandate is None or power.version != mandate[1] or power.not_after <= snapshot.now:
        return False
    allowed = frozenset(power.establishments)
    detail: dict[str, Any] = claims["authorization_details"][0]
    group = None if power.group_id is None else public_id("grp", power.group_id)
    cap = detail.get("amount_cap_cents")
    return (
        detail.get("group") == group
        and frozenset(claims["scope"].split()) <= power.scopes & issued_to.scopes
        and ("*" in allowed or allowed.issuperset(detail["establishments"]))
        and (cap is None or (power.amount_cap_cents is not None and cap <= power.amount_cap_cents))
    )


def _in_force(grant: Grant, client: Client, now: datetime) -> bool:
    try:
        subject_gate.check_grant(grant, client, now)
    except Stopped:
        return False
    return True


def _machine_in_force(claims: dict[str, Any], machine: Machine | None, client: Client) -> bool:
    """The machine that the token names, whose sponsor still answers for it, and nothing of it withdrawn since."""
    if machine is None or public_id("mch", machine.id) != machine_of(claims):
        return False
    if machine.not_before is not None and is_under(machine.not_before.timestamp(), claims["iat"]):
        return False
    try:
        subject_gate.check_machine(machine, client)
    except Stopped:
        return False
    return True


def _answer(body: dict[str, Any], client: Client, snapshot: Snapshot, *, signed: bool) -> Answer:
    """RFC 9701 §5: a JWT addressed to the caller, when it asks for one."""
    headers = {"Cache-Control": "no-store"}
    if not signed:
        return Answer(200, body, headers)
    claims = {
        "iss": snapshot.issuer.url,
        "aud": client.client_id,
        "iat": int(snapshot.now.timestamp()),
        "token_introspection": body,
    }
    algorithm = client.metadata.introspection_signed_response_alg
    signed_body = snapshot.issuer.keys.sign(claims, typ="token-introspection+jwt", algorithm=algorithm)
    return Answer(200, signed_body, headers, JWT_TYPE)
