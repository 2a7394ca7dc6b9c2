"""Pushed authorization requests (RFC 9126): authenticated, checked whole, kept for five minutes."""

from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from services.identity.openid import store
from services.identity.openid.answers import Answer, Decision, refusal_answer
from services.identity.openid.authorization_request import addressed, checked
from services.identity.openid.bucket_names import handle_place, new_handle
from services.identity.openid.caller import Caller, UnprovenRequest
from services.identity.openid.commit import commit
from services.identity.openid.effects import StorePushedRequest
from services.identity.openid.issuer import Issuer
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import InvalidRequest, Refusal
from services.identity.openid.request_objects import PUSHED, parameters_inside
from services.identity.openid.snapshot import Snapshot
from services.identity.openid.wire import Parameters

PUSHED_FOR = timedelta(seconds=300)
"""openid.md line 8: under 600 seconds; long enough to find one's telephone for the code."""


async def answer_par(provider: Provider, issuer: Issuer, asked: UnprovenRequest, now: datetime) -> Answer:
    """RFC 9126 §2."""
    read = provider.db.one_statement(issuer.caisse)
    client = await store.load_client(read, asked.credentials.client_id)
    snapshot = await provider.snapshot(issuer, now, client, signed=asked.assertion)
    return await commit(provider.db, issuer.caisse, decide(asked, snapshot), snapshot)


def decide(asked: UnprovenRequest, snapshot: Snapshot) -> Decision:
    """Client, proof, then the same checks as /authorize; nothing is stored that would fail there."""
    caller = Caller(asked, snapshot)
    try:
        return _push(caller)
    except Refusal as error:
        return Decision(refusal_answer(error, snapshot), tuple(caller.effects))


def _push(caller: Caller) -> Decision:
    snapshot, asked = caller.snapshot, caller.asked
    client = caller.prove_with_its_key()
    no_request_uri_inside(asked.parameters)
    parameters = parameters_inside(asked.parameters, client, snapshot)
    request = checked(
        parameters,
        client,
        snapshot.issuer,
        addressed(parameters, client),
        was_pushed=True,
        was_signed=asked.parameters.get("request") is not None,
    )
    if caller.proof is not None:
        if request.dpop_jkt not in (None, caller.proof.jkt):
            raise InvalidRequest("The dpop_jkt is not the thumbprint of the proof's key.")
        request = replace(request, dpop_jkt=caller.proof.jkt)
    handle, stored = kept(client.client_id, msgspec.json.encode(request), snapshot.now)
    caller.effects.append(stored)
    body = {"request_uri": PUSHED + handle, "expires_in": int(PUSHED_FOR.total_seconds())}
    return Decision(
        Answer(201, body, {"Cache-Control": "no-store"} | caller.next_nonce()), tuple(caller.effects)
    )


def kept(client_id: str, request: bytes, now: datetime) -> tuple[str, StorePushedRequest]:
    """A handle, and what stores the request that it stands for."""
    expires_at = now + PUSHED_FOR
    handle = new_handle(expires_at)
    return handle, StorePushedRequest(handle_place(handle), client_id, request, expires_at)


def no_request_uri_inside(parameters: Parameters) -> None:
    """RFC 9126 §2.1: a pushed request does not point elsewhere."""
    if parameters.get("request_uri") is not None:
        raise InvalidRequest("A pushed request holds no request_uri.")
