"""Lots cut short at each statement, and between their files: none is half made, lost or posted twice."""

import hashlib
import itertools
from pathlib import Path

import msgspec
import pytest

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.identifiers import public_id
from services.identity.caisses.caisse import Caisse
from services.identity.letters.make import MadeLots, make_letters
from services.identity.letters.paper_secret import PaperSecrets
from services.identity.letters.post_lot import post_lot
from services.identity.letters.print_lot import Manifest, print_lot
from tests.identity.killed import Dying, Scene, killed_everywhere, rows_of
from tests.identity.letters.hands import NOW, PORTAL, a_caisse, an_adherent, made

TABLES = ("print_lot", "letter_pair", "journal", "outbox")
_drawn = itertools.count()


@pytest.fixture(scope="module")
def paper(keys: KeyEncryption) -> PaperSecrets:
    return PaperSecrets(keys)


async def ready(
    db: Database, keys: KeyEncryption, paper: PaperSecrets, *, lots: bool = True
) -> tuple[Caisse, MadeLots | None]:
    caisse = await a_caisse(db, keys, f"coupure-{next(_drawn)}")
    await an_adherent(db, caisse, "1000001", siret="73282932000074")
    return caisse, await made(db, caisse, paper, keys) if lots else None


@pytest.mark.parametrize("reissue", [False, True])
async def test_both_lots_are_made_with_their_pairs_or_not_at_all(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, reissue: bool
) -> None:
    numbers = ["1000001"] if reissue else None

    async def scene() -> Scene:
        caisse, _ = await ready(identity_db, keys, paper, lots=reissue)

        async def act(db: Database) -> None:
            await make_letters(db, caisse.slug, paper, keys, numbers=numbers, portal=PORTAL, now=NOW)

        return Scene(caisse.slug, act)

    assert await killed_everywhere(identity_db, scene, TABLES) >= 6


async def test_a_lot_that_died_at_the_printer_is_printed_again_the_same(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
) -> None:
    async def scene() -> Scene:
        caisse, lots = await ready(identity_db, keys, paper)
        assert lots is not None

        async def act(db: Database) -> None:
            await print_lot(db, keys, caisse.slug, lots.code_lot, tmp_path, now=NOW)

        return Scene(caisse.slug, act)

    assert await killed_everywhere(identity_db, scene, TABLES) >= 6


@pytest.mark.parametrize("blocked", ["json", "pdf"])
async def test_a_printer_that_fails_between_its_files_leaves_the_lot_to_print(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path, blocked: str
) -> None:
    """A folder in the place of a file is a disk that refuses: the manifest may be there, the lot is not printed."""
    caisse, lots = await ready(identity_db, keys, paper)
    assert lots is not None
    name = public_id("lot", lots.code_lot)
    before = await rows_of(identity_db, caisse.slug, TABLES)
    (tmp_path / f"{name}.{blocked}").mkdir()
    with pytest.raises(OSError):
        await print_lot(identity_db, keys, caisse.slug, lots.code_lot, tmp_path, now=NOW)
    assert await rows_of(identity_db, caisse.slug, TABLES) == before
    assert not (tmp_path / f"{name}.pdf").is_file()
    (tmp_path / f"{name}.{blocked}").rmdir()
    await print_lot(identity_db, keys, caisse.slug, lots.code_lot, tmp_path, now=NOW)
    manifest = msgspec.json.decode((tmp_path / f"{name}.json").read_bytes(), type=Manifest)
    assert manifest.sha256 == hashlib.sha256((tmp_path / f"{name}.pdf").read_bytes()).hexdigest()


async def test_after_a_death_between_files_and_note_both_files_are_whole(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
) -> None:
    caisse, lots = await ready(identity_db, keys, paper)
    assert lots is not None
    name = public_id("lot", lots.code_lot)
    with pytest.raises(DatabaseUnavailable):  # the fourth statement is the first of step 3
        await print_lot(Dying(identity_db, 4), keys, caisse.slug, lots.code_lot, tmp_path, now=NOW)
    handed_over = (tmp_path / f"{name}.pdf").read_bytes()
    async with identity_db.transaction(caisse.slug) as tx:
        assert await tx.fetchval("SELECT printed_at FROM print_lot WHERE id = $1", lots.code_lot) is None
    await print_lot(identity_db, keys, caisse.slug, lots.code_lot, tmp_path, now=NOW)
    assert (tmp_path / f"{name}.pdf").read_bytes() == handed_over


@pytest.mark.parametrize("second", [False, True])
async def test_a_lot_is_posted_and_erased_or_neither(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path, second: bool
) -> None:
    async def scene() -> Scene:
        caisse, lots = await ready(identity_db, keys, paper)
        assert lots is not None
        for lot in (lots.identifiant_lot, lots.code_lot):
            await print_lot(identity_db, keys, caisse.slug, lot, tmp_path, now=NOW)
        if second:
            async with identity_db.transaction(caisse.slug) as tx:
                await post_lot(tx, keys, caisse, lots.identifiant_lot, now=NOW, same_day=True)

        async def act(db: Database) -> None:
            lot = lots.code_lot if second else lots.identifiant_lot
            async with db.transaction(caisse.slug) as tx:
                await post_lot(tx, keys, caisse, lot, now=NOW, same_day=True)

        return Scene(caisse.slug, act)

    assert await killed_everywhere(identity_db, scene, TABLES) >= 5
