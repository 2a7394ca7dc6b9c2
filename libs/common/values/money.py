"""Amounts: integer cents inside, `1 234,56 €` outside."""

import re

from libs.common.values.invalid import InvalidValue
from libs.common.values.sentence import Sentence

_NO_BREAK = "\u00a0"
_NARROW = "\u202f"
# Thousands are either all grouped by three or not at all: `1 23,45` is a slip.
_EUROS = re.compile(
    r"(?P<sign>[-+−]?) ?(?P<units>[0-9]{1,13}|[0-9]{1,3}(?: [0-9]{3}){1,4})(?:[,.](?P<cents>[0-9]{1,2}))?(?: ?€)?"
)


class InvalidAmount(InvalidValue):
    reason = Sentence("Ce montant n'est pas valable : écrivez par exemple 1 234,56.")


def parse_euros(typed: str) -> int:
    """`1 234,56` → 123456 cents. A comma or a point before at most two decimals."""
    match = _EUROS.fullmatch(typed.strip().replace(_NO_BREAK, " ").replace(_NARROW, " "))
    if match is None:
        raise InvalidAmount
    amount_cents = int(match["units"].replace(" ", "")) * 100 + int((match["cents"] or "0").ljust(2, "0"))
    return -amount_cents if match["sign"] in ("-", "−") else amount_cents


def format_euros(amount_cents: int) -> str:
    """123456 → `1 234,56 €`, with a narrow no-break space between thousands."""
    units, cents = divmod(abs(amount_cents), 100)
    sign = "−" if amount_cents < 0 else ""
    return f"{sign}{format(units, ',').replace(',', _NARROW)},{cents:02d}{_NO_BREAK}€"
