"""What stands before the router keeps every rule of the router: host, methods, sizes, headers, refusals."""

import pytest

from libs.common.http.application import LARGEST_BODY
from libs.common.http.security_headers import FIXED
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
            assert {name: answer.headers[name] for name in FIXED} == FIXED, method


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
