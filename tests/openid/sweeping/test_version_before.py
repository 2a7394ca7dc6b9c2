"""P14: the version before serves on this schema, beside us; each finds what the other wrote, and all of it dies out.

Its statements stand here as it wrote them: they name no bucket for grants and
refresh tokens, and its secrets and identifiers say none.
"""

import hashlib
import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.identifiers import new_id
from services.identity.openid import flow_store
from services.identity.openid.bucket_names import (
    code_place,
    flow_span,
    grant_bucket,
    handle_place,
    new_handle,
    refresh_place,
)
from services.identity.openid.buckets import FORMER
from services.identity.openid.duties import empty_what_the_version_before_left, sweep
from services.identity.openid.visit_store import visited
from tests.conftest import HeldClock
from tests.openid.party import Issuer, Party, Somebody
from tests.openid.sweeping.test_table_sizes import REQUEST

STORE_GRANT = """
WITH granted AS (
    INSERT INTO authorization_grant (caisse, id, client_id, person_id, session_id, account_id, granted,
                                     created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)
)
INSERT INTO authorization_code (caisse, code_hash, grant_id, redirect_uri, code_challenge, dpop_jkt, nonce,
                                expires_at, bucket)
VALUES ($1, $10, $2, $11, $12, $13, $14, $15, $16)
"""
STORE_REFRESH = """
INSERT INTO refresh_token (caisse, token_hash, grant_id, dpop_jkt, issued_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""
ROTATE = """
WITH spent AS (
    UPDATE refresh_token SET spent_at = $6
     WHERE token_hash = $2 AND spent_at IS NULL AND expires_at > $6
    RETURNING grant_id
)
INSERT INTO refresh_token (caisse, token_hash, grant_id, dpop_jkt, issued_at, expires_at)
SELECT $1, $3, spent.grant_id, $5, $6, $7 FROM spent WHERE spent.grant_id = $4
"""
CONSUME = """
UPDATE authorization_code SET consumed_at = $2
 WHERE code_hash = $1 AND consumed_at IS NULL AND expires_at > $2
"""
REVOKE = (
    "UPDATE authorization_grant SET revoked_at = $2, revoked_why = $3 WHERE id = $1 AND revoked_at IS NULL"
)
PROLONG = """
UPDATE refresh_token SET expires_at = $2
 WHERE token_hash = $1 AND spent_at IS NULL AND expires_at < $2::timestamptz - interval '1 minute'
"""
SPEND_PUSHED = "UPDATE pushed_request SET spent_at = $2 WHERE handle_hash = $1 AND spent_at IS NULL"
FINISH = "UPDATE authorization_flow SET finished_at = $2 WHERE id = $1 AND finished_at IS NULL"
FIND_REFRESH = """
SELECT g.id FROM refresh_token AS token JOIN authorization_grant AS g ON g.id = token.grant_id
 WHERE token.token_hash = $1 AND token.spent_at IS NULL
