"""What a caisse opens to clients at this moment, beyond what every caisse does."""

from typing import Final, NamedTuple


class Opened(NamedTuple):
    """Read with the key ring, believed half a second; the discovery document says exactly this."""

    registers: bool
    """Somebody can register a client: the caisse lets everybody, or an initial access token is still good."""
    compat: bool
    """A client of the `compat` profile is there, or can register itself (openid.md §1)."""


NOTHING_OPENED: Final = Opened(registers=False, compat=False)
