"""What stands before the router keeps every rule of the router: host, methods, sizes, headers, refusals."""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import unquote

import pytest

from libs.common.http.application import LARGEST_BODY
from libs.common.http.security_headers import OF_EVERY_ANSWER
from libs.common.http.thin import thin
from tests.openid.party import Issuer

PATHS = [
    "/.well-known/openid-configuration",
    "/jwks",
    "/token",
    "/par",
    "/introspect",
    "/revoke",
    "/userinfo",
]


@pytest.mark.parametrize("path", [*PATHS, "/authorize"])
async def test_every_answer_carries_the_security_headers(issuer: Issuer, path: str) -> None:
    async with issuer.http() as http:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            answer = await http.request(method, f"/{issuer.caisse}{path}")
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], method
            assert "default-src 'none'" in answer.headers["content-security-policy"], method
            assert {name: answer.headers[name] for name in OF_EVERY_ANSWER} == OF_EVERY_ANSWER, method


@pytest.mark.parametrize("path", PATHS)
async def test_another_method_is_told_which_ones_do(issuer: Issuer, path: str) -> None:
    async with issuer.http() as http:
        answer = await http.delete(f"/{issuer.caisse}{path}")
        asked = await http.options(f"/{issuer.caisse}{path}")

    assert answer.status_code == 405 and "OPTIONS" in answer.headers["allow"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert asked.status_code == 204


@pytest.mark.parametrize("path", [*PATHS, "/authorize"])
async def test_a_host_that_is_not_ours_is_refused(issuer: Issuer, path: str) -> None:
    async with issuer.http() as http:
        answer = await http.get(f"/{issuer.caisse}{path}", headers={"Host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/token", "/par", "/introspect", "/revoke"])
async def test_a_large_body_is_refused(issuer: Issuer, path: str) -> None:
    async with issuer.http() as http:
        answer = await http.post(
            f"/{issuer.caisse}{path}",
            content=b"a" * (LARGEST_BODY + 1),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/token", "/par", "/introspect", "/revoke"])
async def test_a_large_body_is_refused_as_soon_as_it_is_announced(issuer: Issuer, path: str) -> None:
    async def never() -> AsyncGenerator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    async with issuer.http() as http:
        answer = await http.post(
            f"/{issuer.caisse}{path}",
            content=never(),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Content-Length": str(LARGEST_BODY + 1),
            },
        )
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/token", "/par", "/introspect", "/revoke", "/userinfo"])
async def test_two_authorization_headers_are_refused(issuer: Issuer, path: str) -> None:
    """A proxy might read the one, and we the other."""
    async with issuer.http() as http:
        answer = await http.post(
            f"/{issuer.caisse}{path}",
            data={"token": "t"},
            headers=[("Authorization", "Basic YTpi"), ("Authorization", "Basic Yzpk")],
        )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("slug", ["nowhere", "Not-A-Slug", "..", "mediterranee%00"])
@pytest.mark.parametrize("path", PATHS)
async def test_no_such_caisse_is_one_answer(issuer: Issuer, slug: str, path: str) -> None:
    async with issuer.http() as http:
        method = "GET" if path in PATHS[:2] or path == "/userinfo" else "POST"
        answer = await http.request(method, f"/{slug}{path}")
        page = await http.request(method, f"/{slug}{path}", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert page.status_code == 404


@pytest.mark.parametrize(
    ("path", "access"), [("/token", "protocol"), ("/{slug}/{name}", "protocol"), ("/{slug}/x", "session")]
)
def test_a_path_or_an_access_that_the_door_cannot_hold_is_refused(path: str, access: str) -> None:
    with pytest.raises(ValueError, match=r"slug|token|x"):
        thin(path, "GET", access=access)


WELL_KNOWN = "/.well-known/oauth-authorization-server"


@pytest.mark.parametrize(
    "path",
    [*(f"/{{}}{path}" for path in (*PATHS, "/authorize", "/sign-in")), WELL_KNOWN + "/{}", "/health/live"],
)
async def test_whatever_is_got_can_be_asked_for_its_head(issuer: Issuer, path: str) -> None:
    """RFC 9110 §9.3.2: the same answer without its content, as everywhere (§9.1)."""
    address = path.format(issuer.caisse)
    async with issuer.http() as http:
        got = await http.get(address)
        head = await http.head(address)
    assert head.status_code == got.status_code
    assert head.content == b""
    for name in ("content-type", "content-length", "cache-control", "access-control-allow-origin", "allow"):
        assert head.headers.get(name) == got.headers.get(name), name


@pytest.mark.parametrize("path", ["/register", "/register/cli_any"])
async def test_a_browser_app_may_ask_before_it_registers(issuer: Issuer, path: str) -> None:
    """Fetch §4.8: a body of JSON, or a token, is asked for first. RFC 7591 §3, RFC 7592 §2."""
    methods = {"POST"} if path == "/register" else {"GET", "PUT", "DELETE"}
    async with issuer.http() as http:
        answer = await http.options(
            f"/{issuer.caisse}{path}",
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": min(methods),
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert set(answer.headers["access-control-allow-methods"].split(", ")) == methods
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type"} <= set(allowed)


SPELLINGS = ["//{}{}", "/{}/{}", "/{}{}/", "/{}{}//", "/./{}{}", "/x/../{}{}", "/{}%2f{}", "/{}{}%00"]
"""Addresses that another component may take for ours; caisse and path are put in."""


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("path", [*PATHS, "/authorize"])
async def test_another_spelling_of_an_address_is_another_address(
    issuer: Issuer, path: str, spelling: str
) -> None:
    """As the router itself says of an address that it does not have: 404, whatever the method."""
    raw = spelling.format(issuer.caisse, path)
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        status, _ = await asked_as_it_is(issuer, method, unquote(raw))
        assert status == 404, (method, raw)


async def asked_as_it_is(issuer: Issuer, method: str, path: str) -> tuple[int, bytes]:
    """A request whose path no client has tidied; `path` as a server hands it to an application."""
    host = issuer.settings.identity.base.partition("//")[2]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "https",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 443), "headers": [(b"host", host.encode())],
    }  # fmt: skip
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    app: Any = issuer.transport
    await app.app(scope, receive, send)
    return said[0]["status"], b"".join(message.get("body", b"") for message in said[1:])
