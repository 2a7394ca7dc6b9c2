"""Two letters in one hand open a first connection; anything less tells nothing."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.crockford import MistypedCode
from libs.common.values.siret import InvalidSiret
from services.identity.caisses.caisse import Caisse
from services.identity.letters.paper_secret import Half, PaperSecrets
from services.identity.letters.redeem import PairNotUsable, ProvenPair, check_pair, kill_pair
from services.identity.letters.sweep import sweep_letters
from tests.identity.letters.hands import (
    NOW,
    InHand,
    a_caisse,
    an_adherent,
    delivered,
    done_since,
    made,
    slow_hashes,
)

SIRET = "73282932000074"


@pytest.fixture(scope="module")
def paper(keys: KeyEncryption) -> PaperSecrets:
    return PaperSecrets(keys)


async def both_letters(
    db: Database, keys: KeyEncryption, paper: PaperSecrets, folder: Path, slug: str
) -> tuple[Caisse, InHand]:
    caisse = await a_caisse(db, keys, slug)
    await an_adherent(db, caisse, "1000001", siret=SIRET)
    (letters,) = await delivered(db, caisse, keys, await made(db, caisse, paper, keys), folder)
    return caisse, letters


async def typed(
    db: Database, caisse: Caisse, paper: PaperSecrets, letters: InHand, *, number: str = SIRET, days: int = 0
) -> ProvenPair:
    return await check_pair(
        db, caisse.slug, paper, number=number, identifiant=letters.identifiant,
        code_confidentiel=letters.code_confidentiel, now=NOW + timedelta(days=days),
    )  # fmt: skip


async def failures(db: Database, caisse: Caisse) -> tuple[str, int]:
    async with db.transaction(caisse.slug) as tx:
        row = await tx.fetchrow("SELECT state, failures FROM letter_pair ORDER BY made_at, id LIMIT 1")
    assert row is not None
    return row["state"], row["failures"]


async def test_both_letters_as_a_mason_types_them(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, "les-deux")
    sloppy = InHand(
        letters.identifiant.lower().replace(" ", "-"),
        letters.code_confidentiel.replace("0", "O").replace(" ", ""),
    )
    pair = await typed(identity_db, caisse, paper, sloppy, number="732 829 320 00074")
    again = await typed(identity_db, caisse, paper, letters, number=" 1000001 ")

    assert pair == again
    assert (pair.adherent_number, pair.legal_name) == ("1000001", "SARL Façades Verratœuf")
    assert await failures(identity_db, caisse) == ("mailed", 0)


async def test_a_slip_is_told_and_not_counted(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, "lapsus")
    slip = letters.code_confidentiel[:-1] + ("A" if letters.code_confidentiel[-1] != "A" else "B")
    for _ in range(12):
        with pytest.raises(MistypedCode):
            await typed(identity_db, caisse, paper, letters._replace(code_confidentiel=slip))
    with pytest.raises(InvalidSiret):
        await typed(identity_db, caisse, paper, letters, number="73282932000075")
    assert await failures(identity_db, caisse) == ("mailed", 0)


async def test_ten_failures_end_that_pair_and_no_other(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse = await a_caisse(identity_db, keys, "dix-echecs")
    await an_adherent(identity_db, caisse, "1000001", siret=SIRET)
    await an_adherent(identity_db, caisse, "1000002", siret=SIRET)
    lots = await made(identity_db, caisse, paper, keys)
    mine, neighbour = await delivered(identity_db, caisse, keys, lots, tmp_path)
    for _ in range(10):
        with pytest.raises(PairNotUsable):
            await typed(
                identity_db, caisse, paper, mine._replace(code_confidentiel=Half.CODE_CONFIDENTIEL.draw())
            )
    with pytest.raises(PairNotUsable):
        await typed(identity_db, caisse, paper, mine)

    assert await failures(identity_db, caisse) == ("exhausted", 10)
    assert (await typed(identity_db, caisse, paper, neighbour)).adherent_number == "1000002"


async def test_a_wrong_identifiant_costs_its_owner_nothing(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, "sans-frais")
    for _ in range(12):
        with pytest.raises(PairNotUsable):
            await typed(identity_db, caisse, paper, letters._replace(identifiant=Half.IDENTIFIANT.draw()))
    assert (await typed(identity_db, caisse, paper, letters)).adherent_number == "1000001"


async def test_forty_guesses_at_once_share_one_budget(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, "a-la-fois")
    guesses = [letters._replace(code_confidentiel=Half.CODE_CONFIDENTIEL.draw()) for _ in range(40)]
    answers = await asyncio.gather(
        *(typed(identity_db, caisse, paper, guess) for guess in guesses), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {PairNotUsable}
    assert await failures(identity_db, caisse) == ("exhausted", 10)


async def test_a_right_code_on_the_tenth_try_still_opens(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, "la-dixieme")
    for _ in range(9):
        with pytest.raises(PairNotUsable):
            await typed(
                identity_db, caisse, paper, letters._replace(code_confidentiel=Half.CODE_CONFIDENTIEL.draw())
            )
    await typed(identity_db, caisse, paper, letters)
    assert await failures(identity_db, caisse) == ("mailed", 9)


@pytest.mark.parametrize(("days", "opens"), [(59, True), (60, False)])
async def test_letters_live_sixty_days_from_the_second_posting(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path, days: int, opens: bool
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, f"jour-{days}")
    if opens:
        await typed(identity_db, caisse, paper, letters, days=days)
    else:
        with pytest.raises(PairNotUsable):
            await typed(identity_db, caisse, paper, letters, days=days)


async def test_a_killed_pair_opens_nothing_and_keeps_no_hash(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, "tiroir")
    pair = await typed(identity_db, caisse, paper, letters)
    async with identity_db.transaction(caisse.slug) as tx:
        assert await kill_pair(tx, pair.pair_id, NOW) == pair.adherent_id
    with pytest.raises(PairNotUsable):
        await typed(identity_db, caisse, paper, letters)
    with pytest.raises(PairNotUsable):
        async with identity_db.transaction(caisse.slug) as tx:
            await kill_pair(tx, pair.pair_id, NOW)
    async with identity_db.transaction(caisse.slug) as tx:
        row = await tx.fetchrow(
            "SELECT identifiant_hash, code_hash, identifiant_salt, code_salt FROM letter_pair"
        )
        assert row is not None
        assert set(row.values()) == {None}
        assert await tx.fetchval("SELECT count(*) FROM journal WHERE action = 'letters.redeemed'") == 1


@pytest.mark.parametrize("numbers", [("1000001",), ()], ids=["named", "with-all-others"])
async def test_new_letters_end_what_expired_ones_had_proven(
    identity_db: Database,
    identity_relay: Database,
    keys: KeyEncryption,
    paper: PaperSecrets,
    tmp_path: Path,
    numbers: tuple[str, ...],
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, f"releve-{len(numbers)}")
    pair = await typed(identity_db, caisse, paper, letters, days=59)
    async with identity_relay.across_caisses() as tx:
        assert await sweep_letters(tx, NOW + timedelta(days=60)) >= 1
    await made(identity_db, caisse, paper, keys, *numbers)
    with pytest.raises(PairNotUsable):
        async with identity_db.transaction(caisse.slug) as tx:
            await kill_pair(tx, pair.pair_id, NOW + timedelta(days=61))


async def test_two_confirmations_at_once_kill_the_pair_once(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, "deux-clics")
    pair = await typed(identity_db, caisse, paper, letters)

    async def kill() -> object:
        async with identity_db.transaction(caisse.slug) as tx:
            return await kill_pair(tx, pair.pair_id, NOW)

    answers = await asyncio.gather(kill(), kill(), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["PairNotUsable", "UUID"]


async def test_another_caisse_knows_nothing_of_the_pair(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, "la-mienne")
    other = await a_caisse(identity_db, keys, "la-voisine")
    with pytest.raises(PairNotUsable):
        await typed(identity_db, other, paper, letters)
    pair = await typed(identity_db, caisse, paper, letters)
    with pytest.raises(PairNotUsable):
        async with identity_db.transaction(other.slug) as tx:
            await kill_pair(tx, pair.pair_id, NOW)
    with pytest.raises(PairNotUsable):
        async with identity_db.transaction(other.slug) as tx:
            await kill_pair(tx, uuid4(), NOW)


async def test_every_answer_costs_the_same_slow_hashes(
    identity_db: Database, keys: KeyEncryption, paper: PaperSecrets, tmp_path: Path
):
    """Unknown number, wrong identifiant, wrong code, dead pair: a clock cannot tell them apart (bench/, "letters")."""
    caisse, letters = await both_letters(identity_db, keys, paper, tmp_path, "duree")
    wrong_code = letters._replace(code_confidentiel=Half.CODE_CONFIDENTIEL.draw())
    cases = [
        (letters, "98984163000019"),
        (letters._replace(identifiant=Half.IDENTIFIANT.draw()), SIRET),
        (wrong_code, SIRET),
        *[(wrong_code, SIRET)] * 9,  # the tenth failure ends the pair
        (letters, SIRET),
    ]
    for hand, number in cases:
        before = slow_hashes()
        with pytest.raises(PairNotUsable):
            await typed(identity_db, caisse, paper, hand, number=number)
        assert done_since(before) == {"identifiant": 1, "code_confidentiel": 1}
    assert await failures(identity_db, caisse) == ("exhausted", 10)
