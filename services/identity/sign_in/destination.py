"""Where a sign-in leads: back to the client that asked, to a page of this caisse, or to its home.

Carried by the address and the form, not by a cookie: several tabs, each its own.
"""

import re
from typing import NamedTuple
from urllib.parse import urlencode

from libs.common.values.caisse_slug import CaisseSlug

_FLOW = re.compile("[A-Za-z0-9_-]{1,64}")
_PATH = re.compile(r"(?:/[A-Za-z0-9_~-]+)+(?:\?[A-Za-z0-9_.~=&%+-]*)?")


class Destination(NamedTuple):
    """An authorization flow, or a path of this caisse on this very server, or neither (both empty)."""

    flow: str = ""
    path: str = ""

    @property
    def query(self) -> str:
        """What an address of ours carries to keep the destination: `?flow=…`, `?continue=…` or nothing."""
        pairs = {"flow": self.flow, "continue": self.path}
        carried = urlencode({name: value for name, value in pairs.items() if value})
        return f"?{carried}" if carried else ""

    def with_(self, more: str) -> str:
        """The query, with one more word of ours: `?flow=…&recovery=yes`."""
        return f"{self.query}&{more}" if self.query else f"?{more}"

    def address(self, caisse: CaisseSlug, *, identity: str, portal: str) -> str:
        """The whole address to go to, on our own bases only."""
        if self.flow:
            return f"{identity}/{caisse}/authorize/continue?{urlencode({'flow': self.flow})}"
        return f"{identity}{self.path}" if self.path else f"{portal}/{caisse}"


def parse_destination(caisse: CaisseSlug, *, flow: str, path: str) -> Destination:
    """Keep what is surely ours, drop the rest in silence: a forged destination leads home.

    A path has no scheme, host, empty or dotted segment, and begins with the caisse.
    """
    return Destination(
        flow if _FLOW.fullmatch(flow) else "",
        path if _PATH.fullmatch(path) and path.startswith(f"/{caisse}/") else "",
    )
