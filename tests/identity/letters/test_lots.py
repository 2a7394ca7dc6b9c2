"""Two print lots, two dates: made sealed, handed over, posted, erased."""

import asyncio
import hashlib
import stat
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.identifiers import new_id, public_id
from services.identity.letters import store
from services.identity.letters.make import LettersBeingMade, NobodyToWriteTo
from services.identity.letters.paper_secret import PaperSecrets
from services.identity.letters.post_lot import NotToBePosted, post_lot, proof_holds
from services.identity.letters.print_lot import LotPurged, Manifest, NoSuchLot, print_lot
from services.identity.letters.redeem import PairNotUsable, check_pair
from services.identity.letters.returned_mail import mark_returned
from services.identity.letters.sweep import sweep_letters
from tests.identity.letters.hands import NOW, a_caisse, an_adherent, delivered, made, read_codes, texts

SIRETS = ("73282932000074", "35600000049837", None)


@pytest.fixture(scope="module")
def paper(keys: KeyEncryption) -> PaperSecrets:
    return PaperSecrets(keys)


async def states(db: Database, slug: str) -> list[str]:
    async with db.transaction(slug) as tx:  # type: ignore[arg-type]
        return [row["state"] for row in await tx.fetch("SELECT state FROM letter_pair ORDER BY made_at, id")]


async def test_each_half_is_in_its_own_lot_and_neither_tells_of_the_other(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "chacun-son-lot")
    for rank, siret in enumerate(SIRETS, start=1):
        await an_adherent(identity_db, caisse, f"100000{rank}", siret=siret)
    lots = await made(identity_db, caisse, paper, keys)
    letters = await delivered(identity_db, caisse, keys, lots, tmp_path)

    assert len(letters) == 3
    for hand, first, second in zip(
        letters, texts(tmp_path, lots.identifiant_lot), texts(tmp_path, lots.code_lot), strict=True
    ):
        assert hand.identifiant in first
        assert hand.code_confidentiel not in first
        assert "code" not in first.lower()
        assert hand.code_confidentiel in second
        assert "identifiant" not in second.lower()
        for page in (first, second):
            assert "04 91 00 00 00" in page
            assert "espace.example.test/chacun-son-lot" in page
            assert "10 mars 2021" in page  # second posting on the 9th, then sixty days
    assert await states(identity_db, caisse.slug) == ["mailed"] * 3


async def test_the_table_holds_neither_half_in_clear(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "rien-en-clair")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRETS[0])
    lots = await made(identity_db, caisse, paper, keys)
    async with identity_db.transaction(caisse.slug) as tx:
        sealed = await store.sealed_pdf(tx, lots.code_lot)
        kept = [str(dict(row)) for row in await tx.fetch("SELECT * FROM letter_pair, print_lot, journal")]
    (hand,) = await delivered(identity_db, caisse, keys, lots, tmp_path)
    assert sealed is not None
    assert not sealed.startswith(b"%PDF")
    for secret in (hand.identifiant, hand.code_confidentiel):
        assert all(secret not in row and secret.replace(" ", "") not in row for row in kept)


async def test_the_manifest_says_whom_each_page_goes_to_and_no_secret(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "manifeste")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRETS[0])
    lots = await made(identity_db, caisse, paper, keys)
    await print_lot(identity_db, keys, caisse.slug, lots.identifiant_lot, tmp_path, now=NOW)
    name = public_id("lot", lots.identifiant_lot)
    manifest = msgspec.json.decode((tmp_path / f"{name}.json").read_bytes(), type=Manifest)

    assert manifest.sha256 == hashlib.sha256((tmp_path / f"{name}.pdf").read_bytes()).hexdigest()
    assert (manifest.letters, manifest.kind, manifest.caisse) == (1, "identifiant", "manifeste")
    assert manifest.pages[0].adherent_number == "1000001"
    assert manifest.pages[0].data_matrix == f"{name}/1"
    (code,) = read_codes(tmp_path, lots.identifiant_lot, "Votre identifiant")
    assert code not in (tmp_path / f"{name}.json").read_text()
    assert stat.S_IMODE((tmp_path / f"{name}.pdf").stat().st_mode) == 0o600


async def test_the_second_lot_waits_for_another_day(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "deux-dates")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRETS[0])
    lots = await made(identity_db, caisse, paper, keys)

    async def post(lot: object, days: int) -> None:
        async with identity_db.transaction(caisse.slug) as tx:
            await post_lot(tx, keys, caisse, lot, now=NOW + timedelta(days=days))  # type: ignore[arg-type]

    with pytest.raises(NotToBePosted):
        await post(lots.identifiant_lot, 0)  # not printed yet
    for lot in (lots.identifiant_lot, lots.code_lot):
        await print_lot(identity_db, keys, caisse.slug, lot, tmp_path, now=NOW)
    assert await states(identity_db, caisse.slug) == ["printed"]
    with pytest.raises(NotToBePosted):
        await post(lots.code_lot, 2)  # the first has not gone
    await post(lots.identifiant_lot, 2)
    assert await states(identity_db, caisse.slug) == ["first_mailed"]
    with pytest.raises(NotToBePosted):
        await post(lots.code_lot, 2)  # the same day
    await post(lots.code_lot, 3)
    async with identity_db.transaction(caisse.slug) as tx:
        assert await tx.fetchval("SELECT valid_until FROM letter_pair") == NOW + timedelta(days=63)
    with pytest.raises(NotToBePosted):
        await post(lots.code_lot, 4)  # once


