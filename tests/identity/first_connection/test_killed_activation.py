"""An activation cut short at any step, before or after: all of it remains, or none."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import msgspec
import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.runtime.settings import Settings
from services.identity.first_connection.confirm_email import MayConfirm, confirm_email
from services.identity.letters.paper_secret import PaperSecrets
from tests.conftest import HeldClock
from tests.gate import gate, somebody_waits
from tests.identity.first_connection.activation import AFTER, BEFORE, mailed_link, press, state_of
from tests.identity.first_connection.confirm_once import Order
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


async def first_connection_of(db: Database, firm: Firm) -> UUID:
    async with db.transaction(CAISSE) as tx:
        return await tx.fetchval(
            "SELECT id FROM first_connection WHERE adherent_id = $1 AND completed_at IS NULL",
            firm.adherent_id,
        )


async def confirm(db: Database, post: Post, link: str, firm: Firm, clock: HeldClock, *, nth: int = 0) -> None:
    """The use case behind the button, killed before statement `nth`."""
    async with Dying(db, nth).transaction(CAISSE) as tx:
        by = MayConfirm(await first_connection_of(db, firm))
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


async def start(settings: Settings, db: Database, firm: Firm, link: str, clock: HeldClock) -> Process:
    """Another process that presses the button."""
    order = Order(settings.identity.dsn, CAISSE, await first_connection_of(db, firm), link, clock())
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.identity.first_connection.confirm_once",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(order))
    child.stdin.close()
    return child


async def kill(child: Process) -> None:
    child.send_signal(signal.SIGKILL)
    await child.wait()


GATED = ("email_confirmation", "person", "letter_pair", "account", "outbox")


@pytest.mark.parametrize("table", GATED)
async def test_a_process_killed_at_a_write_leaves_nothing(
    app: Litestar,
    identity_db: Database,
    paper: PaperSecrets,
    post: Post,
    clock: HeldClock,
    settings: Settings,
    table: str,
) -> None:
    """SIGKILL inside the transaction: PostgreSQL undoes it, and the same link then opens the account."""
    firm, visitor = await a_firm(identity_db, paper, clock), Visitor(app)
    link = await mailed_link(visitor, firm, f"kill-{table}@exemple.fr".replace("_", "-"), post)
    async with gate(settings.identity.owner_dsn, table) as owner:
        child = await start(settings, identity_db, firm, link, clock)
        await somebody_waits(owner)
        await kill(child)
    assert await state_of(identity_db, firm) == BEFORE
    assert (await press(visitor, link)).status_code == 303
    assert await state_of(identity_db, firm) == AFTER


@pytest.mark.parametrize("table", GATED)
async def test_a_process_killed_in_its_commit_has_opened_the_account(
    app: Litestar,
    identity_db: Database,
    paper: PaperSecrets,
    post: Post,
    clock: HeldClock,
    settings: Settings,
    table: str,
) -> None:
    """The other order: COMMIT was said and nobody hears its answer. All is there, once; a retry changes nothing."""
    firm, visitor = await a_firm(identity_db, paper, clock), Visitor(app)
    link = await mailed_link(visitor, firm, f"commit-{table}@exemple.fr".replace("_", "-"), post)
    async with gate(settings.identity.owner_dsn, table, at_commit=True) as owner:
        child = await start(settings, identity_db, firm, link, clock)
        await somebody_waits(owner)
        await kill(child)
        assert await state_of(identity_db, firm) == BEFORE
    assert (await press(visitor, link)).status_code == 410
    assert await state_of(identity_db, firm) == AFTER


async def test_a_process_killed_once_all_is_done_has_opened_the_account(
    app: Litestar,
    identity_db: Database,
    paper: PaperSecrets,
    post: Post,
    clock: HeldClock,
    settings: Settings,
) -> None:
    """The commit is made and its answer never leaves: pressing again shows a page, and changes nothing."""
    firm, visitor = await a_firm(identity_db, paper, clock), Visitor(app)
    link = await mailed_link(visitor, firm, "killed-after@exemple.fr", post)
    child = await start(settings, identity_db, firm, link, clock)
    assert child.stdout is not None
    assert (await child.stdout.readline()).decode().strip() == "confirmed"
    await kill(child)
    assert await state_of(identity_db, firm) == AFTER
    assert (await press(visitor, link)).status_code == 410
    assert await state_of(identity_db, firm) == AFTER
