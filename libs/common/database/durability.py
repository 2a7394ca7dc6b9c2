"""Whether PostgreSQL keeps what it acknowledged: asked at `espace up`, and by `espace doctor`."""

import asyncpg


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
