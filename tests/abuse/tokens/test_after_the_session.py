"""What a thief still holds once the session is over: tokens, at services that hear of it by a floor."""

import time
from datetime import timedelta
from typing import Any

import pytest

from libs.common.access.access_token import TokenVerifier
from libs.common.access.revocations import Floors, Verdict
from libs.common.access.signatures import VerifyingKey, verifying_key
from libs.common.database.journal import THE_SYSTEM, Actor
from libs.common.database.pool import Database
from libs.common.events.envelope import decode
from libs.common.events.identity import FloorRaised
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.sign_in.session import end_all_sessions, end_session
from services.identity.sign_in.store import set_password
from services.identity.sign_in.suspend import restore, suspend
from tests.openid.party import Issuer, Party


class PublishedKeys:
    """The issuer's keys as a service reads them."""

    def __init__(self, keys: dict[str, VerifyingKey]) -> None:
        self._keys = keys

    async def find(self, caisse: CaisseSlug, kid: str) -> VerifyingKey | None:
        return self._keys.get(kid)

    def edition(self, caisse: CaisseSlug) -> int:
        return 1


async def published_keys(issuer: Issuer) -> PublishedKeys:
    async with issuer.http() as http:
        every = (await http.get(f"/{issuer.caisse}/jwks")).json()["keys"]
    return PublishedKeys(
        {one["kid"]: verifying_key(one, one["alg"]) for one in every if one["alg"] == "ES256"}
    )


async def floors_told(db: Database, caisse: CaisseSlug) -> list[FloorRaised]:
    async with db.transaction(caisse) as tx:
        rows = await tx.fetch(
            "SELECT subject, body FROM outbox WHERE subject LIKE '%.authz.%' ORDER BY position"
        )
    told = [decode(row["subject"], row["body"])[1] for row in rows]
    return [one for one in told if isinstance(one, FloorRaised)]


async def test_signing_out_kills_the_access_tokens_at_every_service(
    issuer: Issuer, identity_db: Database
) -> None:
    client = await issuer.client()
    who = await (await issuer.person()).sign_in()
    tokens = await client.tokens(who, scope="openid attestation.read", resource=issuer.adherent)
    verifier = TokenVerifier(
        await published_keys(issuer),
        issuer_base=issuer.settings.identity.base,
        audience_base=issuer.settings.adherent.base,
        clock=lambda: issuer.clock().timestamp(),
    )
    believed = await verifier.verify(tokens["access_token"], issuer.caisse)
    assert who.session_id is not None

    issuer.clock.forward(seconds=1)
    async with identity_db.transaction(issuer.caisse) as tx:
        await end_session(tx, who.session_id, now=issuer.clock())

    floors = Floors(wall=lambda: issuer.clock().timestamp(), monotonic=time.monotonic)
    assert floors.judge(believed) is Verdict.STANDING
    for floor in await floors_told(identity_db, issuer.caisse):
        floors.raise_floor(issuer.caisse, floor)
    assert floors.judge(believed) is Verdict.REVOKED


async def everything_is_dead(client: Party, tokens: dict[str, Any], code: str) -> None:
    """At every door of identity."""
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await client.redeem(code)).json()["error"] == "invalid_grant"
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert (await client.post("/introspect", {"token": token})).json() == {"active": False}


@pytest.mark.parametrize("scope", ["openid email", "openid email offline_access"])
async def test_a_suspension_kills_for_good(issuer: Issuer, scope: str) -> None:
    """Grants, codes, refresh tokens and sessions stay dead after the person is restored."""
    client = await issuer.client(consent="explicit")
    who = await (await issuer.person()).sign_in()
    tokens, code = await client.tokens(who, scope=scope), await client.code(who, scope=scope)
    issuer.clock.forward(seconds=1)
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert await suspend(tx, who.id, by=THE_SYSTEM, reason="vol", now=issuer.clock())
        assert not await suspend(tx, who.id, by=THE_SYSTEM, reason="vol", now=issuer.clock())
    await everything_is_dead(client, tokens, code)
    assert (await client.authorize(who, scope=scope, prompt="none")).status_code == 303

    issuer.clock.forward(seconds=1)
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert await restore(tx, who.id, by=THE_SYSTEM, reason="vérifié", now=issuer.clock())
    await everything_is_dead(client, tokens, code)
    assert (await client.answer(who, scope=scope, prompt="none"))["error"] == "login_required"

    await who.sign_in()
    anew = await client.tokens(who, scope=scope)
    assert (await client.refresh(anew["refresh_token"])).status_code == 200


