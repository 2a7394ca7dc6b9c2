"""The token endpoint: load one snapshot, decide, commit.

The order of checks is each grant's own list: `code_grant.py`,
`refresh_grant.py`, `client_credentials_grant.py`, `token_exchange.py`.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from prometheus_client import Counter

from libs.common.runtime.telemetry import counter
from libs.common.values.identifiers import InvalidPublicId, parse_public_id
from services.identity.delegation.store import establishments_of
from services.identity.openid import store
from services.identity.openid.answers import Answer, Decision
from services.identity.openid.bucket_names import code_place, refresh_place
from services.identity.openid.caller import Caller, UnprovenRequest
from services.identity.openid.client_credentials_grant import ClientCredentialsGrant
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, REFRESH, TOKEN_EXCHANGE
from services.identity.openid.code_grant import CodeGrant
from services.identity.openid.commit import commit
from services.identity.openid.issuer import Issuer
from services.identity.openid.kernel import Kernel
from services.identity.openid.presented import floors_of, grant_of_jti, is_access_token
from services.identity.openid.provider import Provider
from services.identity.openid.refresh_grant import RefreshGrant
from services.identity.openid.snapshot import Snapshot
from services.identity.openid.token_exchange import TokenExchange, by_itself

GRANTS: dict[str, type[Any]] = {
    CODE: CodeGrant,
    REFRESH: RefreshGrant,
    CLIENT_CREDENTIALS: ClientCredentialsGrant,
    TOKEN_EXCHANGE: TokenExchange,
}


ANSWERED = counter("token_requests", "Requests for tokens, by what they came to", "grant_type", "error")


def decide(asked: UnprovenRequest, snapshot: Snapshot) -> Decision:
    """Pure: same request and snapshot, same checks; only new secrets differ."""
    return Kernel(Caller(asked, snapshot), GRANTS).decide_token()


async def answer_token(provider: Provider, issuer: Issuer, asked: UnprovenRequest, now: datetime) -> Answer:
    """RFC 6749 §3.2."""
    snapshot = await load(provider, issuer, asked, now)
    answer = await commit(provider.db, issuer.caisse, decide(asked, snapshot), snapshot)
    _count(asked, answer)
    return answer


def _count(asked: UnprovenRequest, answer: Answer) -> None:
    """What the journal does not tell line by line: docs/reference/journal.md."""
    error = answer.body.get("error", "") if isinstance(answer.body, dict) else ""
    _answered(asked.grant_type, error).inc()


@cache
def _answered(grant_type: str, error: str) -> Counter:
    # Few pairs there are, and to look one up costs more than to count.
    return ANSWERED.labels(grant_type, error)


async def load(provider: Provider, issuer: Issuer, asked: UnprovenRequest, now: datetime) -> Snapshot:
    """Everything the grant will read. Jwks_uri, if the client has one, is fetched after the transaction."""
    client_id = asked.credentials.client_id
    began = datetime.now(UTC)
    found: dict[str, Any] = {}
    read = provider.db.one_statement(issuer.caisse)
    parameters = asked.parameters
    match parameters.get("grant_type"):
        case "authorization_code":
            client, found["code"] = await store.load_for_code(
                read, client_id, code_place(parameters.get("code") or "")
            )
        case "refresh_token":
            client, found["refresh"] = await store.load_for_refresh(
                read, client_id, refresh_place(parameters.get("refresh_token") or "")
            )
        case grant_type if grant_type == TOKEN_EXCHANGE and by_itself(parameters):
            mandate_id = _mandate_id(parameters.get("subject_token") or "")
            client, found["machine"], found["power"] = await store.load_for_machine(
                read, client_id, mandate_id, now
            )
        case grant_type if grant_type == TOKEN_EXCHANGE:
            claims = issuer.keys.read_own_jwt(parameters.get("actor_token") or "", typ="at+jwt")
            found["presented"] = claims if claims and is_access_token(claims, issuer) else None
            known: dict[str, Any] = found["presented"] or {"jti": "", "exp": 0}
            floors = floors_of(known) if found["presented"] else []
            jti: str = known["jti"]
            mandate_id = _mandate_id(parameters.get("subject_token") or "")
            (
                client,
                found["grant"],
                found["presented_is_revoked"],
                found["floor"],
                found["power"],
            ) = await store.load_for_exchange(
                read, client_id, grant_of_jti(jti), jti, known["exp"], floors, mandate_id, now
            )
        case _:
            client = await store.load_client(read, client_id)
    if (power := found.get("power")) is not None and parameters.get("authorization_details") is not None:
        found["establishments"] = await establishments_of(read, power.adherent_id)
    if client is not None and client.read_at is not None:
        found["ahead"] = max(began - client.read_at, timedelta(0))
    return await provider.snapshot(issuer, now, client, signed=asked.assertion, **found)


def _mandate_id(handle: str) -> Any:
    try:
        return parse_public_id("mdt", handle)
    except InvalidPublicId:
        return None
