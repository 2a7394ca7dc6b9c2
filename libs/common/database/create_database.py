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
