"""Three roles a service: who owns the tables, who serves one caisse, who sweeps them all."""

import re

import asyncpg

KINDS = ("owner", "app", "relay")


def _quoted(secret: str) -> str:
    # Role statements take no parameter; secrets are generated URL-safe text.
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,128}", secret):
        raise ValueError("a role password is 16 to 128 URL-safe characters")
    return f"'{secret}'"


async def prepare_roles(superuser_dsn: str, service: str, passwords: dict[str, str]) -> None:
    """Create or refresh `<service>_owner|_app|_relay` and the schema; safe to run at each start.

    `passwords` maps "owner", "app" and "relay" to their secrets. The service's
    roles are neither superuser nor owner, for those would see every caisse.
    """
    if not re.fullmatch(r"[a-z]{2,30}", service):
        raise ValueError(f"{service!r} is no service name")
    connection = await asyncpg.connect(superuser_dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('espace.roles'))")
            for kind in KINDS:
                role = f"{service}_{kind}"
                known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
                verb = "ALTER" if known else "CREATE"
                await connection.execute(
                    f"{verb} ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD {_quoted(passwords[kind])}"
                )
                await connection.execute(f"ALTER ROLE {role} SET search_path = {service}, pg_temp")
                await connection.execute(f"ALTER ROLE {role} SET espace.caisse = ''")
            database = await connection.fetchval("SELECT current_database()")
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {service} AUTHORIZATION {service}_owner")
            await connection.execute(f"GRANT USAGE ON SCHEMA {service} TO {service}_app, {service}_relay")
            await connection.execute(
                f'GRANT CONNECT, TEMPORARY ON DATABASE "{database}" TO {service}_app, {service}_relay'
            )
    finally:
        await connection.close()
