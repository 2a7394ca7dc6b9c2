"""Which addresses are the public Internet's, and so a stranger's to name (openid.md §4, "SSRF")."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""RFC 4291 §2.4: all that is delegated so far. NAT64 (64:ff9b::/96, 64:ff9b:1::/48), mapped and compatible IPv4,
SRv6 and whatever is local lie outside.
"""

WAYS_INTO_IPV4 = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))
"""Teredo and 6to4 (RFC 4380, RFC 3056) carry an IPv4 address inside, private ones too, and lead there where a relay
or a router of the installation's own network still takes them.
"""

DOCUMENTATION = IPv6Network("3fff::/20")
RELAYS_OF_6TO4 = IPv4Network("192.88.99.0/24")


def is_public(text: str) -> bool:
    """Whether a resolved address may be connected to for a stranger. An IPv6 address that stands for an IPv4 one is
    judged as what it stands for, and as itself.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public_4(address)
    if address.ipv4_mapped is not None:
        # The same socket as the IPv4 address itself.
        return _is_public_4(address.ipv4_mapped)
    return _is_public_6(address)


def _is_public_4(address: IPv4Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and address not in RELAYS_OF_6TO4
    )


def _is_public_6(address: IPv6Address) -> bool:
    return (
        address in GLOBAL_UNICAST
        and address.scope_id is None
        and address.is_global
        and address not in DOCUMENTATION
        and not any(address in network for network in WAYS_INTO_IPV4)
    )
