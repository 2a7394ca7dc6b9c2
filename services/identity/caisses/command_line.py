"""What the commands that name a caisse share: the caisse that was named, one transaction in it, and how they refuse.

A refusal is a sentence and one of the exit codes of every command (docs/reference/command-line.md).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NoReturn, TypeVar

import click

from libs.common.database.one_statement import Reader
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.runtime.settings import load_settings
from libs.common.values.caisse_slug import CaisseSlug, InvalidCaisseSlug, parse_caisse_slug
from services.identity.caisses import store
from services.identity.caisses.caisse import Caisse

Found = TypeVar("Found")


def now() -> datetime:
    return datetime.now(UTC)


def refuse(sentence: str) -> NoReturn:
    """Understood, and not done (1)."""
    raise click.ClickException(sentence)


def misused(sentence: str) -> NoReturn:
    """Not written as it should be (2)."""
    raise click.UsageError(sentence)


def slug_named(written: str) -> CaisseSlug:
    try:
        return parse_caisse_slug(written)
    except InvalidCaisseSlug as error:
        misused(error.reason)


def no_such_caisse(slug: str) -> NoReturn:
    refuse(
        f"La caisse {slug} n'existe pas : « espace caisse list » les nomme, « espace caisse add {slug} » l'ouvre."
    )


async def caisse_named(read: Reader, slug: CaisseSlug) -> Caisse:
    """The caisse, or the sentence that it does not exist. Every command that is told one asks here, first of all:
    row-level security shows of an unknown caisse what it shows of an empty one.
    """
    return await store.find(read, slug) or no_such_caisse(slug)


def in_caisse(
    written: str,
    act: Callable[[Tx], Awaitable[Found]],
    *,
    name: str = "espace client",
    first: Callable[[CaisseSlug], Awaitable[None]] | None = None,
) -> Found:
    """All that `act` writes in the caisse named, or nothing. `name` is how PostgreSQL shows the connection.

    `first` may be slow: it is awaited before the transaction, once the caisse is known to exist.
    """
    slug = slug_named(written)

    async def run() -> Found:
        settings = load_settings()
        settings.require("identity.dsn")
        db = await Database.open(settings.identity.dsn, name=name, max_size=1)
        try:
            if first is not None:
                await caisse_named(db.one_statement(slug), slug)
                await first(slug)
            async with db.transaction(slug) as tx:
                await caisse_named(tx, slug)
                return await act(tx)
        finally:
            await db.close()

    return asyncio.run(run())
