"""The letter as a machine and a person meet it: tagged, in the window, unconfusable."""

import asyncio
import re
from datetime import date
from pathlib import Path
from typing import cast
from uuid import uuid4

import pypdfium2 as pdfium
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st

from services.caisse_opening.commands import described
from services.identity.letters.data_matrix import data_matrix
from services.identity.letters.paper_secret import Half
from services.identity.letters.recipient import Recipient, envelope_lines
from services.identity.letters.typeset import Letter, mark_of, typeset

ROOT = Path(__file__).resolve().parents[3]
LOT = "lot_01M856KW3FFYN918KVDK2R2JKY"
MM = 72 / 25.4


def a_recipient(name: str = "SARL Façades Verratœuf", lines: int = 2) -> Recipient:
    address = [
        "70 rue des Charpentiers",
        "Zone artisanale des Piboules",
        "Bâtiment C",
        "BP 12",
        "13001 MARSEILLE",
    ]
    return Recipient(uuid4(), "1000003", "60787562200013", name, address[5 - lines :])


def sheet(*recipients: Recipient, half: Half = Half.CODE_CONFIDENTIEL, code: str = "01OI") -> bytes:
    caisse = described("mediterranee", phone="04 91 00 00 00", email="contact@mediterranee.example",
                       address=("Immeuble Les Docks", "10 place de la Joliette", "13002 MARSEILLE"))  # fmt: skip
    return asyncio.run(typeset(
        caisse, half, LOT, [Letter(one, code) for one in recipients],
        written_on=date(2021, 1, 7), valid_through=date(2021, 3, 10), address="espace.example.test/mediterranee",
    ))  # fmt: skip


def test_the_pdf_is_tagged_titled_and_french():
    pdf = sheet(a_recipient())
    assert b"pdfuaid:part>1" in pdf
    document = pdfium.PdfDocument(pdf)
    assert document.is_tagged()
    assert "Votre code confidentiel" in document.get_metadata_value("Title")
    assert re.search(rb"/Lang\s*\(fr", pdf)


def words(pdf: bytes) -> str:
    text = pdfium.PdfDocument(pdf)[0].get_textpage().get_text_range()
    return " ".join(text.replace("\u00a0", " ").replace("\u202f", " ").split())


def test_the_way_in_is_told_as_the_pages_show_it():
    pages = ROOT / "services"
    landing = (pages / "portal/pages/templates/home/landing.html").read_text()
    sign_in = (pages / "identity/sign_in/pages/sign_in.html").read_text()
    for half in Half:
        told = words(sheet(a_recipient(), half=half))
        way = [told.index("espace.example.test/mediterranee")]
        for label, shown_on in (
            ("Espace sécurisé Entreprise", landing),
            ("Première connexion", sign_in),
            ("Ouvrir mon espace", sign_in),
        ):
            assert f'_("{label}")' in shown_on
            way.append(told.index(f"« {label} »"))
        assert way == sorted(way)


def test_the_caisse_is_named_once_in_its_letterhead():
    caisse = described(
        "ile-de-france",
        name="Congés Intempéries BTP Île-de-France",
        address=("CONGES INTEMPERIES BTP ILE DE FRANCE", "3 QUAI DES CHARPENTIERS", "75012 PARIS"),
    )
    pdf = asyncio.run(typeset(
        caisse, Half.IDENTIFIANT, LOT, [Letter(a_recipient(), "01OI")],
        written_on=date(2021, 1, 7), valid_through=date(2021, 3, 10), address="espace.example.test/ile-de-france",
    ))  # fmt: skip
    told = words(pdf)
    assert told.count("Congés Intempéries BTP Île-de-France") == 1
    assert "CONGES INTEMPERIES" not in told
    assert "3 QUAI DES CHARPENTIERS" in told


def test_the_address_stands_in_the_window_of_the_envelope():
    """A sheet folded in three in a DL envelope shows 100 to 200 mm across, 45 to 90 mm down."""
    page = pdfium.PdfDocument(sheet(a_recipient("M" * 80, lines=4)))[0]
    text = page.get_textpage()
    height = page.get_height()
    for line in ("M" * 38, "13001 MARSEILLE"):
        found = text.search(line).get_next()
        assert found is not None, line
        for at in (found[0], found[0] + len(line) - 1):
            left, bottom, right, top = text.get_charbox(at)
            assert 100 * MM < left < right < 200 * MM
            assert 45 * MM < height - top < height - bottom < 90 * MM


def test_a_name_is_data_and_never_markup():
    name = '#pagebreak() $x$ *gras* `#sys` "—" \\ </script>'
    document = pdfium.PdfDocument(sheet(a_recipient(name)))
    assert len(document) == 1
    printed = document[0].get_textpage().get_text_range()
    assert "#pagebreak()" in printed
    assert "*gras*" in printed


def test_the_code_is_printed_in_a_face_where_zero_is_no_letter():
    pdf = sheet(a_recipient())
    fonts = {cast(str, name) for name in re.findall(rb"/FontName\s*/([A-Za-z0-9+-]+)", pdf)}
    assert any(b"DejaVuSansMono" in name for name in cast(set[bytes], fonts))


def test_the_mark_is_read_by_a_scanner():
    page = pdfium.PdfDocument(sheet(a_recipient(), a_recipient()))[1]
    picture = page.render(scale=4).to_pil()
    (mark,) = zxingcpp.read_barcodes(picture)
    assert mark.text == mark_of(LOT, 2)


def test_a_hundred_letters_are_a_hundred_pages_in_their_order():
    recipients = [a_recipient(f"Entreprise {rank}") for rank in range(100)]
    document = pdfium.PdfDocument(sheet(*recipients))
    assert len(document) == 100
    for page in (0, 49, 99):
        assert f"Entreprise {page}" in document[page].get_textpage().get_text_range()


@given(st.text(max_size=120), st.integers(1, 5))
def test_six_lines_of_38_characters_whatever_the_name(name: str, lines: int):
    envelope = envelope_lines(a_recipient(name, lines))
    assert len(envelope) <= 6
    assert all(len(line) <= 38 for line in envelope)
    assert envelope[-1] == "13001 MARSEILLE"


def test_all_marks_of_a_lot_are_of_one_size():
    assert len({data_matrix(mark_of(LOT, page)).width for page in (1, 12, 345, 2_000)}) == 1