async def test_what_was_granted_while_a_suspension_was_being_written_is_dead_too(issuer: Issuer) -> None:
    """The request read the person before the commit and is dated after the suspension."""
    client = await issuer.client(consent="explicit")
    who = await (await issuer.person()).sign_in()
    scope = "openid offline_access"
    await client.tokens(who, scope=scope)
    issuer.clock.forward(seconds=1)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await tx.execute(
            "UPDATE person SET state = 'suspended', suspended_at = $2 WHERE id = $1", who.id, issuer.clock()
        )
        issuer.clock.forward(seconds=1)
        code, again = await client.code(who, scope=scope), await client.code(who, scope=scope)
        tokens = (await client.redeem(again)).json()
    issuer.clock.forward(seconds=1)
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert await restore(tx, who.id, by=THE_SYSTEM, reason="vérifié", now=issuer.clock())
    await everything_is_dead(client, tokens, code)


async def test_what_was_granted_while_a_new_password_was_being_computed_is_dead_too(issuer: Issuer) -> None:
    """The change is dated by its request, the grant by its own, a second later and before the commit."""
    client = await issuer.client(consent="explicit")
    who = await (await issuer.person()).sign_in()
    early = issuer.clock()
    issuer.clock.forward(seconds=1)
    tokens = await client.tokens(who, scope="openid offline_access")
    async with issuer.db.transaction(issuer.caisse) as tx:
        await set_password(tx, who.id, "$argon2id$new", now=early)
        await end_all_sessions(tx, who.id, by=Actor(person_id=who.id), why={"because": "essai"}, now=early)
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_suspension_reaches_the_access_tokens_of_every_caisse(issuer: Issuer) -> None:
    who = await issuer.person()
    async with issuer.db.transaction(issuer.caisse) as tx:
        await suspend(tx, who.id, by=THE_SYSTEM, reason="vol", now=issuer.clock())
    floor = (await floors_told(issuer.db, issuer.caisse))[-1]
    assert (floor.kind, floor.key) == ("actor", public_id("per", who.id))


async def test_a_suspension_by_hand_and_its_end_are_dated_too(issuer: Issuer) -> None:
    who = await issuer.person()
    async with issuer.db.transaction(issuer.caisse) as tx:
        await tx.execute("UPDATE person SET state = 'suspended' WHERE id = $1", who.id)
        assert await tx.fetchval("SELECT suspended_at FROM person WHERE id = $1", who.id) is not None
        await tx.execute("UPDATE person SET suspended_at = NULL WHERE id = $1", who.id)
        await tx.execute("UPDATE person SET state = 'active' WHERE id = $1", who.id)
        assert await tx.fetchval("SELECT suspended_at FROM person WHERE id = $1", who.id) is not None


async def test_a_new_password_ends_what_outlives_the_session_too(issuer: Issuer) -> None:
    client = await issuer.client(consent="explicit")
    who = await (await issuer.person()).sign_in()
    scope = "openid offline_access"
    tokens, code = await client.tokens(who, scope=scope), await client.code(who, scope=scope)
    issuer.clock.forward(seconds=1)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await set_password(tx, who.id, "another", now=issuer.clock())
    await everything_is_dead(client, tokens, code)


async def test_a_new_password_ends_what_clients_hold_in_every_caisse(
    issuer: Issuer, identity_db: Database
) -> None:
    client = await issuer.client()
    who = await (await issuer.person()).sign_in()
    tokens = await client.tokens(who, scope="openid attestation.read")
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200

    # The password was changed at another caisse, whose transaction cannot see this caisse's sessions.
    now = issuer.clock() + timedelta(seconds=1)
    issuer.clock.forward(seconds=2)
    async with identity_db.transaction(issuer.caisse) as tx:
        await set_password(tx, who.id, "another", now=now)

    refused = await client.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
