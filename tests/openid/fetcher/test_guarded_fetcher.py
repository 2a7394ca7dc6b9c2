"""The guarded fetcher against a real https server of ours (openid.md §4, "SSRF")."""

import gzip
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from libs.common.access.signatures import SigningKey
from libs.common.http.application import utc_now
from services.identity.openid.guarded_fetcher import FetchRefused, GuardedFetcher
from tests.openid.listener import Listener, listening
from tests.openid.name_server import NameServer

NAME = "client.example"
KEY = SigningKey.generate().published_jwk()


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """An authority, and a server's context with its leaf for `NAME` and 127.0.0.1."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Espace test authority")])
    now = utc_now()

    def begun(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

    root = begun(authority, authority_key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
    names = [x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = begun(x509.Name([]), key.public_key()).add_extension(x509.SubjectAlternativeName(names), True)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(root.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    (folder / "leaf.pem").write_bytes(
        leaf.sign(authority_key, hashes.SHA256()).public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return folder / "authority.pem", context


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def authority(place: tuple[Path, ssl.SSLContext]) -> Path:
    return place[0]


@pytest.fixture
async def server(place: tuple[Path, ssl.SSLContext]) -> AsyncIterator[Listener]:
    async with listening(place[1]) as server:
        server.pages["/jwks"] = msgspec.json.encode({"keys": [KEY]})
        yield server


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the system says of listed names: loopback at the first question of each, an inside address ever after."""
    questions: list[str] = []
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *others: Any, **more: Any) -> Any:
        if not str(host).endswith(".example"):
            return real(host, port, *others, **more)
        address = "10.0.0.1" if host in questions else "127.0.0.1"
        questions.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return questions


async def test_a_client_under_our_own_authority_is_read_and_told(server: Listener, authority: Path) -> None:
    fetcher = GuardedFetcher(["127.0.0.1"], authority)
    assert await fetcher.jwks(server.url("/jwks")) == (KEY,)
    assert await fetcher.post_form(server.url("/logout"), {"logout_token": "x"}) == 200
    assert server.heard == [{"logout_token": "x"}]


async def test_an_authority_nobody_named_is_not_believed(server: Listener) -> None:
    with pytest.raises(FetchRefused, match="ConnectError"):
        await GuardedFetcher(["127.0.0.1"]).get(server.url("/jwks"))
    assert server.asked == []


async def test_our_authority_opens_no_private_address(server: Listener, authority: Path) -> None:
    with pytest.raises(FetchRefused, match="not a public address"):
        await GuardedFetcher(trusted_ca=authority).get(server.url("/jwks"))
    assert server.asked == []


async def test_the_name_is_asked_once_and_the_answer_pinned(
    server: Listener, authority: Path, hosts: list[str]
) -> None:
    body, _ = await GuardedFetcher([NAME], authority).get(server.url("/jwks", NAME))
    assert KEY["kid"].encode() in body and hosts == [NAME] and server.asked == [f"{NAME}:{server.port}"]


async def test_the_certificate_is_judged_under_the_name_not_the_number(
    server: Listener, authority: Path, hosts: list[str]
) -> None:
    """The leaf is good for 127.0.0.1 too, where the connection goes; the name asked is another's."""
    with pytest.raises(FetchRefused, match="ConnectError"):
        await GuardedFetcher(["other.example"], authority).get(server.url("/jwks", "other.example"))
    assert hosts == ["other.example"] and server.asked == []


async def test_https_redirects_are_not_followed(server: Listener, authority: Path) -> None:
    server.redirect_to = server.url("/jwks")
    with pytest.raises(FetchRefused, match="status 302"):
        await GuardedFetcher(["127.0.0.1"], authority).get(server.url("/elsewhere"))
    assert len(server.asked) == 1


async def test_a_slow_server_holds_nobody(server: Listener, authority: Path) -> None:
    server.delay = 1.0
    fetcher = GuardedFetcher(["127.0.0.1"], authority, longest=0.2)
    with pytest.raises(FetchRefused, match="TimeoutError"):
        await fetcher.get(server.url("/jwks"))
    with pytest.raises(FetchRefused, match="TimeoutError"):
        await fetcher.post_form(server.url("/jwks"), {"a": "b"})


async def test_a_compressed_answer_is_refused_unopened(server: Listener, authority: Path) -> None:
    """A few kilobytes that swell to gigabytes would be counted once they are in memory."""
    server.pages["/jwks"] = gzip.compress(bytes(50_000_000))
    server.more_headers = "Content-Encoding: gzip\r\n"
    with pytest.raises(FetchRefused, match="compressed"):
        await GuardedFetcher(["127.0.0.1"], authority).get(server.url("/jwks"))


@pytest.mark.parametrize(
    "url",
    [
        "https://a..b/logo.png",
        f"https://{'a' * 64}.example/logo.png",
        f"https://{'a.' * 200}example/logo.png",
        "https://[::ffff:10.0.0.1]/logo.png",
        "https://0x7f000001/logo.png",
        "https://2130706433/logo.png",
        "https://[::1%25lo]/logo.png",
        "https://client.example:99999/logo.png",
        "https://[/logo.png",
    ],
)
async def test_an_address_that_no_resolver_takes_is_refused_as_any_other(url: str, names: NameServer) -> None:
    with pytest.raises(FetchRefused, match=r"unknown host|not a public address|no address"):
        await GuardedFetcher(resolver=names.resolver()).get(url)
