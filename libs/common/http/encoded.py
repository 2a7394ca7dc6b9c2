"""Queries, forms and cookies as a stranger wrote them: read for one request, and kept here no longer than it.

The framework's own readers remember the last thousand of each in a process. Those of a stranger, as large as they may
be, were gigabytes; those of a person, the passwords and session cookies of everybody who came.
"""

from collections.abc import Iterable
from urllib.parse import parse_qsl

BLANKS = " \t"
"""What stands around a cookie's name (RFC 6265 §5.2); Unicode has more, and to a browser those are a part of it."""


MOST_OF_A_QUERY = 100
"""Fields of a page's query that are read. The framework remembers the arguments that it made of the last thousand."""


def pairs_of(encoded: bytes) -> tuple[tuple[str, str], ...]:
    """The fields of a query string or a form, in order."""
    return tuple(parse_qsl(encoded.decode("latin-1"), keep_blank_values=True))


def cookies_of(lines: Iterable[bytes]) -> dict[str, str]:
    """The cookies of a request's `Cookie` header; of a name given twice, none.

    A browser lets nobody but us set a `__Host-` cookie, and keeps one of a name. A sibling host can set one whose name
    only looks the same once a no-break space is taken off, or whose name is empty and whose value begins so
    (RFC 6265bis §5.7, §8.6): it is no cookie of ours, and what is there twice was not written by us alone.
    """
    found, doubled = dict[str, str](), set[str]()
    for line in lines:
        for pair in line.decode("latin-1").split(";"):
            name, _, value = pair.partition("=")
            name = name.strip(BLANKS)
            if name in found:
                doubled.add(name)
            found[name] = value.strip(BLANKS)
    return {name: value for name, value in found.items() if name and name not in doubled}
