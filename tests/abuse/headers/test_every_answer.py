"""No answer leaves without its headers, not even that of an address which does not exist."""

import pytest

from tests.identity.sign_in.visitors import CAISSE, Visitor

SAID = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}


@pytest.mark.parametrize(
    "path",
    [f"/{CAISSE}/sign-in", f"/{CAISSE}/nothing", "/nothing/at/all", f"/{CAISSE}/account", "/", "/%2e%2e/x"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_every_answer_has_its_headers_once(visitor: Visitor, path: str, method: str) -> None:
    answer = await visitor.http.request(method, path)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    for name, value in SAID.items():
        assert answer.headers.get_list(name) == [value], name


async def test_a_hostile_host_is_answered_with_them_too(visitor: Visitor) -> None:
    answer = await visitor.http.get(f"/{CAISSE}/sign-in", headers={"host": "evil.example"})
    assert answer.status_code == 400 and "evil" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
