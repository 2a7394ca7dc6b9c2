"""The effects of a decision are one statement: all written, or none, and the loser named."""

import secrets
from datetime import datetime, timedelta
from itertools import permutations
from uuid import UUID

import asyncpg
import pytest

from libs.common.access.dpop import DpopProof
from libs.common.database.journal import Act
from libs.common.database.pool import IMPATIENT, PATIENT
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import new_id, public_id
from services.identity.openid import effects
from services.identity.openid.answers import Answer, Decision, refusal_answer
from services.identity.openid.bucket_names import (
    Place,
    code_place,
    new_code,
    new_grant_id,
    new_refresh_secret,
    refresh_place,
)
from services.identity.openid.commit import LostRace, commit, write
from services.identity.openid.effect_store import CHANGES, together, values_of
from services.identity.openid.effects import Effect
from tests.openid.kernel.world import snapshot
from tests.openid.party import Issuer


def test_every_effect_says_how_it_is_written() -> None:
    assert set(CHANGES) == set(Effect.__subclasses__())


async def test_every_statement_is_valid_alone_and_beside_any_other(settings: Settings) -> None:
    connection = await asyncpg.connect(settings.identity.dsn)
    try:
        for kind in CHANGES:
            await connection.prepare(together((kind,)))
            await connection.prepare(together((kind,), judged=False))
        for pair in permutations(CHANGES, 2):
            await connection.prepare(together(pair))
    finally:
        await connection.close()


def test_every_part_sets_its_caisse_first() -> None:
    """A part that forgot would find no row, and insert none; what belongs to no caisse apart."""
    for kind, change in CHANGES.items():
        fed = [part for part in change.parts if "set_config" not in part and "{before}" not in part]
        assert fed == [] or kind in {effects.RememberProof, effects.SpendPass}


@pytest.mark.parametrize(
    "barred", ["enable_indexscan", "enable_seqscan", "enable_bitmapscan", "enable_nestloop"]
)
@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_an_update_alone_finds_its_row_whatever_the_plan(
    issuer: Issuer, settings: Settings, mode: str, barred: str
) -> None:
    """The condition that sets the caisse is judged before the scan: once, on top of it."""
    grant = effects.RevokeGrant(await a_grant(issuer), "test", issuer.clock())
    connection = await asyncpg.connect(settings.identity.dsn)
    try:
        await connection.execute(f"SET plan_cache_mode = {mode}; SET {barred} = off")
        sql = f"WITH part AS ({CHANGES[effects.RevokeGrant].parts[0]}) SELECT count(*) FROM part"
        values = values_of([grant], issuer.caisse)[:5]
        assert await connection.fetchval(sql, *values) == 1
        assert await connection.fetchval("SELECT count(*) FROM authorization_grant") == 0
        plan = await connection.fetch(f"EXPLAIN {sql}", *values)
    finally:
        await connection.close()
    assert "One-Time Filter" in "\n".join(row[0] for row in plan)


async def test_a_message_of_several_hardly_waits_for_a_row_that_another_is_writing(
    issuer: Issuer, settings: Settings
) -> None:
    """Whichever part meets it: the wait is set before the first of them runs."""
    code = effects.ConsumeCode(await a_code(issuer), new_id(), issuer.clock())
    held = [jti(issuer, "held"), a_proof(issuer), code]
    connection = await asyncpg.connect(settings.identity.dsn)
    try:
        async with issuer.db.transaction(issuer.caisse) as tx:
            for effect in held:
                await tx.fetch(together((type(effect),)), *values_of([effect], issuer.caisse), PATIENT)
            for effect in held:
                asked = [note(issuer), effect]
                with pytest.raises(asyncpg.LockNotAvailableError):
                    await connection.fetch(
                        together(tuple(map(type, asked))), *values_of(asked, issuer.caisse), IMPATIENT
                    )
    finally:
        await connection.close()


async def test_another_caisse_s_row_is_not_found(issuer: Issuer) -> None:
    lost = effects.ConsumeCode(await a_code(issuer), new_id(), issuer.clock())
    with pytest.raises(LostRace):
        await write(issuer.db, parse_caisse_slug("grand-ouest"), [lost])
    await write(issuer.db, issuer.caisse, [lost])


