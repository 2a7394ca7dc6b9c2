"""https outside, plain http inside: only what the settings say is believed (openid.md §4, "Host poisoning")."""

import hashlib
import re
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from libs.common.http.client_address import client_address, proxy_networks
from tests.openid.running import CAISSE, OTHER_HOST, RunningEspace

HOSTILE = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Port": "80",
    "X-Forwarded-Server": "evil.example",
    "Forwarded": "host=evil.example;proto=http",
    "X-Original-URL": "/evil",
}
WATCHED = (
    "location",
    "set-cookie",
    "content-security-policy",
    "strict-transport-security",
    "www-authenticate",
)
PATHS = (
    f"/{CAISSE}/.well-known/openid-configuration",
    f"/.well-known/oauth-authorization-server/{CAISSE}",
    f"/{CAISSE}/sign-in",
    f"/{CAISSE}/forgotten-password",
    f"/{CAISSE}/account",
    f"/{CAISSE}/authorize?client_id=nobody",
    f"/{CAISSE}/end-session",
    f"/{CAISSE}/api/me",
)


@pytest.mark.parametrize("name", ["portal", "identity", "adherent", "documents", "mail"])
async def test_every_address_of_the_ready_file_is_https_under_our_authority(
    running_espace: RunningEspace, name: str
) -> None:
    address = running_espace.ready[name]
    assert urlsplit(address).scheme == "https"
    async with running_espace.http() as http:
        assert (await http.get(f"{address}/health/live")).status_code == 200
    with pytest.raises(httpx.ConnectError):  # a stranger to our authority
        async with httpx.AsyncClient(verify=ssl.create_default_context(), trust_env=False) as stranger:
            await stranger.get(f"{address}/health/live")


async def test_no_http_address_is_advertised(running_espace: RunningEspace) -> None:
    """openid.md line 22."""
    async with running_espace.http() as http:
        told = (await http.get(f"{running_espace.issuer}/.well-known/openid-configuration")).text
    assert running_espace.issuer in told and "http:" not in told


async def test_tls_older_than_1_2_is_refused(running_espace: RunningEspace) -> None:
    old = running_espace.trust()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that it is the server who refuses
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    async with httpx.AsyncClient(verify=old, trust_env=False) as http:
        with pytest.raises(httpx.ConnectError, match=r"(?i)alert.*protocol.version"):
            await http.get(f"{running_espace.identity}/health/live")


async def test_another_name_is_served_and_changes_nothing(running_espace: RunningEspace) -> None:
    """`--host NAME`: in the certificate and among the allowed hosts; the issuer stays what the settings say."""
    port = urlsplit(running_espace.identity).port
    async with running_espace.http() as http:
        answer = await http.get(
            f"https://127.0.0.1:{port}/{CAISSE}/.well-known/openid-configuration",
            headers={"Host": f"{OTHER_HOST}:{port}"},
            extensions={"sni_hostname": OTHER_HOST},
        )
    assert answer.status_code == 200
    assert answer.json()["issuer"] == running_espace.issuer


async def test_a_name_that_was_not_given_has_no_certificate(running_espace: RunningEspace) -> None:
    port = urlsplit(running_espace.identity).port
    async with running_espace.http() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"https://127.0.0.1:{port}/", extensions={"sni_hostname": "evil.example"})


async def test_an_unknown_host_is_refused_behind_the_proxy_too(running_espace: RunningEspace) -> None:
    async with running_espace.http() as http:
        answer = await http.get(
            f"{running_espace.behind_the_proxy}/{CAISSE}/sign-in", headers={"Host": "evil.example"}
        )
    assert answer.status_code == 400


@pytest.mark.parametrize("through", ["the proxy", "the plain port"])
@pytest.mark.parametrize("path", PATHS)
async def test_hostile_forwarded_headers_change_nothing(
    running_espace: RunningEspace, path: str, through: str
) -> None:
    """Neither links, issuer, redirects, policy nor cookies."""
    base = running_espace.identity if through == "the proxy" else running_espace.behind_the_proxy
    host = {"Host": urlsplit(running_espace.identity).netloc}
    async with running_espace.http() as one, running_espace.http() as other:
        usual = await one.get(base + path, headers=host)
        hostile = await other.get(base + path, headers=host | HOSTILE)
    assert hostile.status_code == usual.status_code
    assert "evil" not in hostile.text and "evil" not in str(hostile.headers)
    for name in WATCHED:
        assert _without_secrets(hostile, name) == _without_secrets(usual, name), name
    for line in hostile.headers.get_list("set-cookie"):
        assert "; Secure" in line and "Domain=" not in line


async def test_a_visitor_cannot_choose_the_network_that_is_throttled(running_espace: RunningEspace) -> None:
    """Through the proxy, the address it saw counts; what the visitor wrote in X-Forwarded-For does not."""
    written = "203.0.113.7"
    async with running_espace.http() as http:
        page = await http.get(f"{running_espace.issuer}/sign-in")
        hidden = dict(_hidden(page.text))
        answer = await http.post(
            f"{running_espace.issuer}/sign-in",
            data=hidden | {"email": "personne@entreprise.example", "password": "douze-echelles-bleues"},
            headers={"X-Forwarded-For": written, "Origin": running_espace.identity},
        )
    assert answer.status_code == 422
    assert await _has_bucket(running_espace, "127.0.0.0/24") or await _has_bucket(running_espace, "::/56")
    assert not await _has_bucket(running_espace, "203.0.113.0/24")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.2", ["198.51.100.4"], "198.51.100.4"),
        ("10.0.0.2", ["203.0.113.7, 198.51.100.4"], "198.51.100.4"),
        ("10.0.0.2", ["203.0.113.7", "198.51.100.4"], "198.51.100.4"),
        ("10.0.0.2", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.2", [], "10.0.0.2"),
        ("10.0.0.2", ["not an address"], "10.0.0.2"),
        ("10.0.1.2", ["198.51.100.4"], "10.0.1.2"),
        ("192.0.2.1", ["198.51.100.4"], "192.0.2.1"),
        ("unix", ["198.51.100.4"], "unix"),
        (None, ["198.51.100.4"], None),
    ],
)
def test_only_the_configured_hop_is_believed(
    peer: str | None, forwarded: Sequence[str], address: str | None
) -> None:
    assert client_address(peer, forwarded, proxy_networks(["10.0.0.0/24", "127.0.0.1"])) == address
    assert client_address(peer, forwarded, ()) == peer


def _without_secrets(answer: httpx.Response, name: str) -> list[str]:
    """The header's values; a cookie's own value is random each time."""
    lines = answer.headers.get_list(name)
    return (
        [line.partition("=")[0] + line.partition(";")[2] for line in lines] if name == "set-cookie" else lines
    )


def _hidden(page: str) -> list[tuple[str, Any]]:
    return re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)


async def _has_bucket(espace: RunningEspace, network: str) -> bool:
    key = hashlib.sha256(f"network:{network}".encode()).digest()
    async with espace.db.transaction(espace.caisse) as tx:
        return bool(await tx.fetchval("SELECT EXISTS (SELECT FROM throttle WHERE key = $1)", key))
