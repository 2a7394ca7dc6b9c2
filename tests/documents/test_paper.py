"""The file: one revision, one certifying seal over all of it, the payload inside, the same bytes each time."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pypdfium2
import pytest
import zxingcpp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext

from services.documents.attestations.payload import Payload, canonical
from services.documents.attestations.render import Addresses, render
from services.documents.attestations.seal import Sealed, seal_pdf
from services.documents.seals.certificates import Seal, make_authority, make_seal
from services.documents.verification.examine import examine
from services.documents.verification.examined import Examined
from tests.documents.test_payload import a_payload, facts

NOW = datetime(2026, 11, 23, 21, 5, tzinfo=UTC)
ADDRESSES = Addresses(
    "https://documents.example.test/mediterranee/verification",
    "https://documents.example.test/a/ABCDEFGHJKMNPQRST",
)
NAME = "Congés Intempéries BTP – Caisse de la région Méditerranée"


def a_seal() -> Seal:
    authority = make_authority(organisation=NAME, siren="775690121", now=NOW)
    return make_seal(
        authority, organisation=NAME, siren="775690121", sequence=1, address="https://d.example.test", now=NOW
    )


SEAL = a_seal()
KNOWN = frozenset({SEAL.certificate.public_bytes(Encoding.DER)})


def sealed_paper(payload: Payload, seal: Seal = SEAL) -> Sealed:
    pdf = render(payload, ADDRESSES)
    return seal_pdf(pdf, seal, sealed_at=payload.emise_le, reason="Attestation", name=NAME)


@pytest.fixture(scope="module")
def paper() -> Sealed:
    return sealed_paper(a_payload(facts()))


def text_of(pdf: bytes) -> str:
    text = pypdfium2.PdfDocument(pdf)[0].get_textpage().get_text_range()
    return " ".join(text.replace("\u200b", "").split())


def test_an_independent_reader_finds_the_seal_whole_and_trusted(paper: Sealed) -> None:
    reader = PdfFileReader(BytesIO(paper.pdf))
    (seal,) = reader.embedded_signatures
    root = asn1_x509.Certificate.load(SEAL.authority.public_bytes(Encoding.DER))
    context = ValidationContext(trust_roots=[root], allow_fetching=False, moment=NOW + timedelta(minutes=1))

    status = validate_pdf_signature(seal, context)

    assert (status.bottom_line, status.coverage, reader.total_revisions) == (
        True,
        SignatureCoverageLevel.ENTIRE_FILE,
        1,
    )
    assert seal.sig_object["/SubFilter"] == "/ETSI.CAdES.detached"
    assert reader.root["/Perms"]["/DocMDP"]["/Reference"][0]["/TransformParams"]["/P"] == 1


def test_the_same_payload_gives_the_same_file_and_the_same_seal(paper: Sealed) -> None:
    again = sealed_paper(a_payload(facts()))

    assert (again.pdf, again.cms, again.byte_range_digest) == (paper.pdf, paper.cms, paper.byte_range_digest)


def test_the_payload_is_inside_and_the_paper_shows_it(paper: Sealed) -> None:
    names = PdfFileReader(BytesIO(paper.pdf)).root["/Names"]["/EmbeddedFiles"]["/Names"]
    attached = [entry.get_object()["/EF"]["/F"].data for entry in list(names)[1::2]]

    assert attached == [canonical(a_payload(facts()))]
    shown = text_of(paper.pdf)
    for words in (
        "Attestation de situation à jour",
        "732 829 320 00074",
        "mediterranee-2026-000042",
        "23 novembre 2026",
    ):
        assert words in shown.replace("\u00a0", " ")
    assert "ABCD EFGH JKMN PQRS T" in shown.replace("\u00a0", " ")


def test_the_qr_code_reads_back(paper: Sealed) -> None:
    image = pypdfium2.PdfDocument(paper.pdf)[0].render(scale=2).to_pil()

    assert [code.text for code in zxingcpp.read_barcodes(image)] == [ADDRESSES.code]


def test_the_file_says_it_is_tagged_archival_and_accessible(paper: Sealed) -> None:
    root = PdfFileReader(BytesIO(paper.pdf)).root
    metadata = root["/Metadata"].data

    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "fr-FR"
    assert b"<pdfaid:part>3" in metadata
    assert b"<pdfuaid:part>1" in metadata


def test_the_certificate_says_what_readers_expect() -> None:
    certificate = SEAL.certificate
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    named = certificate.subject.rfc4514_string()

    assert usage.critical
    assert (usage.value.digital_signature, usage.value.content_commitment) == (True, True)
    assert not usage.value.key_cert_sign
    assert "NTRFR-775690121" in named
    assert not [one for one in certificate.extensions if isinstance(one.value, x509.ExtendedKeyUsage)]


HOSTILE = [
    '#eval(read("/etc/passwd")) *gras* _italique_ $x$ @ref <label>',
    "<script>alert(1)</script>",
    "))]} // /* \\ ` \" '",
    "A" * 400,
    "W" * 60 + " " + "é" * 30,
    "Ünïcödé Ω Ж ﷽ 日本 👷🏽‍♀️ \u202egnol",
    "L’ÎLE-VERTE & Œuvre – “Béton”",
    " \u00a0 ",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_printed_as_text(name: str) -> None:
    sealed = sealed_paper(a_payload(facts(name)))

    assert examine(sealed.pdf, KNOWN).verdict == "genuine"
    assert len(pypdfium2.PdfDocument(sealed.pdf)) in (1, 2)
    if name.isascii() and name.strip() and " " in name:
        assert name in text_of(sealed.pdf)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_name_stops_the_press(name: str) -> None:
    assert render(a_payload(facts(name)), ADDRESSES).startswith(b"%PDF-1.7")


# Attacks of attestations.md §16.


def flip_a_byte(pdf: bytes) -> bytes:
    middle = pdf.index(b"stream") + 60
    return pdf[:middle] + bytes([pdf[middle] ^ 1]) + pdf[middle + 1 :]


def append_a_revision(pdf: bytes) -> bytes:
    writer = IncrementalPdfFileWriter(BytesIO(pdf), strict=False)
    writer.root["/Lang"] = writer.root["/Lang"]
    writer.update_root()
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def append_rubbish(pdf: bytes) -> bytes:
    return pdf + b"\n% plus\n"


def zero_the_seal(pdf: bytes) -> bytes:
    start = pdf.index(b"/Contents <") + len(b"/Contents <")
    return pdf[:start] + b"0" * 200 + pdf[start + 200 :]


@pytest.mark.parametrize(
    ("attack", "verdicts"),
    [
        (flip_a_byte, {"altered", "unreadable"}),
        (append_a_revision, {"added_content"}),
        (append_rubbish, {"added_content", "unreadable"}),
        (zero_the_seal, {"altered", "unreadable"}),
    ],
)
def test_an_altered_file_is_refused(
    paper: Sealed, attack: Callable[[bytes], bytes], verdicts: set[str]
) -> None:
    changed = attack(paper.pdf)

    assert changed != paper.pdf
    assert examine(changed, KNOWN).verdict in verdicts


def test_a_seal_of_the_same_name_by_another_key_is_unknown() -> None:
    assert examine(sealed_paper(a_payload(facts()), a_seal()).pdf, KNOWN) == Examined("unknown_issuer")


def test_a_file_without_seal_says_so() -> None:
    assert examine(render(a_payload(facts()), ADDRESSES), KNOWN) == Examined("no_seal")


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7", b"\x00" * 1000, b"PK\x03\x04"])
def test_what_is_no_pdf_is_unreadable(content: bytes) -> None:
    assert examine(content, KNOWN) == Examined("unreadable")


def test_other_tools_agree_where_they_are_installed(paper: Sealed, tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "paper.pdf"
    file.write_bytes(paper.pdf)
    for command, sentence in (
        (["pdfsig", "-nocert", str(file)], "Signature is Valid"),
        (["qpdf", "--check", str(file)], "No syntax"),
    ):
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except FileNotFoundError:
            continue
        assert sentence in said


@pytest.mark.parametrize("name", ["A" * 400, "W" * 60, "ÉLECTRICITÉ-PLOMBERIE-COUVERTURE-ZINGUERIE-RAMONAGE"])
def test_a_word_too_long_for_a_line_stays_on_the_paper(name: str) -> None:
    page = pypdfium2.PdfDocument(render(a_payload(facts(name)), ADDRESSES))[0]
    text = page.get_textpage()

    edges = [text.get_charbox(index)[2] for index in range(text.count_chars())]

    assert max(edges) < page.get_width() - 50
