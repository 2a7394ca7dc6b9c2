"""The login state machine: no order of proofs skips one."""

import io
import itertools
from typing import NamedTuple

import pytest
import zxingcpp
from PIL import Image, ImageDraw

from services.identity.sign_in.password_rules import check_password_choice
from services.identity.sign_in.qr import qr_svg
from services.identity.sign_in.session import ACR_RANK, family_of
from services.identity.sign_in.stages import (
    MAILED_CODE_PROVEN,
    PASSWORD_PROVEN,
    TOTP_PROVEN,
    Stage,
    level_of,
    next_stage,
)

PROOFS = (PASSWORD_PROVEN, TOTP_PROVEN, MAILED_CODE_PROVEN)
LEVELS: tuple[str | None, ...] = (None, "pwd", "two_step", "mfa")
OWNS = {Stage.PASSWORD: PASSWORD_PROVEN, Stage.TOTP: TOTP_PROVEN, Stage.ENROL: TOTP_PROVEN}
OWNS[Stage.MAILED_CODE] = MAILED_CODE_PROVEN
"""What a good value of each stage proves."""


class Case(NamedTuple):
    """Somebody, and what is asked of them."""

    has_totp: bool
    is_vouched: bool
    must: bool
    acr: str | None

    def next(self, proven: frozenset[str]) -> Stage:
        return next_stage(
            proven,
            has_totp=self.has_totp,
            is_vouched=self.is_vouched,
            must_have_totp=self.must,
            acr=self.acr,
        )


CASES = [
    Case(*case)
    for case in itertools.product((False, True), (False, True), (False, True), LEVELS)
    if case[0] or not case[1]
]
SETS = [frozenset(some) for size in range(4) for some in itertools.combinations(PROOFS, size)]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("proven", SETS, ids=sorted)
def test_nothing_ends_without_the_password(case: Case, proven: frozenset[str]) -> None:
    assert (case.next(proven) is Stage.PASSWORD) == (PASSWORD_PROVEN not in proven)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("proven", SETS, ids=sorted)
def test_what_ends_reached_what_was_asked(case: Case, proven: frozenset[str]) -> None:
    if case.next(proven) is not Stage.DONE:
        return
    level = level_of(proven)
    assert case.acr is None or ACR_RANK[level] >= ACR_RANK[case.acr]
    assert level == "mfa" or not (case.has_totp or case.must)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_whoever_answers_all_that_is_asked_comes_to_an_end(case: Case) -> None:
    proven: frozenset[str] = frozenset()
    for _ in range(4):
        if (stage := case.next(proven)) is Stage.DONE:
            return
        proven |= {OWNS[stage]}
    raise AssertionError(f"still asked for {case.next(proven)}")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("holds_the_application", [False, True])
def test_no_path_from_a_password_alone_reaches_a_second_step(case: Case, holds_the_application: bool) -> None:
    """Whoever has a password and any telephone, not the mailbox: every answer they have, in every order.

    An application whose secret they know is one that a password alone enrolled, so it is not vouched for:
    or else they hold the owner's second factor.
    """
    can = {Stage.PASSWORD, Stage.ENROL}
    if holds_the_application and not case.is_vouched:
        can.add(Stage.TOTP)
    proven: frozenset[str] = frozenset()
    while (stage := case.next(proven)) in can:
        proven |= {OWNS[stage]}
    if stage is Stage.DONE:
        assert level_of(proven) == "pwd", (stage, proven)
        assert not case.has_totp and not case.must
    else:
        # Nothing is enrolled on the way either.
        assert case.has_totp or TOTP_PROVEN not in proven


def test_the_drawing_says_what_the_secret_says() -> None:
    address = (
        "otpauth://totp/Caisse%3Arose%40exemple.fr?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Caisse"
    )
    assert read(qr_svg(address)) == address


def read(svg: str) -> str:
    """Draw the squares of our SVG and let a reader we did not write read them."""
    left, _, side, _ = map(int, svg.partition('viewBox="')[2].partition('"')[0].split())
    image = Image.new("L", (side * 8, side * 8), 255)
    draw = ImageDraw.Draw(image)
    path = svg.rpartition('d="')[2].partition('"')[0]
    for square in path.split("z")[:-1]:
        x, y = map(int, square.partition("h")[0].removeprefix("M").split())
        width, height = (int(part) for part in square.partition("h")[2].rpartition("h")[0].split("v"))
        x0, y0 = (x - left) * 8, (y - left) * 8
        draw.rectangle((x0, y0, x0 + width * 8 - 1, y0 + height * 8 - 1), fill=0)
    image.save(io.BytesIO(), "PNG")
    found = zxingcpp.read_barcodes(image)
    return found[0].text if found else ""


def test_a_long_sentence_of_ones_own_is_accepted() -> None:
    check_password_choice("le chat gris dort sous la grue", known=["rose@exemple.fr", "Maçonnerie Fabre"])


def test_a_device_is_named_without_its_versions() -> None:
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0"
    assert family_of(agent) == "Firefox, Windows"
    assert family_of("curl/8") == ""
