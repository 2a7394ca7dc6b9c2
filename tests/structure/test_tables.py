"""Every table hides other caisses, or says that it belongs to the whole platform."""

import asyncpg
import pytest

from libs.common.runtime.settings import Settings
from tests.conftest import SERVICES

QUERY = """
SELECT c.relname AS name, c.relrowsecurity AS protected, c.relforcerowsecurity AS forced,
       obj_description(c.oid, 'pg_class') AS comment,
       EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'of_one_caisse') AS has_policy,
       EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'caisse') AS has_caisse
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
LEDGER = {"schema_migration"}


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_has_a_caisse_policy_or_is_platform_wide(settings: Settings, service: str) -> None:
    connection = await asyncpg.connect(settings.service(service).owner_dsn)
    try:
        tables = await connection.fetch(QUERY, service)
    finally:
        await connection.close()

    assert tables
    unprotected = [
        row["name"]
        for row in tables
        if row["name"] not in LEDGER
        and row["comment"] != "platform-wide"
        and not (row["protected"] and row["forced"] and row["has_policy"] and row["has_caisse"])
    ]
    assert unprotected == []


@pytest.mark.parametrize("service", SERVICES)
async def test_partitions_cannot_be_read_around_their_parent(settings: Settings, service: str) -> None:
    connection = await asyncpg.connect(settings.service(service).owner_dsn)
    try:
        readable = await connection.fetch(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relispartition AND c.relkind = 'r' AND NOT c.relrowsecurity "
            "AND has_table_privilege($1 || '_app', c.oid, 'SELECT')",
            service,
        )
    finally:
        await connection.close()
    assert [row["relname"] for row in readable] == []


@pytest.mark.parametrize("service", SERVICES)
async def test_the_serving_role_owns_nothing_and_bypasses_nothing(settings: Settings, service: str) -> None:
    connection = await asyncpg.connect(settings.service(service).dsn)
    try:
        role = await connection.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        )
        owned = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE tableowner = current_user")
    finally:
        await connection.close()
    assert role is not None
    assert list(role.values()) == [False, False, False, False]
    assert owned == 0
