"""What the commands on clients share: one transaction in the caisse that was named, and their exit codes."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NoReturn, TypeVar

import click

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.runtime.settings import load_settings
from libs.common.values.caisse_slug import InvalidCaisseSlug, parse_caisse_slug

USAGE, TAKEN, UNKNOWN = 2, 3, 4
Found = TypeVar("Found")


def now() -> datetime:
    return datetime.now(UTC)


def stop(sentence: str, code: int) -> NoReturn:
    click.echo(sentence, err=True)
    sys.exit(code)


def in_caisse(slug: str, act: Callable[[Tx], Awaitable[Found]]) -> Found:
    """All that `act` writes, or nothing."""
    try:
        caisse = parse_caisse_slug(slug)
    except InvalidCaisseSlug as error:
        stop(error.reason, USAGE)

    async def run() -> Found:
        settings = load_settings()
        settings.require("identity.dsn")
        db = await Database.open(settings.identity.dsn, name="espace client", max_size=1)
        try:
            async with db.transaction(caisse) as tx:
                return await act(tx)
        finally:
            await db.close()

    return asyncio.run(run())
