"""A password made to be slow to judge holds nobody up."""

import contextlib
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from services.identity.sign_in.password_rules import PasswordGuessable, check_password_choice

SLOW = [
    "4@8({[<3€9#!1/|0$5+7%2" * 11,
    "1234567890" * 25,
    "a" * 256,
    "qwertyuiopasdfghjklzxcvbnm" * 9,
    "01/01/2000 12-12-1999 " * 11,
    "é̂" * 128,
]


MOST_CALLS = 100_000
"""Python calls: the slowest of these makes 49,000 with 32 characters judged."""


def calls_of(judge: Callable[[], None]) -> int:
    """How many calls of Python functions `judge` makes: a cost that a busy machine does not change."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        judge()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("chosen", SLOW, ids=lambda text: text[:10].encode("ascii", "replace").decode())
def test_judging_a_choice_is_bounded(chosen: str) -> None:
    def judge() -> None:
        with contextlib.suppress(PasswordGuessable):
            check_password_choice(chosen[:256], known=["x" * 80])

    assert calls_of(judge) < MOST_CALLS


def test_a_passphrase_is_still_accepted() -> None:
    check_password_choice("marteau nuage velours trombone", known=["rose@exemple.fr"])
