"""Where a request comes from: our own hop is believed, and nobody before it."""

import pytest

from libs.common.http.client_address import client_address, network_of, proxy_networks

HOP = proxy_networks(["10.0.0.1", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("fd00::5", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, "], "10.0.0.1"),
        ("10.0.0.2", ["203.0.113.7"], "10.0.0.2"),
        ("not an address", ["203.0.113.7"], "not an address"),
        (None, ["203.0.113.7"], None),
    ],
)
def test_only_what_our_hop_wrote_counts(peer: str | None, forwarded: list[str], seen: str | None) -> None:
    assert client_address(peer, forwarded, HOP) == seen


def test_without_a_proxy_nobody_is_believed() -> None:
    assert client_address("10.0.0.1", ["203.0.113.7"], ()) == "10.0.0.1"


def test_a_proxy_that_is_mistyped_refuses_the_start() -> None:
    with pytest.raises(ValueError, match="proxy"):
        proxy_networks(["proxy"])


def test_neighbours_share_a_network() -> None:
    assert network_of("203.0.113.7") == network_of("203.0.113.250") != network_of("203.0.114.7")
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8:0:ff::1") != network_of("2001:db8:0:100::1")
    assert network_of(None) == network_of("nonsense") == "unknown"
