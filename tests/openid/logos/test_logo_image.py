"""What is drawn anew of a client's image, and what is refused."""

import contextlib
import io
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from services.identity.openid.logos.image import PLACE, NotALogo, as_shown
from tests.openid.logos.pictures import SVG, claiming, picture, two_pictures


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_each_kind_becomes_a_png_of_ours(kind: str) -> None:
    logo = as_shown(picture(kind, size=(300, 120)), f"image/{kind.lower()}; charset=binary")
    assert opened(logo.png).size == (280, 112) and (logo.width, logo.height) == (140, 56)


@pytest.mark.parametrize("size", [(16, 16), (16, 2048), (2048, 16), (2048, 1024), (160, 56), (321, 113)])
def test_no_logo_is_larger_than_its_place_or_blown_up(size: tuple[int, int]) -> None:
    logo = as_shown(picture(size=size), "image/png")
    assert 1 <= logo.width <= min(PLACE[0], size[0]) and 1 <= logo.height <= min(PLACE[1], size[1])
    wide, high = opened(logo.png).size
    assert wide <= 2 * PLACE[0] and high <= 2 * PLACE[1] and wide >= logo.width and high >= logo.height


def test_one_picture_is_kept_of_several() -> None:
    assert getattr(opened(as_shown(two_pictures(), "image/gif").png), "n_frames", 1) == 1


def test_nothing_of_the_file_but_its_pixels_is_kept() -> None:
    hidden = b"<script>alert(1)</script>"
    exif = Image.Exif()
    exif[0x010E] = hidden.decode()
    for body in (picture("JPEG", exif=exif.tobytes(), comment=hidden), picture("PNG") + hidden):
        assert hidden in body
        kind = "image/jpeg" if body.startswith(b"\xff\xd8") else "image/png"
        assert hidden not in as_shown(body, kind).png


def test_the_same_image_gives_the_same_bytes() -> None:
    assert as_shown(picture(), "image/png") == as_shown(picture(), "image/png")


def test_an_image_that_nothing_compresses_fits_the_table() -> None:
    noise = Image.frombytes("RGBA", (320, 112), os.urandom(320 * 112 * 4))
    out = io.BytesIO()
    noise.save(out, "PNG")
    kept = as_shown(out.getvalue(), "image/png").png
    assert 140_000 < len(kept) <= 163_840


@pytest.mark.parametrize(
    ("body", "declared"),
    [
        (SVG, "image/svg+xml"),
        (SVG, "image/png"),
        (b"<!doctype html><script>alert(1)</script>", "text/html"),
        (b"<!doctype html><script>alert(1)</script>", "image/png"),
        (picture(), "text/html"),
        (picture(), ""),
        (picture("BMP"), "image/png"),
        (picture("TIFF"), "image/png"),
        (picture("ICO"), "image/png"),
        (picture()[:60], "image/png"),
        (b"", "image/png"),
        (picture(size=(15, 64)), "image/png"),
        (picture(size=(2049, 64)), "image/png"),
        (picture(size=(2048, 1025)), "image/png"),
    ],
)
def test_whatever_is_no_small_image_of_the_four_kinds_is_refused(body: bytes, declared: str) -> None:
    with pytest.raises(NotALogo):
        as_shown(body, declared)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    began = time.process_time()
    with pytest.raises(NotALogo):
        as_shown(claiming(60_000, 60_000), "image/png")
    assert time.process_time() - began < 0.5


@settings(max_examples=60)
@given(
    place=st.integers(0, 400),
    change=st.integers(1, 255),
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]),
)
def test_a_damaged_image_is_drawn_or_refused_and_nothing_else(place: int, change: int, kind: str) -> None:
    body = bytearray(picture(kind, size=(40, 30)))
    body[place % len(body)] ^= change
    with contextlib.suppress(NotALogo):
        opened(as_shown(bytes(body), f"image/{kind.lower()}").png)
