"""What is measured: each operation prepares its requests for a party, and says what a right answer is."""

from collections.abc import Awaitable, Callable

from bench.http_load import Answer, Prepared, ask_each, ask_once
from bench.oauth_party import ClientName, Delegation, Party, code_of, field_of
from services.identity.openid.clients import TOKEN_EXCHANGE
from services.identity.openid.token_exchange import ACCESS_TOKEN, MANDATE

Prepare = Callable[[Party, int], Awaitable[list[Prepared]]]


def has(name: str, status: int = 200) -> Callable[[Answer], bool]:
    def check(answer: Answer) -> bool:
        return answer.status == status and bool(answer.json().get(name))

    return check


def leads_back(answer: Answer) -> bool:
    return bool(code_of(answer))


def is_active(answer: Answer) -> bool:
    return answer.status == 200 and answer.json()["active"] is True


async def discovery(party: Party, count: int) -> list[Prepared]:
    return [Prepared(party.get("/.well-known/openid-configuration"), has("issuer"))] * count


async def jwks(party: Party, count: int) -> list[Prepared]:
    return [Prepared(party.get("/jwks"), has("keys"))] * count


def client_credentials(name: ClientName) -> Prepare:
    """An ES256 access token for a service."""

    async def prepare(party: Party, count: int) -> list[Prepared]:
        form = {"grant_type": "client_credentials"}
        if party.credentials_resource:
            form |= {"resource": party.credentials_resource, "scope": "standing.read"}
        return [Prepared(party.post("/token", name, form), has("access_token")) for _ in range(count)]

    return prepare


async def authorize(party: Party, count: int) -> list[Prepared]:
    await party.stay_signed_in()
    return [Prepared(party.authorize(party.authorization("plain")), leads_back) for _ in range(count)]


async def codes(party: Party, count: int) -> list[str]:
    """Fresh codes of the client `plain`, outside any window."""
    raws = [each.raw for each in await authorize(party, count)]
    return [code_of(answer) for answer in await ask_each(party.host, raws)]


MOST_CODES = 150
"""Codes waiting at once: the peer's memory store keeps its latest thousand rows, several to a code."""


async def code_exchange(party: Party, count: int) -> list[Prepared]:
    return [
        Prepared(party.redeem("plain", code), has("id_token"))
        for code in await codes(party, min(count, MOST_CODES))
    ]


async def tokens(party: Party) -> dict[str, str]:
    (code,) = await codes(party, 1)
    answer = await ask_once(party.host, party.redeem("plain", code))
    field_of(answer, "refresh_token")
    return answer.json()


async def refresh(party: Party, count: int) -> list[Prepared]:
    """A confidential client's refresh token is not rotated, here as at the peer."""
    form = {"grant_type": "refresh_token", "refresh_token": (await tokens(party))["refresh_token"]}
    return [Prepared(party.post("/token", "plain", form), has("access_token")) for _ in range(count)]


async def introspection(party: Party, count: int) -> list[Prepared]:
    raw = party.post("/introspect", "plain", {"token": (await tokens(party))["access_token"]})
    return [Prepared(raw, is_active)] * count


async def userinfo(party: Party, count: int) -> list[Prepared]:
    raw = party.get("/userinfo", Authorization="Bearer " + (await tokens(party))["access_token"])
    return [Prepared(raw, has("email"))] * count


async def code_flow(party: Party, count: int) -> list[Prepared]:
    """Authorize with a session, then the exchange: one operation."""
    await party.stay_signed_in()

    def prepared() -> Prepared:
        return Prepared(
            party.authorize(party.authorization("plain")),
            leads_back,
            then=lambda answer: Prepared(party.redeem("plain", code_of(answer)), has("id_token")),
        )

    return [prepared() for _ in range(count)]


async def par_dpop_code(party: Party, count: int) -> list[Prepared]:
    """PAR with private_key_jwt, authorize with a session, exchange with private_key_jwt and DPoP: one operation."""
    await party.stay_signed_in()
    client_id = party.clients["bound"].client_id

    def authorize_pushed(answer: Answer) -> Prepared:
        pushed = {"client_id": client_id, "request_uri": str(field_of(answer, "request_uri"))}
        return Prepared(
            party.authorize(pushed),
            leads_back,
            then=lambda back: Prepared(party.redeem("bound", code_of(back)), has("id_token")),
        )

    return [
        Prepared(
            party.post("/par", "bound", party.authorization("bound")),
            has("request_uri", 201),
            then=authorize_pushed,
        )
        for _ in range(count)
    ]


async def token_exchange(party: Party, count: int) -> list[Prepared]:
    """A collaborator's token and a mandate for a delegated token (RFC 8693), with private_key_jwt and DPoP."""
    assert party.delegation is not None
    return await exchange_requests(party, party.delegation, count)


async def exchange_requests(party: Party, delegation: Delegation, count: int) -> list[Prepared]:
    """The collaborator signs in through the client `bound` first, outside any window."""
    pushed = await ask_once(party.host, party.post("/par", "bound", party.authorization("bound")))
    asked = {"client_id": party.clients["bound"].client_id, "request_uri": field_of(pushed, "request_uri")}
    back = await ask_once(party.host, party.authorize(asked, delegation.cookies))
    actor = field_of(await ask_once(party.host, party.redeem("bound", code_of(back))), "access_token")
    form = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": delegation.mandate,
        "subject_token_type": MANDATE,
        "actor_token": actor,
        "actor_token_type": ACCESS_TOKEN,
        "resource": delegation.resource,
    }
    return [Prepared(party.post("/token", "bound", form), has("issued_token_type")) for _ in range(count)]


OPERATIONS: dict[str, Prepare] = {
    "discovery": discovery,
    "jwks": jwks,
    "client_credentials": client_credentials("plain"),
    "client_credentials_private_key_jwt": client_credentials("signed"),
    "authorize": authorize,
    "code": code_exchange,
    "refresh": refresh,
    "introspection": introspection,
    "userinfo": userinfo,
    "code_flow": code_flow,
    "par_dpop_code": par_dpop_code,
    "token_exchange": token_exchange,
}
"""In the order of the table."""
