"""One stranger spends nobody else's allowance, whatever the sockets before us write their addresses like."""

import pytest

from libs.common.http.client_address import client_address, network_of, proxy_networks

PROXIES = proxy_networks(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize("mapped", ["::ffff:203.0.113.7", "::FFFF:cb00:7107", "0:0:0:0:0:ffff:203.0.113.7"])
def test_ipv4_written_as_ipv6_has_its_own_neighbourhood(mapped: str) -> None:
    assert network_of(mapped) == network_of("203.0.113.7") == "203.0.113.0/24"
    assert network_of(mapped) != network_of("::ffff:198.51.100.7")


def test_our_own_proxy_is_known_on_a_socket_of_both_versions() -> None:
    assert client_address("::ffff:10.0.0.1", ["203.0.113.7"], PROXIES) == "203.0.113.7"
    assert client_address("10.0.0.1", ["1.2.3.4, ::ffff:203.0.113.7"], PROXIES) == "203.0.113.7"
    assert client_address("::ffff:192.0.2.1", ["203.0.113.7"], PROXIES) == "::ffff:192.0.2.1"
    as_it_is_written = proxy_networks(["::ffff:10.0.0.0/104"])
    assert client_address("::ffff:10.0.0.1", ["203.0.113.7"], as_it_is_written) == "203.0.113.7"


@pytest.mark.parametrize(
    "one, other", [("2001:db8:0:100::1", "2001:db8:0:1ff::2"), ("192.0.2.1", "192.0.2.250")]
)
def test_a_customer_is_one_neighbour(one: str, other: str) -> None:
    assert network_of(one) == network_of(other)
