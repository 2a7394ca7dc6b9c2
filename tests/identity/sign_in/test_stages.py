"""The login state machine: no order of proofs skips one."""

import io

import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
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

PROOFS = st.frozensets(st.sampled_from([PASSWORD_PROVEN, TOTP_PROVEN, MAILED_CODE_PROVEN]))
LEVELS = st.sampled_from([None, "pwd", "two_step", "mfa"])


@given(PROOFS, st.booleans(), st.booleans(), LEVELS, st.booleans())
def test_nothing_ends_without_the_password(
    proven: frozenset[str], has_totp: bool, must: bool, acr: str | None, step_up: bool
) -> None:
    stage = next_stage(proven, has_totp=has_totp, must_have_totp=must, acr=acr, step_up=step_up)
    assert (stage is Stage.PASSWORD) == (PASSWORD_PROVEN not in proven)


@given(PROOFS, st.booleans(), st.booleans(), LEVELS, st.booleans())
def test_what_ends_reached_what_was_asked(
    proven: frozenset[str], has_totp: bool, must: bool, acr: str | None, step_up: bool
) -> None:
    stage = next_stage(proven, has_totp=has_totp, must_have_totp=must, acr=acr, step_up=step_up)
    if stage is not Stage.DONE:
        return
    level = level_of(proven)
    assert acr is None or ACR_RANK[level] >= ACR_RANK[acr]
    assert level == "mfa" or not (has_totp or must)
    assert level != "pwd" or not step_up


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