async def test_a_posted_lot_is_erased_with_a_proof_that_no_one_can_forge(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "efface")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRETS[0])
    lots = await made(identity_db, caisse, paper, keys)
    await delivered(identity_db, caisse, keys, lots, tmp_path)
    async with identity_db.transaction(caisse.slug) as tx:
        lot = await store.find_lot(tx, lots.code_lot)
        assert await store.sealed_pdf(tx, lots.code_lot) is None
    assert lot is not None
    assert proof_holds(keys, lot)
    assert not proof_holds(KeyEncryption(b"x" * 32), lot)
    assert not proof_holds(keys, lot._replace(purge_proof=str(lot.purge_proof).replace("2021-01", "2021-02")))
    with pytest.raises(LotPurged):
        await print_lot(identity_db, keys, caisse.slug, lots.code_lot, tmp_path, now=NOW)
    with pytest.raises(NoSuchLot):
        await print_lot(identity_db, keys, caisse.slug, new_id(), tmp_path, now=NOW)


async def test_a_paper_jam_prints_the_same_bytes_again(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "bourrage")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRETS[0])
    lots = await made(identity_db, caisse, paper, keys)
    first = await print_lot(identity_db, keys, caisse.slug, lots.code_lot, tmp_path / "one", now=NOW)
    again = await print_lot(identity_db, keys, caisse.slug, lots.code_lot, tmp_path / "two", now=NOW)
    assert first == again
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        f"{again.lot}.json",
        f"{again.lot}.pdf",
    ]


async def test_a_reissue_kills_both_old_halves(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "reemission")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRETS[0])
    (old,) = await delivered(
        identity_db, caisse, keys, await made(identity_db, caisse, paper, keys), tmp_path
    )
    lots = await made(identity_db, caisse, paper, keys, "1000001")
    (new,) = await delivered(identity_db, caisse, keys, lots, tmp_path)

    async def opens(identifiant: str, code: str) -> bool:
        try:
            await check_pair(
                identity_db, caisse.slug, paper, number="1000001", identifiant=identifiant,
                code_confidentiel=code, now=NOW,
            )  # fmt: skip
        except PairNotUsable:
            return False
        return True

    assert not await opens(old.identifiant, old.code_confidentiel)
    assert not await opens(old.identifiant, new.code_confidentiel)
    assert not await opens(new.identifiant, old.code_confidentiel)
    assert await opens(new.identifiant, new.code_confidentiel)
    assert sorted(await states(identity_db, caisse.slug)) == ["mailed", "reissued"]


async def test_whoever_has_letters_is_not_written_to_again(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets
):
    caisse = await a_caisse(identity_db, keys, "une-fois")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRETS[0])
    await made(identity_db, caisse, paper, keys)
    with pytest.raises(NobodyToWriteTo):
        await made(identity_db, caisse, paper, keys)
    with pytest.raises(NobodyToWriteTo):
        await made(identity_db, caisse, paper, keys, "9999999")


async def test_two_hands_making_the_same_letters_leave_one_pair(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets
):
    caisse = await a_caisse(identity_db, keys, "deux-mains")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRETS[0])
    answers = await asyncio.gather(
        made(identity_db, caisse, paper, keys), made(identity_db, caisse, paper, keys), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) in (
        ["LettersBeingMade", "MadeLots"],
        ["MadeLots", "NobodyToWriteTo"],
    )
    assert LettersBeingMade.__doc__
    async with identity_db.transaction(caisse.slug) as tx:
        assert await tx.fetchval("SELECT count(*) FROM letter_pair") == 1
        assert await tx.fetchval("SELECT count(*) FROM print_lot") == 2


async def test_a_returned_letter_kills_its_pair(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "npai")
    for rank, siret in enumerate(SIRETS, start=1):
        await an_adherent(identity_db, caisse, f"100000{rank}", siret=siret)
    lots = await made(identity_db, caisse, paper, keys)
    await delivered(identity_db, caisse, keys, lots, tmp_path)
    file = [
        f"{public_id('lot', lots.identifiant_lot)}/1;NPAI\n",
        f"{public_id('lot', lots.code_lot)};2;destinataire inconnu\n",
        f"{public_id('lot', new_id())}/3\n",
        "autre chose\n",
        "\n",
    ]
    for expected in (2, 0):
        async with identity_db.transaction(caisse.slug) as tx:
            read = await mark_returned(tx, file, now=NOW)
        assert read.marked == expected
    assert read.unreadable == [4]
    assert await states(identity_db, caisse.slug) == ["undeliverable", "undeliverable", "mailed"]


async def test_letters_expire_by_themselves_in_every_caisse(
    identity_db: Database, identity_relay: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "peremption")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRETS[0])
    await delivered(identity_db, caisse, keys, await made(identity_db, caisse, paper, keys), tmp_path)
    async with identity_relay.across_caisses() as tx:
        await sweep_letters(tx, NOW + timedelta(days=59))
    assert await states(identity_db, caisse.slug) == ["mailed"]
    async with identity_relay.across_caisses() as tx:
        assert await sweep_letters(tx, NOW + timedelta(days=60)) > 0
    assert await states(identity_db, caisse.slug) == ["expired"]
    async with identity_db.transaction(caisse.slug) as tx:
        assert await tx.fetchval("SELECT code_hash FROM letter_pair") is None


async def test_a_caisse_without_a_print_lot_sees_none_of_the_others(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets
):
    mine, other = await a_caisse(identity_db, keys, "a-moi"), await a_caisse(identity_db, keys, "a-eux")
    await an_adherent(identity_db, mine, "1000001", siret=SIRETS[0])
    lots = await made(identity_db, mine, paper, keys)
    async with identity_db.transaction(other.slug) as tx:
        assert await store.find_lot(tx, lots.code_lot) is None
        assert await store.lots(tx, 10) == []
    assert date(2021, 1, 7) == NOW.date()
