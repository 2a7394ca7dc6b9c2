"""An empty database for an installation, once."""

import re

import asyncpg


async def create_database(superuser_dsn: str, name: str) -> bool:
    """Create the database `name`, UTF-8; False when it exists. `superuser_dsn` names another database."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        raise ValueError(f"{name!r} is no database name")
    connection = await asyncpg.connect(superuser_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    except asyncpg.DuplicateDatabaseError:
        return False
    finally:
        await connection.close()
    return True


async def durability_faults(dsn: str) -> list[str]:
    """The settings without which a power loss would lose acknowledged writes, where they are off."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            """
            SELECT name, setting
              FROM pg_settings
             WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
               AND setting = 'off'
            """
        )
    finally:
        await connection.close()
    return [f"{row['name']} = {row['setting']}" for row in rows]
