"""Where a request comes from: the peer, or what our own proxy saw when the peer is that proxy.

Nothing else of X-Forwarded-* or Forwarded is ever read: hosts and schemes come from the settings.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Networks = tuple[IPv4Network | IPv6Network, ...]


def proxy_networks(entries: Iterable[str]) -> Networks:
    """`settings.trusted_proxies`, addresses or networks. Raises `ValueError`: a service must not start on a typo."""
    return tuple(ip_network(entry, strict=False) for entry in entries)


def client_address(peer: str | None, forwarded_for: Sequence[str], proxies: Networks) -> str | None:
    """The client's address. `forwarded_for` are the X-Forwarded-For headers as received, in order.

    Only the last entry counts, the one our hop wrote: all before it is the client's own word.
    """
    if peer is None or not forwarded_for or not _is_one_of(peer, proxies):
        return peer
    seen = forwarded_for[-1].rpartition(",")[2].strip()
    try:
        return str(_read(seen))
    except ValueError:
        return peer


def _is_one_of(peer: str, proxies: Networks) -> bool:
    try:
        written = {ip_address(peer), _read(peer)}
    except ValueError:
        return False
    return any(address in network for network in proxies for address in written)


def network_of(address: str | None) -> str:
    """An address's neighbourhood: /24 in IPv4, /56 in IPv6 (what one customer is given)."""
    try:
        host = _read(address or "")
    except ValueError:
        return "unknown"
    return str(ip_network((host, 24 if host.version == 4 else 56), strict=False))


def _read(text: str) -> IPv4Address | IPv6Address:
    """A socket that takes both versions, a proxy's or ours, writes IPv4 as `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2):
    read as IPv6, all of IPv4 would be one neighbourhood. Raises `ValueError`.
    """
    address = ip_address(text)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