async def a_grant(issuer: Issuer) -> UUID:
    granted = _stored(issuer)
    await write(issuer.db, issuer.caisse, [granted])
    return granted.grant_id


async def a_code(issuer: Issuer) -> Place:
    granted = _stored(issuer)
    await write(issuer.db, issuer.caisse, [granted])
    return granted.code


def a_place(issuer: Issuer) -> Place:
    return code_place(new_code(issuer.clock() + timedelta(minutes=1), new_grant_id(issuer.clock())))


def _stored(issuer: Issuer) -> effects.StoreGrant:
    now = issuer.clock()
    return effects.StoreGrant(
        grant_id=new_grant_id(now + timedelta(hours=1)), client_id="c", person_id=new_id(), session_id=new_id(),
        account_id=None, granted=b"{}", at=now, expires_at=now + timedelta(hours=1), code=a_place(issuer),
        redirect_uri="https://c/", code_challenge=None, dpop_jkt=None, nonce=None,
        code_expires_at=now + timedelta(minutes=1),
    )  # fmt: skip


def jti(issuer: Issuer, name: str) -> effects.RememberJti:
    return effects.RememberJti("assertion", "c", name, issuer.clock() + timedelta(minutes=5))


def note(issuer: Issuer) -> effects.Note:
    return effects.Note(Act(action="test.noted", subject_kind="client", subject_id="c", at=issuer.clock()))


async def count_notes(issuer: Issuer) -> int:
    read = issuer.db.one_statement(issuer.caisse)
    return await read.fetchval("SELECT count(*) FROM journal WHERE action = 'test.noted'")


async def test_a_lost_race_undoes_the_others_and_says_which_it_was(issuer: Issuer) -> None:
    before = await count_notes(issuer)
    await write(issuer.db, issuer.caisse, [jti(issuer, "once"), note(issuer)])
    with pytest.raises(LostRace) as lost:
        await write(
            issuer.db, issuer.caisse, [note(issuer), jti(issuer, "fresh"), jti(issuer, "once"), note(issuer)]
        )

    assert isinstance(lost.value.effect, effects.RememberJti) and lost.value.effect.jti == "once"
    assert await count_notes(issuer) == before + 1
    await write(issuer.db, issuer.caisse, [jti(issuer, "fresh")])


async def test_a_code_that_is_not_there_is_a_lost_race(issuer: Issuer) -> None:
    """And it takes the note with it."""
    before = await count_notes(issuer)
    lost_code = effects.ConsumeCode(a_place(issuer), new_id(), issuer.clock())
    with pytest.raises(LostRace) as lost:
        await write(issuer.db, issuer.caisse, [note(issuer), lost_code])

    assert lost.value.effect is lost_code
    assert await count_notes(issuer) == before


async def test_a_code_that_expires_while_it_is_redeemed_is_a_lost_race(issuer: Issuer) -> None:
    """Exclusive, as the kernel judges it; so is a refresh token that is rotated."""
    place, at = await a_code(issuer), issuer.clock() + timedelta(minutes=1)
    with pytest.raises(LostRace):
        await write(issuer.db, issuer.caisse, [effects.ConsumeCode(place, new_id(), at)])
    await write(issuer.db, issuer.caisse, [effects.ConsumeCode(place, new_id(), at - timedelta(seconds=1))])

    grant_id = await a_grant(issuer)

    def token(issued_at: datetime) -> effects.StoreRefresh:
        return effects.StoreRefresh(
            refresh_place(new_refresh_secret(grant_id)),
            grant_id,
            None,
            issued_at,
            issued_at + timedelta(minutes=1),
        )

    old, new = token(issuer.clock()), token(at)
    await write(issuer.db, issuer.caisse, [old])
    with pytest.raises(LostRace):
        await write(issuer.db, issuer.caisse, [effects.RotateRefresh(old.place, new, "c", new_id())])


