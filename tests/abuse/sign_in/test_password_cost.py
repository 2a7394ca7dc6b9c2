"""A password made to be slow to judge holds nobody up."""

import contextlib
import time

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


@pytest.mark.parametrize("chosen", SLOW, ids=lambda text: text[:10].encode("ascii", "replace").decode())
def test_judging_a_choice_is_bounded(chosen: str) -> None:
    began = time.process_time()
    with contextlib.suppress(PasswordGuessable):
        check_password_choice(chosen[:256], known=["x" * 80])
    assert time.process_time() - began < 0.6


def test_a_passphrase_is_still_accepted() -> None:
    check_password_choice("marteau nuage velours trombone", known=["rose@exemple.fr"])
