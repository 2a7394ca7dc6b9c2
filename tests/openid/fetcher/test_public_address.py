"""Which resolved addresses are a stranger's to name, however they spell an inner one (openid.md §4, "SSRF")."""

import random
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.openid.guarded_fetcher import FetchRefused, GuardedFetcher
from services.identity.openid.public_address import is_public
from tests.openid.name_server import NameServer

INNER = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "172.16.0.1", "100.64.0.1", "0.0.0.0"]
REFUSED = [
    *INNER,
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "232.1.2.3", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "192.88.99.1",
    "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "ff0e::1", "2001:db8::1", "3fff::1", "100::1",
    "5f00::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2002:808:808::1", "64:ff9b::8.8.8.8",
    "64:ff9b:1::8.8.8.8", "::8.8.8.8", "4000::1", "2606:4700::1111%eth0", "nowhere", "",
    *(f"::ffff:{inner}" for inner in INNER),
    *(f"64:ff9b::{inner}" for inner in INNER),
    *(f"64:ff9b:1::{inner}" for inner in INNER),
    *(str(IPv6Address(0x2002 << 112 | int(IPv4Address(inner)) << 80)) for inner in INNER),
    # Teredo keeps the client's address with its bits turned over (RFC 4380 §4).
    *(str(IPv6Address(0x20010000 << 96 | ~int(IPv4Address(inner)) & 0xFFFFFFFF)) for inner in INNER),
]  # fmt: skip
TAKEN = ["8.8.8.8", "203.0.114.1", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4007:80e::200e"]


def test_what_is_refused_and_what_is_taken() -> None:
    assert [one for one in REFUSED if is_public(one)] == []
    assert [one for one in TAKEN if not is_public(one)] == []


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_is_no_more_public_than_itself(inner: IPv4Address) -> None:
    number = int(inner)
    spelled = [
        IPv6Address(0xFFFF << 32 | number), IPv6Address(number), IPv6Address((0x64FF9B << 96) | number),
        IPv6Address(int(IPv6Address("64:ff9b:1::")) | number), IPv6Address(0x2002 << 112 | number << 80),
        IPv6Address(0x2002 << 112 | number << 80 | 1), IPv6Address(0x20010000 << 96 | number ^ 0xFFFFFFFF),
    ]  # fmt: skip
    assert not any(is_public(str(one)) and not is_public(str(inner)) for one in spelled)
    assert not any(is_public(str(one)) for one in spelled[1:])


@given(st.ip_addresses(v=6))
def test_a_public_ipv6_address_is_global_unicast(address: IPv6Address) -> None:
    if is_public(str(address)) and address.ipv4_mapped is None:
        assert address in IPv6Network("2000::/3") and address.is_global and not address.is_multicast


@pytest.mark.parametrize(
    "refused", ["64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:1::1", "224.0.0.251", "ff0e::1"]
)
async def test_a_name_that_leads_there_is_refused(names: NameServer, refused: str) -> None:
    """Beside good addresses too, in any order."""
    seed = random.randrange(10**6)
    print("seed", seed)
    names.known["client.example"] = [*(one for one in TAKEN if "ffff" not in one), refused]
    random.Random(seed).shuffle(names.known["client.example"])
    for asked in ("get", "jwks"):
        with pytest.raises(FetchRefused, match="not a public address"):
            await getattr(GuardedFetcher(resolver=names.resolver()), asked)("https://client.example/x")
