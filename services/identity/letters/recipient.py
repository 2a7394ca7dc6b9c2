"""Whom a letter goes to, as its envelope must say it."""

import textwrap
from typing import NamedTuple
from uuid import UUID

from libs.common.values.siret import format_siret

LINE = 38
LINES = 6


class Recipient(NamedTuple):
    """An adhérent at its address of record, and the live pair it may already have."""

    adherent_id: UUID
    adherent_number: str
    siret: str | None
    legal_name: str
    address: list[str]

    @property
    def siret_in_groups(self) -> str:
        return format_siret(self.siret) if self.siret else ""

    @property
    def number_on_paper(self) -> str:
        """What its holder types next to the two halves."""
        return self.siret or self.adherent_number


def envelope_lines(recipient: Recipient) -> list[str]:
    """NF Z 10-011: six lines of 38 characters, the name first, the address as it was imported.

    A long name takes the lines that the address leaves, and ends in an ellipsis beyond them.
    """
    room = max(1, LINES - len(recipient.address))
    name = textwrap.wrap(recipient.legal_name, LINE, max_lines=room, placeholder="…", break_long_words=True)
    return [*name, *recipient.address][:LINES]
