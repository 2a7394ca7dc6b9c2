"""The Host headers a service believes to be itself (abuse table: Host poisoning)."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit


def believed_hosts(hosts: Iterable[str], base: str) -> list[str]:
    """Each name of `hosts`, and that of `base`, as browsers send it: bare on the usual port, else with `base`'s port.

    The bare name is always believed too: a health check from inside needs no port.
    """
    public = urlsplit(base)
    names = [name for name in (*hosts, public.hostname) if name]
    with_port = [f"{name}:{public.port}" for name in names if public.port is not None and name != "*"]
    return list(dict.fromkeys([*names, *with_port]))


def host_pattern(believed: Iterable[str]) -> str:
    """A regular expression that the whole Host header must match: exact names, `*.` for any subdomain, `*` for all."""
    names = list(believed)
    if "*" in names:
        return ".+"
    return "|".join(
        rf".+\.{re.escape(name[2:])}" if name.startswith("*.") else re.escape(name) for name in names
    )
