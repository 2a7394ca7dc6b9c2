"""An activation cut short at any step, before or after: all of it remains, or none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.runtime.settings import Settings
from services.identity.first_connection.confirm_email import MayConfirm, confirm_email
from services.identity.letters.paper_secret import PaperSecrets
from tests.conftest import HeldClock
from tests.identity.first_connection.activation import AFTER, BEFORE, mailed_link, press, state_of
from tests.identity.killed import Dying
from tests.identity.sign_in.visitors import CAISSE, Firm, Post, Visitor, a_firm

TABLES = (
    "email_confirmation",
    "person",
    "letter_pair",
    "account",
    "first_connection",
    "journal",
    "outbox",
    "mail_queue",
)


@asynccontextmanager
async def failing(owner_dsn: str, table: str, when: str) -> AsyncIterator[None]:
    """Every write of `table` fails, just before or just after it is made."""
    owner = await asyncpg.connect(owner_dsn)
    try:
        await owner.execute(
            "CREATE OR REPLACE FUNCTION refuse_write() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'refused by the test'; END $$"
        )
        await owner.execute(
            f"CREATE TRIGGER refused {when} INSERT OR UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_write()"
        )
        yield
        await owner.execute(f"DROP TRIGGER refused ON {table}")
    finally:
        await owner.close()


@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("table", TABLES)
async def test_whatever_write_fails_all_or_nothing_remains(
    app: Litestar,
    identity_db: Database,
    paper: PaperSecrets,
    post: Post,
    clock: HeldClock,
    settings: Settings,
    table: str,
    when: str,
) -> None:
    firm, visitor = await a_firm(identity_db, paper, clock), Visitor(app)
    email = f"{table}-{when}@exemple.fr".lower().replace("_", "-")
    link = await mailed_link(visitor, firm, email, post)
    async with failing(settings.identity.owner_dsn, table, when):
        with pytest.raises(asyncpg.RaiseError):
            await confirm(identity_db, post, link, firm, clock)
        assert await state_of(identity_db, firm) == BEFORE
    assert (await press(visitor, link)).status_code == 303
    assert await state_of(identity_db, firm) == AFTER


async def confirm(db: Database, post: Post, link: str, firm: Firm, clock: HeldClock, *, nth: int = 0) -> None:
    """The use case behind the button, killed before statement `nth`."""
    async with db.transaction(CAISSE) as tx:
        first = await tx.fetchval(
            "SELECT id FROM first_connection WHERE adherent_id = $1 AND completed_at IS NULL",
            firm.adherent_id,
        )
    async with Dying(db, nth).transaction(CAISSE) as tx:
        by = MayConfirm(first)
        await confirm_email(tx, post.mail, link, by, home="https://x.test", now=clock())


async def test_a_process_killed_before_any_statement_leaves_nothing(
    app: Litestar, identity_db: Database, paper: PaperSecrets, post: Post, clock: HeldClock
) -> None:
    cut_short = 0
    while True:
        firm, visitor = await a_firm(identity_db, paper, clock), Visitor(app)
        link = await mailed_link(visitor, firm, f"killed{cut_short}@exemple.fr", post)
        try:
            await confirm(identity_db, post, link, firm, clock, nth=cut_short + 1)
            break
        except DatabaseUnavailable:
            cut_short += 1
        assert await state_of(identity_db, firm) == BEFORE
        assert (await press(visitor, link)).status_code == 303
        assert await state_of(identity_db, firm) == AFTER
    assert cut_short > 8
    # It came to its end, and its answer may have been lost: pressing again shows a page, and changes nothing.
    assert (await press(visitor, link)).status_code == 410
    assert await state_of(identity_db, firm) == AFTER
