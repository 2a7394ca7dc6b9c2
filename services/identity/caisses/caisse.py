"""A caisse: the tenant, what it prints of itself and what it has settled."""

from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple, cast

import msgspec

from libs.common.values.caisse_slug import CaisseSlug

OpenRegistration = Literal["closed", "standard", "compat"]
"""Which profile a client that registers itself without an initial access token gets, if any (openid.md §1)."""


class LetterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the two letters travel and how long they live (domain.md §4)."""

    days_between: int = 2
    """Days between the first posting and the second, so that both never share an envelope."""
    valid_days: int = 60
    """From the second posting."""

    @property
    def validity(self) -> timedelta:
        return timedelta(days=self.valid_days)


class Cutover(msgspec.Struct, frozen=True, kw_only=True):
    """The calendar of a change of system: deadlines inside are neutralised (domain.md §5)."""

    closes_on: date
    desk_reopens_on: date
    opens_on: date


class CaisseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a caisse decides for itself; every field has the network's default."""

    colour: str = ""
    letters: LetterSettings = LetterSettings()
    cutover: Cutover | None = None
    confirmation_hours: int = 72
    open_registration: OpenRegistration = "closed"
    desk_hours: str = ""
    """When its telephone is answered, in French, as printed in the letters."""


class Caisse(NamedTuple):
    """One row of `caisse`."""

    slug: CaisseSlug
    name: str
    network_number: str
    siren: str
    address: list[str]
    phone: str
    email: str
    website: str
    mail_from: str
    settings: CaisseSettings
    created_at: datetime

    def as_json(self) -> dict[str, Any]:
        return cast(dict[str, Any], msgspec.to_builtins(self._asdict()))
