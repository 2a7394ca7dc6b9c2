"""The token endpoint: load one snapshot, decide, commit.

The order of checks is each grant's own list: `code_grant.py`,
`refresh_grant.py`, `client_credentials_grant.py`, `token_exchange.py`.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from libs.common.database.one_statement import Reader
from libs.common.runtime.telemetry import counter
from libs.common.values.identifiers import InvalidPublicId, parse_public_id
from services.identity.delegation.power import MandatePower
from services.identity.delegation.store import establishments_of
from services.identity.openid import store
from services.identity.openid.answers import Answer, Decision
from services.identity.openid.bucket_names import code_place, refresh_place
from services.identity.openid.caller import Caller, UnprovenRequest
from services.identity.openid.client_credentials_grant import ClientCredentialsGrant
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, REFRESH, TOKEN_EXCHANGE, Client
from services.identity.openid.code_grant import CodeGrant
from services.identity.openid.commit import commit
from services.identity.openid.issuer import Issuer
from services.identity.openid.kernel import Kernel
from services.identity.openid.presented import NO_TOKEN, read_access_token, sought
from services.identity.openid.provider import Provider
from services.identity.openid.refresh_grant import RefreshGrant
from services.identity.openid.snapshot import Snapshot
from services.identity.openid.token_exchange import TokenExchange, by_itself
from services.identity.openid.wire import Parameters

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
    """Everything the grant will read. A client's `jwks_uri` is fetched when nothing of the database is held."""
    began = datetime.now(UTC)
    read = provider.db.one_statement(issuer.caisse)
    look_up = LOOK_UPS.get(asked.parameters.get("grant_type") or "", _for_the_client_alone)
    client, found = await look_up(read, issuer, asked, now)
    if client is not None and client.read_at is not None:
        found["ahead"] = max(began - client.read_at, timedelta(0))
    return await provider.snapshot(issuer, now, client, signed=asked.assertion, **found)


Found = tuple[Client | None, dict[str, Any]]
"""The client, and what else the grant reads, in the names of `Snapshot`."""


async def _for_the_client_alone(read: Reader, _: Issuer, asked: UnprovenRequest, __: datetime) -> Found:
    return await store.load_client(read, asked.credentials.client_id), {}


async def _for_code(read: Reader, _: Issuer, asked: UnprovenRequest, __: datetime) -> Found:
    place = code_place(asked.parameters.get("code") or "")
    client, code = await store.load_for_code(read, asked.credentials.client_id, place)
    return client, {"code": code}


async def _for_refresh(read: Reader, _: Issuer, asked: UnprovenRequest, __: datetime) -> Found:
    place = refresh_place(asked.parameters.get("refresh_token") or "")
    client, refresh = await store.load_for_refresh(read, asked.credentials.client_id, place)
    return client, {"refresh": refresh}


async def _for_exchange(read: Reader, issuer: Issuer, asked: UnprovenRequest, now: datetime) -> Found:
    """A person's or a machine's; and the firm's establishments, where the request may name some of them."""
    look_up = _for_machine if by_itself(asked.parameters) else _for_person
    client, found = await look_up(read, issuer, asked, now)
    power: MandatePower | None = found["power"]
    if power is not None and asked.parameters.get("authorization_details") is not None:
        found["establishments"] = await establishments_of(read, power.adherent_id)
    return client, found


async def _for_machine(read: Reader, _: Issuer, asked: UnprovenRequest, now: datetime) -> Found:
    client, machine, power = await store.load_for_machine(
        read, asked.credentials.client_id, _mandate_named(asked.parameters), now
    )
    return client, {"machine": machine, "power": power}


async def _for_person(read: Reader, issuer: Issuer, asked: UnprovenRequest, now: datetime) -> Found:
    claims = read_access_token(asked.parameters.get("actor_token") or "", issuer)
    token = NO_TOKEN if claims is None else sought(claims)
    client, standing, power = await store.load_for_exchange(
        read, asked.credentials.client_id, token, _mandate_named(asked.parameters), now
    )
    return client, {"presented": claims, "power": power, **standing._asdict()}


def _mandate_named(parameters: Parameters) -> UUID | None:
    """By the subject token; what is no mandate's name names none."""
    try:
        return parse_public_id("mdt", parameters.get("subject_token") or "")
    except InvalidPublicId:
        return None


LOOK_UPS = {CODE: _for_code, REFRESH: _for_refresh, TOKEN_EXCHANGE: _for_exchange}
"""What each grant reads besides the client; `client_credentials` nothing."""
