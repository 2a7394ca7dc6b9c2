"""Clients' logos, in SQL. Filled by the worker's role, across caisses; read by the caisse's own."""

from datetime import datetime, timedelta
from typing import NamedTuple

from libs.common.database.transaction import Tx
from services.identity.openid.logos.image import Logo


class WantedLogo(NamedTuple):
    """A logo to read, leased to this worker."""

    caisse: str
    client_id: str
    uri: str
    failures: int


async def follow_clients(tx: Tx, now: datetime) -> int:
    """A row for each active client with a logo: due at once when it is new or the client has just been updated.

    Another address drops the image of the former one; the same keeps it until it is read again. Of two
    workers at once, the second finds the row as the first left it: leased.
    """
    return await tx.execute(
        """
        INSERT INTO client_logo AS kept (caisse, client_id, uri, client_updated_at, due_at)
        SELECT client.caisse, client.client_id, client.metadata->>'logo_uri', client.updated_at, $1
          FROM client
          LEFT JOIN client_logo AS known
            ON known.caisse = client.caisse AND known.client_id = client.client_id
           AND known.uri = client.metadata->>'logo_uri' AND known.client_updated_at = client.updated_at
         WHERE client.state = 'active' AND client.metadata ? 'logo_uri' AND known.client_id IS NULL
        ON CONFLICT (caisse, client_id) DO UPDATE
           SET uri = EXCLUDED.uri, client_updated_at = EXCLUDED.client_updated_at, due_at = EXCLUDED.due_at,
               failures = 0,
               name = CASE WHEN kept.uri = EXCLUDED.uri THEN kept.name END,
               image = CASE WHEN kept.uri = EXCLUDED.uri THEN kept.image END,
               width = CASE WHEN kept.uri = EXCLUDED.uri THEN kept.width END,
               height = CASE WHEN kept.uri = EXCLUDED.uri THEN kept.height END
         WHERE (kept.uri, kept.client_updated_at) <> (EXCLUDED.uri, EXCLUDED.client_updated_at)
        """,
        now,
    )  # fmt: skip


async def forget_what_no_client_names(tx: Tx) -> int:
    """Logos of clients that are disabled, or that have none any more."""
    return await tx.execute(
        """
        DELETE FROM client_logo AS kept USING client
         WHERE client.caisse = kept.caisse AND client.client_id = kept.client_id
           AND (client.state <> 'active' OR NOT client.metadata ? 'logo_uri')
        """
    )


async def lease(tx: Tx, *, now: datetime, lasts: timedelta, most: int) -> list[WantedLogo]:
    """Take what is due; a worker that dies leaves it due again when the lease ends."""
    rows = await tx.fetch(
        """
        UPDATE client_logo AS kept SET due_at = $2
          FROM (SELECT caisse, client_id FROM client_logo
                 WHERE due_at <= $1 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS due
         WHERE kept.caisse = due.caisse AND kept.client_id = due.client_id
        RETURNING kept.caisse, kept.client_id, kept.uri, kept.failures
        """,
        now, now + lasts, most,
    )  # fmt: skip
    return [WantedLogo(*row) for row in rows]


async def keep(tx: Tx, wanted: WantedLogo, *, name: str, logo: Logo, again_at: datetime) -> bool:
    """False when the client named another address meanwhile: its own turn comes."""
    return await tx.execute(
        """
        UPDATE client_logo
           SET name = $4, image = $5, width = $6, height = $7, due_at = $8, failures = 0, last_answer = NULL
         WHERE caisse = $1 AND client_id = $2 AND uri = $3
        """,
        wanted.caisse, wanted.client_id, wanted.uri, name, logo.png, logo.width, logo.height, again_at,
    ) == 1  # fmt: skip


async def postpone(tx: Tx, wanted: WantedLogo, *, answer: str, drop: bool, again_at: datetime) -> None:
    """Read again later. `drop` when the address answered something that is not to be shown."""
    await tx.execute(
        """
        UPDATE client_logo
           SET due_at = $4, failures = failures + 1, last_answer = $5,
               name = CASE WHEN NOT $6 THEN name END, image = CASE WHEN NOT $6 THEN image END,
               width = CASE WHEN NOT $6 THEN width END, height = CASE WHEN NOT $6 THEN height END
         WHERE caisse = $1 AND client_id = $2 AND uri = $3
        """,
        wanted.caisse, wanted.client_id, wanted.uri, again_at, answer, drop,
    )  # fmt: skip


class ShownLogo(NamedTuple):
    """What the page needs of a logo: the name it is served under, and its room in pixels."""

    name: str
    width: int
    height: int


async def logo_of(tx: Tx, client_id: str) -> ShownLogo | None:
    """The logo to show for a client, if we have the one that it names today."""
    row = await tx.fetchrow(
        """
        SELECT kept.name, kept.width, kept.height
          FROM client_logo AS kept
          JOIN client ON client.caisse = kept.caisse AND client.client_id = kept.client_id
         WHERE kept.client_id = $1 AND kept.name IS NOT NULL AND kept.uri = client.metadata->>'logo_uri'
        """,
        client_id,
    )
    return ShownLogo(*row) if row else None


async def image_named(tx: Tx, name: str) -> bytes | None:
    return await tx.fetchval("SELECT image FROM client_logo WHERE name = $1 LIMIT 1", name)