"""


def former_secret() -> tuple[str, bytes]:
    secret = secrets.token_urlsafe(32)
    return secret, hashlib.sha256(secret.encode()).digest()


async def grant_of(issuer: Issuer, client: Party) -> Any:
    async with issuer.db.transaction(issuer.caisse) as tx:
        return await tx.fetchrow("SELECT * FROM authorization_grant WHERE client_id = $1", client.client_id)


async def a_former_sign_in(issuer: Issuer, client: Party, who: Somebody) -> tuple[str, str, UUID]:
    """Code, refresh token and grant as the version before wrote them, for what `who` grants to `client` today."""
    await client.code(who)
    model = await grant_of(issuer, client)
    now, grant_id = issuer.clock(), new_id()
    (code, code_hash), (token, token_hash) = former_secret(), former_secret()
    expires_at = now + timedelta(seconds=60)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await tx.execute(
            STORE_GRANT,
            issuer.caisse, grant_id, client.client_id, model["person_id"], model["session_id"], model["account_id"],
            model["granted"], now, now + timedelta(hours=12), code_hash, client.metadata.redirect_uris[0],
            client.challenge, None, None, expires_at, int(expires_at.timestamp()) // 86400 % 4,
        )  # fmt: skip
        await tx.execute(
            STORE_REFRESH, issuer.caisse, token_hash, grant_id, client.dpop.kid
            if client.metadata.token_endpoint_auth_method == "none" else None, now, now + timedelta(hours=12),
        )  # fmt: skip
    return code, token, grant_id


async def test_a_code_of_the_version_before_is_redeemed_and_its_replay_known(issuer: Issuer) -> None:
    client, who = await issuer.client(), await (await issuer.person()).sign_in()
    code, _, grant_id = await a_former_sign_in(issuer, client, who)
    answer = await client.redeem(code)
    assert answer.status_code == 200, answer.text
    assert (await client.userinfo(answer.json()["access_token"])).status_code == 200
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert (
            await tx.fetchval("SELECT revoked_why FROM authorization_grant WHERE id = $1", grant_id)
            == "code_replayed"
        )


async def test_a_refresh_token_of_the_version_before_still_works(issuer: Issuer) -> None:
    client, who = await issuer.client(), await (await issuer.person()).sign_in()
    _, token, grant_id = await a_former_sign_in(issuer, client, who)
    assert grant_bucket(grant_id) == FORMER
    for _ in range(2):
        assert (await client.refresh(token)).status_code == 200


async def test_a_public_client_rotates_out_of_a_former_token_and_its_replay_is_known(issuer: Issuer) -> None:
    client = await issuer.client(token_endpoint_auth_method="none")
    who = await (await issuer.person()).sign_in()
    _, token, grant_id = await a_former_sign_in(issuer, client, who)
    rotated = await client.refresh(token)
    assert rotated.status_code == 200, rotated.text
    new = rotated.json()["refresh_token"]
    # The grant is in the bucket of before, and so is every token of it: they are forgotten together.
    assert set(refresh_place(new).rows) == {FORMER}
    assert (await client.refresh(new)).status_code == 200
    assert (await client.refresh(token)).json()["error"] == "invalid_grant"
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert (
            await tx.fetchval("SELECT revoked_why FROM authorization_grant WHERE id = $1", grant_id)
            == "refresh_replayed"
        )


async def test_the_version_before_redeems_rotates_and_revokes_what_we_wrote(issuer: Issuer) -> None:
    client = await issuer.client(token_endpoint_auth_method="none")
    who = await (await issuer.person()).sign_in()
    code = await client.code(who)
    ours = (await client.redeem(code)).json()["refresh_token"]
    other = await client.code(await (await issuer.person()).sign_in())
    now, (theirs, theirs_hash) = issuer.clock(), former_secret()
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert await tx.execute(CONSUME, code_place(other).digest, now) == 1
        ours_hash = refresh_place(ours).digest
        grant_id = await tx.fetchval(FIND_REFRESH, ours_hash)
        later = now + timedelta(hours=1)
        jkt = client.dpop.kid
        assert await tx.execute(ROTATE, issuer.caisse, ours_hash, theirs_hash, grant_id, jkt, now, later) == 1
        assert await tx.execute(PROLONG, theirs_hash, later + timedelta(hours=1)) == 1
    # What it rotated is ours to find: an unnamed token of a named grant.
    answer = await client.refresh(theirs)
    assert answer.status_code == 200, answer.text
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert await tx.execute(REVOKE, grant_id, now, "test") == 1
    assert (await client.refresh(answer.json()["refresh_token"])).json()["error"] == "invalid_grant"


async def test_pushed_requests_and_flows_pass_from_one_version_to_the_other(issuer: Issuer) -> None:
    now = issuer.clock()
    handle, flow = new_handle(now), new_id()
    former, digest = former_secret()
    insert = """
        INSERT INTO pushed_request (caisse, handle_hash, client_id, request, expires_at, bucket)
        VALUES ($1, $2, 'c', '{}', $3, $4)
        """
    async with issuer.db.transaction(issuer.caisse) as tx:
        await tx.execute(insert, issuer.caisse, digest, now, 2)
        await tx.execute(
            insert, issuer.caisse, handle_place(handle).digest, now, handle_place(handle).rows.first
        )
        await flow_store.open_flow(tx, flow, b"b" * 32, REQUEST, now, now + timedelta(minutes=30))
        _, pushed, _ = await visited(tx, "c", now, session=None, pushed_at=handle_place(former))
        assert pushed is not None
        assert await tx.execute(SPEND_PUSHED, handle_place(handle).digest, now) == 1
        assert flow_span(flow) == (0, 3)
        assert await flow_store.flow_of_browser(tx, flow, b"b" * 32, now) is not None
        assert await tx.execute(FINISH, flow, now) == 1


async def test_the_bucket_of_the_version_before_is_kept_while_it_lives_then_emptied(
    issuer: Issuer, identity_relay: Database, keys: KeyEncryption, held: HeldClock
) -> None:
    client, who = await issuer.client(), await (await issuer.person()).sign_in()
    _, token, _ = await a_former_sign_in(issuer, client, who)
    await sweep(issuer.db, identity_relay, keys, held.now)
    assert (await client.refresh(token)).status_code == 200

    async def left() -> int:
        async with identity_relay.across_caisses() as tx:
            return await tx.fetchval(
                "SELECT (SELECT count(*) FROM refresh_token WHERE bucket = 16) "
                "     + (SELECT count(*) FROM authorization_grant WHERE bucket = 16)"
            )

    # A day after the last one's end, when no replay is asked about any more, and not before.
    over = held.now + timedelta(hours=12)
    await empty_what_the_version_before_left(identity_relay, over + timedelta(hours=23))
    assert await left() > 0
    await empty_what_the_version_before_left(identity_relay, over + timedelta(hours=25))
    assert await left() == 0
