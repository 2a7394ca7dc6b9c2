"""What ends several sessions at once leaves a line for each, in the journal of its caisse: who, and why."""

from collections import Counter
from typing import Any
from uuid import UUID

import msgspec
import pytest
from litestar import Litestar

from libs.common.database.journal import Actor
from libs.common.database.pool import Database
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import new_id, public_id
from services.identity.sign_in.session import IDLE, LONGEST, open_session
from services.identity.sign_in.suspend import suspend
from tests.conftest import HeldClock
from tests.identity.sign_in.test_new_password import OTHER_PASSWORD, SET, mailed
from tests.identity.sign_in.visitors import (
    CAISSE,
    GOOD_PASSWORD,
    OTHER_CAISSE,
    Post,
    Visitor,
    a_person,
    sign_in,
)

HERE, ELSEWHERE = parse_caisse_slug(CAISSE), parse_caisse_slug(OTHER_CAISSE)


async def open_in(db: Database, person_id: UUID, clock: HeldClock, *caisses: str) -> Counter[tuple[str, str]]:
    """A session in each; each as the journal will name it, beside its caisse."""
    opened: Counter[tuple[str, str]] = Counter()
    for slug in caisses:
        async with db.transaction(parse_caisse_slug(slug)) as tx:
            it = await open_session(tx, person_id=person_id, acr="pwd", amr=["pwd"], now=clock())
        opened[slug, public_id("ses", it.session.id)] += 1
    return opened


async def ended(db: Database, person_id: UUID) -> list[dict[str, Any]]:
    """The lines of this person's ended sessions, as every caisse's own reader sees them."""
    found: list[dict[str, Any]] = []
    for caisse in (HERE, ELSEWHERE):
        async with db.transaction(caisse) as tx:
            rows = await tx.fetch(
                """
                SELECT caisse, at, subject_kind, subject_id, person_id, token_jti, details::text
                  FROM journal
                 WHERE action = 'session.ended' AND (person_id = $1 OR details->>'person' = $2)
                """,
                person_id,
                public_id("per", person_id),
            )
        found += [dict(row) | {"details": msgspec.json.decode(row["details"])} for row in rows]
    return found


def named(lines: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((line["caisse"], line["subject_id"]) for line in lines)


async def test_a_suspension_names_each_session_that_it_ends(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    person_id = await a_person(identity_db, clock, "stopped@exemple.fr")
    another = await a_person(identity_db, clock, "bystander@exemple.fr")
    officer = Actor(person_id=another, token_jti="jti-of-the-desk")
    opened = await open_in(identity_db, person_id, clock, CAISSE, CAISSE, OTHER_CAISSE)
    await open_in(identity_db, another, clock, CAISSE)
    clock.forward(seconds=1)
    for _ in range(2):
        async with identity_db.transaction(HERE) as tx:
            await suspend(tx, person_id, by=officer, reason="vol signalé", now=clock())

    lines = await ended(identity_db, person_id)
    assert named(lines) == opened, "once each, though suspended twice"
    assert all(
        (line["subject_kind"], line["at"], line["person_id"], line["token_jti"])
        == ("session", clock(), another, "jti-of-the-desk")
        for line in lines
    )
    assert all(
        line["details"]
        == {
            "because": "person.suspended",
            "reason": "vol signalé",
            "by": "operator",
            "person": public_id("per", person_id),
        }
        for line in lines
    )
    assert named(await ended(identity_db, another)) == named(lines), "the officer's own session goes on"


async def test_a_new_password_by_the_mailed_link_names_each(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    person_id = await a_person(identity_db, clock, "link@exemple.fr")
    opened = await open_in(identity_db, person_id, clock, CAISSE, OTHER_CAISSE)
    link = await mailed(visitor, "link@exemple.fr", post)
    assert (await visitor.post(SET, link=link, new_password=OTHER_PASSWORD)).status_code == 200

    lines = await ended(identity_db, person_id)
    assert named(lines) == opened
    assert all(
        (line["person_id"], line["details"])
        == (
            person_id,
            {"because": "password.changed", "by": "link", "person": public_id("per", person_id)},
        )
        for line in lines
    )


async def test_a_new_password_from_a_session_names_the_others(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    person_id = await a_person(identity_db, clock, "kept@exemple.fr")
    opened = await open_in(identity_db, person_id, clock, CAISSE, OTHER_CAISSE)
    await sign_in(visitor, "kept@exemple.fr")
    path = f"/{CAISSE}/account/password"
    await visitor.get(path)
    changed = await visitor.post(path, password=GOOD_PASSWORD, new_password=OTHER_PASSWORD)
    assert changed.status_code == 303

    lines = await ended(identity_db, person_id)
    assert named(lines) == opened
    assert {line["details"]["by"] for line in lines} == {"session"}


async def test_a_session_that_its_own_clocks_ended_is_not_ended_again(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    person_id = await a_person(identity_db, clock, "lapsed@exemple.fr")
    await open_in(identity_db, person_id, clock, CAISSE, OTHER_CAISSE)
    clock.forward(seconds=(LONGEST - IDLE).total_seconds())
    opened = await open_in(identity_db, person_id, clock, OTHER_CAISSE)
    async with identity_db.transaction(HERE) as tx:
        await suspend(tx, person_id, by=Actor(), reason="vol", now=clock())
    assert named(await ended(identity_db, person_id)) == opened


async def test_no_line_without_the_act(app: Litestar, identity_db: Database, clock: HeldClock) -> None:
    person_id = await a_person(identity_db, clock, "undone@exemple.fr")
    await open_in(identity_db, person_id, clock, CAISSE, OTHER_CAISSE)
    with pytest.raises(ZeroDivisionError):
        async with identity_db.transaction(HERE) as tx:
            await suspend(tx, person_id, by=Actor(), reason="vol", now=clock())
            raise ZeroDivisionError
    assert await ended(identity_db, person_id) == []


async def test_the_database_spells_an_identifier_as_we_do(identity_db: Database) -> None:
    async with identity_db.across_caisses() as tx:
        for key in (UUID(int=0), UUID(int=(1 << 128) - 1), *(new_id() for _ in range(200))):
            assert await tx.fetchval("SELECT public_id('ses', $1)", key) == public_id("ses", key)
