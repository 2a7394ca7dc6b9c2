"""The Host headers a service believes to be itself (abuse table: Host poisoning)."""

from collections.abc import Iterable
from urllib.parse import urlsplit


def believed_hosts(hosts: Iterable[str], base: str) -> list[str]:
    """Each name, and that of `base`, as browsers send it: bare on the usual port, else with the port of `base`.

    The bare name is always believed too: a health check from inside needs no port.
    """
    public = urlsplit(base)
    names = dict.fromkeys([*hosts, *([public.hostname] if public.hostname else [])])
    if public.port is None:
        return list(names)
    return [host for name in names for host in (name, f"{name}:{public.port}") if name != "*" or host == "*"]
