"""A backlog goes batch after batch: one statement that outlasts its time would fail each time, and the rotation of keys
that follows it in the round with it.
"""

from datetime import timedelta

from libs.common.database.forgetting import BATCH
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.openid.duties import sweep
from services.identity.openid.logout import store as logout_store
from tests.openid.party import Issuer

FEW = 10


async def heard_long_ago(relay: Database, issuer: Issuer, many: int) -> None:
    long_ago = issuer.clock() - timedelta(days=8)
    async with relay.across_caisses() as tx:
        await tx.execute(
            """
            INSERT INTO logout_delivery (caisse, id, client_id, session_id, person_id, next_attempt_at, created_at,
                                         delivered_at)
            SELECT $1, gen_random_uuid(), 'gone', gen_random_uuid(), gen_random_uuid(), $2, $2, $2
              FROM generate_series(1, $3::integer)
            """,
            issuer.caisse, long_ago, many,
        )  # fmt: skip


async def kept(relay: Database) -> int:
    async with relay.across_caisses() as tx:
        return await tx.fetchval("SELECT count(*) FROM logout_delivery WHERE client_id = 'gone'")


async def test_deliveries_of_long_ago_go_batch_after_batch(
    issuer: Issuer, identity_db: Database, identity_relay: Database, keys: KeyEncryption
) -> None:
    await heard_long_ago(identity_relay, issuer, BATCH + FEW)
    async with identity_relay.across_caisses() as tx:
        await logout_store.forget_before(tx, issuer.clock() - timedelta(days=7))
    assert await kept(identity_relay) == FEW
    await heard_long_ago(identity_relay, issuer, BATCH)
    await sweep(identity_db, identity_relay, keys, issuer.clock())
    assert await kept(identity_relay) == 0