async def test_one_refresh_token_is_prolonged_and_no_other(issuer: Issuer) -> None:
    now, grant_id = issuer.clock(), await a_grant(issuer)
    until, later = now + timedelta(minutes=1), now + timedelta(minutes=30)
    one, other = (
        effects.StoreRefresh(refresh_place(new_refresh_secret(grant_id)), grant_id, None, now, until)
        for _ in range(2)
    )
    await write(issuer.db, issuer.caisse, [one])
    await write(issuer.db, issuer.caisse, [other])
    await write(issuer.db, issuer.caisse, [effects.ProlongRefresh(one.place, later)])
    async with issuer.db.transaction(issuer.caisse) as tx:
        found = await tx.fetch(
            "SELECT token_hash, expires_at FROM refresh_token WHERE grant_id = $1", grant_id
        )
    assert {tuple(row) for row in found} == {(one.place.digest, later), (other.place.digest, until)}


async def test_a_grant_is_revoked_once(issuer: Issuer) -> None:
    """Whoever comes second changes neither when nor why, and nothing is told twice."""
    grant_id, at = await a_grant(issuer), issuer.clock()
    for why, later in (("code_replayed", 0), ("revoked_by_client", 60)):
        when = at + timedelta(seconds=later)
        await write(issuer.db, issuer.caisse, [effects.RevokeGrant(grant_id, why, when, "c", new_id())])
    async with issuer.db.transaction(issuer.caisse) as tx:
        row = await tx.fetchrow(
            "SELECT revoked_at, revoked_why FROM authorization_grant WHERE id = $1", grant_id
        )
        told = await tx.fetchval(
            "SELECT count(*) FROM journal WHERE action = 'grant.revoked' AND subject_id = $1",
            public_id("gnt", grant_id),
        )
    assert row is not None and (tuple(row), told) == ((at, "code_replayed"), 1)


async def test_rows_written_alone_are_of_their_caisse(issuer: Issuer) -> None:
    await write(issuer.db, issuer.caisse, [note(issuer)])
    read = issuer.db.one_statement(issuer.caisse)

    assert (
        await read.fetchval("SELECT DISTINCT caisse FROM journal WHERE action = 'test.noted'")
        == issuer.caisse
    )


def a_proof(issuer: Issuer) -> effects.RememberProof:
    key = secrets.token_bytes(32)
    return effects.RememberProof(DpopProof("jkt", key.hex(), issuer.clock(), key))


async def is_spent(issuer: Issuer, effect: Effect) -> bool:
    try:
        await write(issuer.db, issuer.caisse, [effect])
    except LostRace:
        return True
    return False


async def test_what_was_shown_is_spent_even_when_the_decision_loses(issuer: Issuer) -> None:
    """And nothing else of it is written: neither the note nor the refresh token."""
    before = await count_notes(issuer)
    shown, proof = jti(issuer, "shown"), a_proof(issuer)
    lost_code = effects.ConsumeCode(a_place(issuer), new_id(), issuer.clock())
    decision = Decision(Answer(200, {}), (shown, proof, note(issuer), lost_code))
    answer = await commit(issuer.db, issuer.caisse, decision, snapshot())

    assert (answer.status, answer.body) == (400, refusal_answer(lost_code.lost).body)
    assert await is_spent(issuer, shown) and await is_spent(issuer, proof)
    assert await count_notes(issuer) == before


async def test_a_replayed_assertion_spends_the_proof_beside_it_and_still_kills_the_grant(
    issuer: Issuer,
) -> None:
    shown, proof = jti(issuer, "again"), a_proof(issuer)
    await write(issuer.db, issuer.caisse, [shown])
    grant_id = await a_grant(issuer)
    decision = Decision(Answer(200, {}), (shown, proof))
    assert (await commit(issuer.db, issuer.caisse, decision, snapshot())).status == 401
    assert await is_spent(issuer, proof)

    lost_code = effects.ConsumeCode(a_place(issuer), grant_id, issuer.clock())
    await commit(
        issuer.db, issuer.caisse, Decision(Answer(200, {}), (a_proof(issuer), lost_code)), snapshot()
    )
    read = issuer.db.one_statement(issuer.caisse)
    why = "SELECT revoked_why FROM authorization_grant WHERE id = $1"
    assert await read.fetchval(why, grant_id) == "code_replayed"
