"""The effects of a decision are one statement: all written, or none, and the loser named."""

import os
from datetime import timedelta
from itertools import permutations

import asyncpg
import pytest

from libs.common.database.journal import Act
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id
from services.identity.openid import effects
from services.identity.openid.commit import LostRace, write_whole
from services.identity.openid.effect_store import CHANGES, together
from services.identity.openid.effects import Effect
from tests.openid.party import Issuer


def test_every_effect_says_how_it_is_written() -> None:
    assert set(CHANGES) == set(Effect.__subclasses__())


async def test_every_statement_is_valid_alone_and_beside_any_other(settings: Settings) -> None:
    connection = await asyncpg.connect(settings.identity.dsn)
    try:
        for kind in CHANGES:
            await connection.prepare(together((kind,)).sql)
        for pair in permutations(CHANGES, 2):
            await connection.prepare(together(pair).sql)
    finally:
        await connection.close()


def test_only_what_sets_its_own_caisse_goes_without_a_transaction() -> None:
    """An UPDATE alone would look for its row before any caisse is set, and find none."""
    for kind, change in CHANGES.items():
        for part in change.parts:
            sets_it = part.lstrip().startswith("INSERT") and ("set_config" in part or "dpop_proof" in part)
            assert not change.alone or sets_it, kind


def jti(issuer: Issuer, name: str) -> effects.RememberJti:
    return effects.RememberJti("assertion", "c", name, issuer.clock() + timedelta(minutes=5))


def note(issuer: Issuer) -> effects.Note:
    return effects.Note(Act(action="test.noted", subject_kind="client", subject_id="c", at=issuer.clock()))


async def count_notes(issuer: Issuer) -> int:
    read = issuer.db.one_statement(issuer.caisse)
    return await read.fetchval("SELECT count(*) FROM journal WHERE action = 'test.noted'")


async def test_a_lost_race_undoes_the_others_and_says_which_it_was(issuer: Issuer) -> None:
    before = await count_notes(issuer)
    await write_whole(issuer.db, issuer.caisse, [jti(issuer, "once"), note(issuer)])
    with pytest.raises(LostRace) as lost:
        await write_whole(
            issuer.db, issuer.caisse, [note(issuer), jti(issuer, "fresh"), jti(issuer, "once"), note(issuer)]
        )

    assert isinstance(lost.value.effect, effects.RememberJti) and lost.value.effect.jti == "once"
    assert await count_notes(issuer) == before + 1
    await write_whole(issuer.db, issuer.caisse, [jti(issuer, "fresh")])


async def test_the_same_in_a_transaction(issuer: Issuer) -> None:
    """A code that is not there is a lost race, and takes the note with it."""
    before = await count_notes(issuer)
    lost_code = effects.ConsumeCode(os.urandom(32), new_id(), issuer.clock())
    with pytest.raises(LostRace) as lost:
        await write_whole(issuer.db, issuer.caisse, [note(issuer), lost_code])

    assert lost.value.effect is lost_code
    assert await count_notes(issuer) == before


async def test_rows_written_alone_are_of_their_caisse(issuer: Issuer) -> None:
    await write_whole(issuer.db, issuer.caisse, [note(issuer)])
    read = issuer.db.one_statement(issuer.caisse)

    assert (
        await read.fetchval("SELECT DISTINCT caisse FROM journal WHERE action = 'test.noted'")
        == issuer.caisse
    )
