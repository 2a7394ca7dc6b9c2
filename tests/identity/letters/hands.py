"""A caisse, some adhérents, and letters read with one's own eyes: out of the PDF."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pypdfium2 as pdfium
from prometheus_client import REGISTRY

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.identifiers import new_id, public_id
from services.caisse_opening.commands import described
from services.identity.caisses.add import add_caisse
from services.identity.caisses.caisse import Caisse
from services.identity.letters.make import MadeLots, make_letters
from services.identity.letters.paper_secret import Half, PaperSecrets
from services.identity.letters.post_lot import post_lot
from services.identity.letters.print_lot import print_lot

NOW = datetime(2021, 1, 7, 9, tzinfo=UTC)
PORTAL = "https://espace.example.test"


class InHand(NamedTuple):
    """Both letters on the table."""

    identifiant: str
    code_confidentiel: str


async def a_caisse(db: Database, keys: KeyEncryption, slug: str) -> Caisse:
    caisse = described(slug, name="Congés Intempéries BTP Méditerranée", phone="04 91 00 00 00")
    async with db.transaction(caisse.slug) as tx:
        await add_caisse(tx, keys, caisse)
    return caisse


async def an_adherent(
    db: Database,
    caisse: Caisse,
    number: str,
    *,
    siret: str | None = None,
    name: str = "SARL Façades Verratœuf",
) -> None:
    async with db.transaction(caisse.slug) as tx:
        await tx.execute(
            """
            INSERT INTO adherent (id, caisse, adherent_number, siren, siret, legal_name, address, imported_at)
            VALUES ($1, $2, $3, left($4, 9), $4, $5, ARRAY['70 rue des Charpentiers', '13001 MARSEILLE'], now())
            """,
            new_id(), caisse.slug, number, siret, name,
        )  # fmt: skip


async def made(
    db: Database, caisse: Caisse, paper: PaperSecrets, keys: KeyEncryption, *numbers: str
) -> MadeLots:
    return await make_letters(db, caisse.slug, paper, keys, numbers=numbers or None, portal=PORTAL, now=NOW)


async def delivered(
    db: Database, caisse: Caisse, keys: KeyEncryption, lots: MadeLots, folder: Path
) -> list[InHand]:
    """Print and post both lots, then open the envelopes."""
    for lot in (lots.identifiant_lot, lots.code_lot):
        await print_lot(db, keys, caisse.slug, lot, folder, now=NOW)
        async with db.transaction(caisse.slug) as tx:
            await post_lot(tx, keys, caisse, lot, now=NOW, same_day=True)
    first = read_codes(folder, lots.identifiant_lot, "Votre identifiant")
    second = read_codes(folder, lots.code_lot, "Votre code confidentiel")
    return [InHand(*pair) for pair in zip(first, second, strict=True)]


def read_codes(folder: Path, lot: object, label: str) -> list[str]:
    """What is printed in the frame of each page."""
    return [
        next(after for line, after in pairwise(lines) if line.strip() == label)
        for lines in (page.splitlines() for page in texts(folder, lot))
    ]


def texts(folder: Path, lot: object) -> list[str]:
    # French typography puts no-break spaces where a reader sees a space.
    document = pdfium.PdfDocument(folder / f"{public_id('lot', lot)}.pdf")  # type: ignore[arg-type]
    try:
        return [
            document[page].get_textpage().get_text_range().replace("\u00a0", " ")
            for page in range(len(document))
        ]
    finally:
        document.close()


def slow_hashes() -> dict[str, float]:
    """How many slow hashes of each half this process has done: what a stopwatch would tell an attacker."""
    return {
        half.value: REGISTRY.get_sample_value("espace_paper_secret_hashes_total", {"half": half.value}) or 0
        for half in Half
    }


def done_since(before: dict[str, float]) -> dict[str, float]:
    return {half: count - before[half] for half, count in slow_hashes().items()}
