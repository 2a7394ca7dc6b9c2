"""Back-channel logout: the judged modules, and the queue behind it."""

from datetime import timedelta

import pytest

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.openid.backchannel_logout import EVENT, WAITS, deliver_due
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.provider import Provider
from services.identity.sign_in.session import end_session
from tests.openid.listener import Listener
from tests.openid.party import Issuer, Party, Somebody, claims_of, header_of


@pytest.fixture
async def worker(issuer: Issuer, identity_db: Database, keys: KeyEncryption) -> Provider:
    return Provider(identity_db, issuer.settings, keys, GuardedFetcher(["127.0.0.1"]))


@pytest.fixture
async def client(issuer: Issuer, listener: Listener) -> Party:
    return await issuer.client(backchannel_logout_uri=listener.url("/logout"))


async def sign_out(who: Somebody) -> None:
    async with who.issuer.db.transaction(who.issuer.caisse) as tx:
        assert who.session_id is not None
        await end_session(tx, who.session_id, now=who.issuer.clock())


@pytest.fixture
async def who(issuer: Issuer, client: Party) -> Somebody:
    who = await (await issuer.person()).sign_in()
    await client.tokens(who)
    return who


async def test_backchannel_logout_discovery_endpoint_verification(issuer: Issuer) -> None:
    async with issuer.http() as http:
        told = (await http.get(f"/{issuer.caisse}/.well-known/openid-configuration")).json()
    assert told["backchannel_logout_supported"] and told["backchannel_logout_session_supported"]


async def test_backchannel_rp_initiated_logout(
    client: Party,
    who: Somebody,
    issuer: Issuer,
    listener: Listener,
    worker: Provider,
    identity_relay: Database,
) -> None:
    hint = (await client.tokens(who))["id_token"]
    await who.get(f"/{issuer.caisse}/end-session?id_token_hint={hint}")
    await deliver_due(worker, identity_relay, issuer.clock())
    (heard,) = listener.heard
    claims = claims_of(heard["logout_token"])
    assert header_of(heard["logout_token"])["typ"] == "logout+jwt"
    assert (claims["iss"], claims["aud"], claims["sub"]) == (
        issuer.url,
        client.client_id,
        claims_of(hint)["sub"],
    )
    assert (claims["sid"], claims["events"]) == (
        claims_of(hint)["sid"],
        {EVENT: {}},
    ) and "nonce" not in claims


async def test_whatever_path_ends_the_session_tells_its_clients_once(
    who: Somebody, issuer: Issuer, listener: Listener, worker: Provider, identity_relay: Database
) -> None:
    await sign_out(who)
    for _ in range(3):
        await deliver_due(worker, identity_relay, issuer.clock())
    assert len(listener.heard) == 1


async def test_a_client_that_was_away_hears_later(
    who: Somebody, issuer: Issuer, listener: Listener, worker: Provider, identity_relay: Database
) -> None:
    await sign_out(who)
    listener.status = 503
    await deliver_due(worker, identity_relay, issuer.clock())
    await deliver_due(worker, identity_relay, issuer.clock())
    assert len(listener.heard) == 1
    listener.status = 200
    issuer.clock.forward(seconds=WAITS[0] + 1)
    await deliver_due(worker, identity_relay, issuer.clock())
    issuer.clock.forward(seconds=WAITS[0] + 1)
    await deliver_due(worker, identity_relay, issuer.clock())
    assert len(listener.heard) == 2


async def test_a_worker_that_died_loses_its_lease_not_the_message(
    who: Somebody, issuer: Issuer, listener: Listener, worker: Provider, identity_relay: Database
) -> None:
    from services.identity.openid import logout_store

    await sign_out(who)
    now = issuer.clock()
    async with identity_relay.across_caisses() as tx:
        await logout_store.enqueue(tx, ended_after=now - timedelta(hours=1), now=now)
        assert await logout_store.lease(tx, now=now, until=now + timedelta(seconds=30), most=32)
    await deliver_due(worker, identity_relay, now)
    assert listener.heard == []
    issuer.clock.forward(seconds=31)
    await deliver_due(worker, identity_relay, issuer.clock())
    assert len(listener.heard) == 1


async def test_a_dead_client_delays_nobody(
    who: Somebody,
    client: Party,
    issuer: Issuer,
    listener: Listener,
    worker: Provider,
    identity_relay: Database,
) -> None:
    dead = await issuer.client(backchannel_logout_uri="http://127.0.0.1:9/logout")
    await dead.tokens(who)
    await sign_out(who)
    await deliver_due(worker, identity_relay, issuer.clock())
    assert len(listener.heard) == 1
