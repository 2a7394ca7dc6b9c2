"""Revocation (RFC 7009): a client takes back its own tokens. An unknown token is a success (§2.2)."""

from datetime import UTC, datetime
from typing import Any

from libs.common.database.journal import Act, Actor
from services.identity.openid import store
from services.identity.openid.answers import Answer, Decision, refusal_answer
from services.identity.openid.bucket_names import refresh_place
from services.identity.openid.caller import Caller, UnprovenRequest
from services.identity.openid.clients import Client
from services.identity.openid.commit import commit
from services.identity.openid.effects import Effect, NoteOnce, RevokeGrant, RevokeToken
from services.identity.openid.issuer import Issuer
from services.identity.openid.presented import read_access_token, sought
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import Refusal
from services.identity.openid.snapshot import Snapshot


async def answer_revocation(
    provider: Provider, issuer: Issuer, asked: UnprovenRequest, now: datetime
) -> Answer:
    """RFC 7009 §2."""
    snapshot = await load(provider, issuer, asked, now)
    return await commit(provider.db, issuer.caisse, decide(asked, snapshot), snapshot)


async def load(provider: Provider, issuer: Issuer, asked: UnprovenRequest, now: datetime) -> Snapshot:
    """The hint is never needed: our two kinds of token cannot be mistaken for each other."""
    client_id = asked.credentials.client_id
    token = asked.parameters.get("token") or ""
    claims = read_access_token(token, issuer)
    found: dict[str, Any] = {}
    read = provider.db.one_statement(issuer.caisse)
    if claims is not None:
        client, standing = await store.load_for_token(read, client_id, sought(claims))
        found |= {"presented": claims, **standing._asdict()}
    else:
        client, found["refresh"] = await store.load_for_refresh(read, client_id, refresh_place(token))
    return await provider.snapshot(issuer, now, client, signed=asked.assertion, **found)


def decide(asked: UnprovenRequest, snapshot: Snapshot) -> Decision:
    """Client, then ownership. An unknown `token_type_hint` is ignored (§2.1), another client's token untouched."""
    caller = Caller(asked, snapshot)
    try:
        client = caller.prove()
        asked.parameters.need("token")
    except Refusal as error:
        return Decision(refusal_answer(error, snapshot), tuple(caller.effects))
    caller.effects.extend(_revocations(client, snapshot))
    return Decision(Answer(200, {}, {"Cache-Control": "no-store"}), tuple(caller.effects))


def _revocations(client: Client, snapshot: Snapshot) -> list[Effect]:
    refresh, claims = snapshot.refresh, snapshot.presented
    if refresh is not None and refresh.check_client(client):
        # §2.1: the access tokens of the same grant die with the refresh token.
        grant, now = refresh.grant, snapshot.now
        return [RevokeGrant(grant.id, "revoked_by_client", now, client.client_id, grant.subject.person_id)]
    if claims is not None and claims["client_id"] == client.client_id:
        act = Act(
            action="token.revoked",
            subject_kind="client",
            subject_id=client.client_id,
            at=snapshot.now,
            actor=Actor(token_jti=claims["jti"]),
            details={"sub": claims["sub"]},
        )
        revoked = RevokeToken(claims["jti"], datetime.fromtimestamp(claims["exp"], UTC))
        return [revoked, NoteOnce(act, claims["jti"])]
    return []
