"""Every table of every schema says how long its rows are kept and how they go (docs/reference/what-is-kept.md)."""

import re
from pathlib import Path

import asyncpg
import pytest

from libs.common.runtime.settings import Settings
from tests.conftest import SERVICES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "what-is-kept.md"
TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


def tables_told(service: str) -> list[str]:
    """The names in the first column of the service's section."""
    section = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    rows = next(part for part in section if part.startswith(f"{service}\n")).splitlines()
    return [
        name for row in rows if row.startswith("| `") for name in re.findall("`([a-z_]+)`", row.split("|")[1])
    ]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_says_how_it_is_forgotten(settings: Settings, service: str) -> None:
    connection = await asyncpg.connect(settings.service(service).owner_dsn)
    try:
        tables = [row["relname"] for row in await connection.fetch(TABLES, service)]
    finally:
        await connection.close()
    assert sorted(tables_told(service)) == sorted(tables)
