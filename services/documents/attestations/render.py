"""From a payload to an unsealed PDF: tagged, PDF/A-3a and PDF/UA-1, the payload inside.

The one place that knows Typst. It takes a payload and gives bytes, the same for
the same payload, so a precompiled engine can take its place (attestations.md §5).
"""

import hashlib
import json
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import typst
import zint

from libs.common.pages.formats import day, groups, instant, siren, siret
from services.documents.attestations.payload import Payload, canonical

TEMPLATE = Path(__file__).parent / "templates" / "attestation.typ"
STANDARDS: "list[typst.PDFStandard]" = ["a-3a", "ua-1"]
DEFAULT_COLOUR = "0b4a6f"
QUIET_ZONE = 4
"""Modules left white around a QR code (ISO/IEC 18004 §9.1)."""

_NO_GLYPH = "\u25a1"


class Addresses(NamedTuple):
    """What the paper sends its reader to: the page, and the page with its code filled in."""

    page: str
    code: str


@cache
def template_source() -> bytes:
    return TEMPLATE.read_bytes()


@cache
def template_name() -> str:
    """Name and SHA-256: which text an attestation was rendered with."""
    return f"{TEMPLATE.stem}@{hashlib.sha256(template_source()).hexdigest()}"


def render(payload: Payload, addresses: Addresses, *, colour: str = "") -> bytes:
    """The PDF of `payload`, byte-identical at each call. CPU-bound: 10 ms; call it in the press."""
    text = canonical(payload).decode()
    shown_name = printable(payload.adherent.raison_sociale)
    data = {
        "number": payload.id,
        "colour": "#" + (colour or DEFAULT_COLOUR),
        "as_of": day(payload.a_jour_au),
        "whole_unit": payload.adherent.siren is not None,
        "caisse": {
            "name": payload.caisse.nom,
            "siren": siren(payload.caisse.siren) if payload.caisse.siren else "",
        },
        "legal_name": shown_name,
        "is_name_whole": shown_name == payload.adherent.raison_sociale,
        "facts": _facts(payload),
        "legal_basis": payload.base_legale,
        "verification_page": addresses.page,
        "verification_shown": addresses.page.split("://", 1)[-1],
        "code": groups(payload.code),
        "qr": qr_svg(addresses.code),
    }
    compiled = typst.compile(
        template_source(),
        format="pdf",
        pdf_standards=STANDARDS,
        timestamp=int(payload.emise_le.timestamp()),
        ignore_system_fonts=True,
        sys_inputs={"data": json.dumps(data), "canonical": text},
    )
    assert isinstance(compiled, bytes)
    return compiled


def _facts(payload: Payload) -> list[tuple[str, str]]:
    firm = payload.adherent
    rows = [
        ("SIREN", siren(firm.siren) if firm.siren else "Entreprise étrangère sans SIREN"),
        ("SIRET du siège", siret(firm.siret) if firm.siret else ""),
        ("N° d’adhérent", firm.numero),
        ("Situation", f"À jour au {day(payload.a_jour_au)}"),
        ("Délivrée le", instant(payload.emise_le)),
        ("Valable jusqu’au", day(payload.valable_jusqu_au) if payload.valable_jusqu_au else ""),
        ("N° d’attestation", payload.id),
    ]
    return [(term, value) for term, value in rows if value]


def qr_svg(text: str) -> str:
    """`text` as a QR code, error correction M, runs of dark modules as one path."""
    symbol = zint.Symbol()
    symbol.symbology = zint.Symbology.QRCODE
    symbol.option_1 = 2
    symbol.encode(text.encode())
    modules = symbol.encoded_data
    # zint pads each row to a fixed stride and packs modules from the lowest bit.
    packed, stride, size = modules.tobytes(), modules.shape[1], symbol.width  # type: ignore[index]
    runs: list[str] = []
    for row in range(symbol.rows):
        line = packed[row * stride : (row + 1) * stride]
        dark = "".join("1" if line[column >> 3] >> (column & 7) & 1 else "0" for column in range(size))
        column = 0
        for run in dark.replace("10", "1|0").replace("01", "0|1").split("|"):
            if run[0] == "1":
                runs.append(f"M{column + QUIET_ZONE} {row + QUIET_ZONE}h{len(run)}v1h-{len(run)}z")
            column += len(run)
    side = size + 2 * QUIET_ZONE
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}"><path d="{"".join(runs)}"/></svg>'


def printable(text: str) -> str:
    """`text` with each character that the embedded fonts lack shown as an empty square.

    PDF/A forbids a missing glyph, and a name must never stop an attestation: the
    payload inside the file and the verification page keep the whole name.
    """
    return "".join(letter if ord(letter) < 0x180 or _has_glyph(letter) else _NO_GLYPH for letter in text)


@lru_cache(maxsize=4096)
def _has_glyph(letter: str) -> bool:
    source = b'#set document(title: "?")\n#set text(font: "Libertinus Serif")\n#sys.inputs.letter'
    try:
        typst.compile(
            source,
            format="pdf",
            pdf_standards=STANDARDS,
            timestamp=0,
            ignore_system_fonts=True,
            sys_inputs={"letter": letter},
        )
    except typst.TypstError:
        return False
    return True
