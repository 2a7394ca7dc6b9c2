"""Back-channel logout: the judged modules, and the queue behind it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from libs.common.database.journal import THE_SYSTEM
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from libs.common.values.identifiers import new_id, public_id
from services.identity.mail.enqueue import Mail
from services.identity.openid.bucket_names import grant_bucket
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.logout import store as logout_store
from services.identity.openid.logout.backchannel import (
    EVENT,
    LEASE,
    LEFT,
    OF_ONE_HOST,
    WAITS,
    deliver_due,
    deliver_for_ever,
)
from services.identity.openid.provider import Provider
from services.identity.sign_in import store as people
from services.identity.sign_in.new_password import change_password
from services.identity.sign_in.session import cookie_name, current_session, end_session, open_session, renew
from services.identity.sign_in.suspend import suspend_everywhere
from services.identity.signing_keys.rotation import create_keys
from tests.openid.listener import Listener
from tests.openid.party import Issuer, Party, Somebody, add_row_of_caisse, claims_of, header_of

ELSEWHERE = parse_caisse_slug("grand-ouest")
WITH_A_BROKEN_KEY = parse_caisse_slug("ile-de-france")


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


async def die_holding(relay: Database, now: datetime) -> None:
    """A worker takes what is due, and is killed before it can say what came of it."""
    async with relay.across_caisses() as tx:
        assert await logout_store.lease(tx, now=now, until=now + LEASE, most=32, of_one_host=OF_ONE_HOST)


async def queued(relay: Database, issuer: Issuer) -> tuple[int, str | None, bool]:
    """Of the one delivery of this caisse that was tried: attempts, the last answer, and whether it was given up."""
    async with relay.across_caisses() as tx:
        row = await tx.fetchrow(
            """
            SELECT attempts, last_answer, abandoned_at IS NOT NULL FROM logout_delivery
             WHERE caisse = $1 AND last_answer IS NOT NULL
             ORDER BY created_at DESC LIMIT 1
            """,
            issuer.caisse,
        )
    assert row is not None
    return row[0], row[1], row[2]


def logouts(outcome: str) -> float:
    return REGISTRY.get_sample_value("espace_logouts_told_total", {"outcome": outcome}) or 0


async def test_a_worker_that_died_loses_its_lease_not_the_message(
    who: Somebody, issuer: Issuer, listener: Listener, worker: Provider, identity_relay: Database
) -> None:
    await sign_out(who)
    await die_holding(identity_relay, issuer.clock())
    await deliver_due(worker, identity_relay, issuer.clock())
    assert listener.heard == []
    issuer.clock.forward(seconds=LEASE.total_seconds())
    await deliver_due(worker, identity_relay, issuer.clock())
    issuer.clock.forward(seconds=WAITS[0])
    await deliver_due(worker, identity_relay, issuer.clock())
    assert len(listener.heard) == 1
    assert await queued(identity_relay, issuer) == (2, LEFT, False)


async def test_a_delivery_that_kills_its_worker_is_given_up_after_as_many_tries_as_any_other(
    who: Somebody, issuer: Issuer, listener: Listener, worker: Provider, identity_relay: Database
) -> None:
    """An attempt counts from when it is taken: nobody is left to count one that ended like that."""
    left, given_up = logouts("left"), logouts("given_up")
    await sign_out(who)
    for wait in WAITS:
        await die_holding(identity_relay, issuer.clock())
        issuer.clock.forward(seconds=LEASE.total_seconds())
        await deliver_due(worker, identity_relay, issuer.clock())
        # It waits as long as one that was refused, lest it kill a worker every thirty seconds.
        issuer.clock.forward(seconds=wait)
    assert (logouts("left"), logouts("given_up")) == (left + len(WAITS), given_up)
    await die_holding(identity_relay, issuer.clock())

    for _ in range(3):
        issuer.clock.forward(seconds=WAITS[-1])
        await deliver_due(worker, identity_relay, issuer.clock())

    assert listener.heard == []
    assert await queued(identity_relay, issuer) == (len(WAITS) + 1, LEFT, True)
    assert logouts("given_up") == given_up + 1


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


async def give_grant(db: Database, caisse: CaisseSlug, client_id: str, person: UUID, session: UUID) -> None:
    """The row that a sign-in at this client leaves."""
    grant_id = new_id()
    async with db.transaction(caisse) as tx:
        await tx.execute(
            """
            INSERT INTO authorization_grant (caisse, id, client_id, person_id, session_id, granted, created_at,
                                             expires_at, bucket)
            VALUES ($1, $2, $3, $4, $5, '{}', now(), now() + interval '1 hour', $6)
            """,
            caisse, grant_id, client_id, person, session, grant_bucket(grant_id),
        )  # fmt: skip


@asynccontextmanager
async def working(
    worker: Provider, relay: Database, issuer: Issuer
) -> AsyncGenerator[asyncio.Task[None], None]:
    """The worker's duty, until the block ends."""
    stop = asyncio.Event()
    duty = asyncio.create_task(deliver_for_ever(worker, relay, stop, issuer.clock))
    try:
        yield duty
    finally:
        stop.set()
        await asyncio.wait_for(duty, 5)


async def heard(listener: Listener, within: float = 10) -> float:
    """Seconds until this client was told something."""
    began = time.monotonic()
    await asyncio.wait_for(listener.arrived.wait(), within)
    return time.monotonic() - began


@asynccontextmanager
async def a_socket_that_never_answers() -> AsyncGenerator[str, None]:
    """The address of a client that takes connections and says nothing."""

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/logout"
    finally:
        server.close()


async def test_a_tarpit_delays_nobody(
    client: Party, issuer: Issuer, listener: Listener, worker: Provider, identity_relay: Database
) -> None:
    async with a_socket_that_never_answers() as silent:
        slow = await issuer.client(backchannel_logout_uri=silent)
        crowd = [await (await issuer.person()).sign_in() for _ in range(70)]
        for one in crowd:
            assert one.session_id is not None
            await give_grant(issuer.db, issuer.caisse, slow.client_id, one.id, one.session_id)
            await sign_out(one)
        issuer.clock.forward(seconds=1)
        last = await (await issuer.person()).sign_in()
        await client.tokens(last)
        await sign_out(last)
        async with working(worker, identity_relay, issuer):
            took = await heard(listener)
    # One of the silent client's deadlines is three seconds, and seventy wait for it.
    assert took < 2.9


async def test_one_host_holds_few_places_however_many_its_clients(
    issuer: Issuer, listener: Listener, identity_relay: Database
) -> None:
    who = await (await issuer.person()).sign_in()
    assert who.session_id is not None
    for path in range(2 * OF_ONE_HOST):
        one = await issuer.client(backchannel_logout_uri=listener.url(f"/{path}"))
        await give_grant(issuer.db, issuer.caisse, one.client_id, who.id, who.session_id)
    await sign_out(who)
    now = issuer.clock()

    async def lease() -> list[logout_store.Delivery]:
        async with identity_relay.across_caisses() as tx:
            return await logout_store.lease(
                tx, now=now, until=now + timedelta(seconds=30), most=100, of_one_host=OF_ONE_HOST
            )

    first = await lease()
    assert await lease() == []
    async with identity_relay.across_caisses() as tx:
        await logout_store.delivered(tx, first[0], now)
    assert len(await lease()) == 1
    assert len(first) == OF_ONE_HOST


async def test_one_caisse_s_broken_key_stops_no_other(
    who: Somebody,
    issuer: Issuer,
    listener: Listener,
    worker: Provider,
    identity_db: Database,
    identity_relay: Database,
) -> None:
    await add_row_of_caisse(identity_db, WITH_A_BROKEN_KEY, issuer.clock())
    async with identity_db.transaction(WITH_A_BROKEN_KEY) as tx:
        # Restored under another root key.
        await create_keys(tx, KeyEncryption(b"z" * 32), issuer.clock())
    broken = Issuer(issuer.settings, WITH_A_BROKEN_KEY, identity_db, issuer.clock, issuer.transport)
    its_client = await broken.client(backchannel_logout_uri=listener.url("/never"))
    theirs = await (await broken.person()).sign_in()
    assert theirs.session_id is not None
    await give_grant(identity_db, broken.caisse, its_client.client_id, theirs.id, theirs.session_id)
    await sign_out(theirs)
    await sign_out(who)

    async def row_of_broken() -> tuple[str, int, bool]:
        async with identity_db.transaction(WITH_A_BROKEN_KEY) as tx:
            row = await tx.one_row(
                "SELECT last_answer, attempts, abandoned_at IS NOT NULL FROM logout_delivery"
            )
        return row[0], row[1], row[2]

    async with working(worker, identity_relay, issuer) as duty:
        await heard(listener)
        assert not duty.done()
    # Put off at each of its turns, and given up after the last; the duty may have ended in the middle of the first.
    for wait in (*WAITS, WAITS[-1]):
        issuer.clock.forward(seconds=wait + 31)
        await deliver_due(worker, identity_relay, issuer.clock())
    assert await row_of_broken() == ("not written: SealBroken", len(WAITS) + 1, True)
    assert len(listener.heard) == 1


async def test_an_end_is_told_however_long_no_worker_was_there(
    who: Somebody, issuer: Issuer, listener: Listener, worker: Provider, identity_relay: Database
) -> None:
    await sign_out(who)
    issuer.clock.forward(seconds=10 * 24 * 3600)
    async with identity_relay.across_caisses() as tx:
        # The first round of the worker's own sweep comes before.
        await logout_store.forget_before(tx, issuer.clock() - timedelta(days=7))
    await deliver_due(worker, identity_relay, issuer.clock())
    assert len(listener.heard) == 1


async def test_a_grant_written_while_its_session_ended_is_told_too(
    client: Party, issuer: Issuer, listener: Listener, worker: Provider, identity_relay: Database
) -> None:
    who = await (await issuer.person()).sign_in()
    assert who.session_id is not None
    await sign_out(who)
    await give_grant(issuer.db, issuer.caisse, client.client_id, who.id, who.session_id)
    await deliver_due(worker, identity_relay, issuer.clock())
    assert len(listener.heard) == 1


async def test_a_suspended_person_s_clients_hear_of_it(
    who: Somebody,
    issuer: Issuer,
    listener: Listener,
    worker: Provider,
    identity_db: Database,
    identity_relay: Database,
) -> None:
    await add_row_of_caisse(identity_db, ELSEWHERE, issuer.clock())
    elsewhere = await session_elsewhere(who, identity_db)
    issuer.clock.forward(seconds=2)
    await suspend_everywhere(identity_db, who.id, by=THE_SYSTEM, reason="essai", now=issuer.clock())
    await deliver_due(worker, identity_relay, issuer.clock())
    assert len(listener.heard) == 1
    assert await is_over(identity_db, ELSEWHERE, elsewhere)


async def session_elsewhere(who: Somebody, db: Database) -> UUID:
    async with db.transaction(ELSEWHERE) as tx:
        opened = await open_session(tx, person_id=who.id, acr="pwd", amr=["pwd"], now=who.issuer.clock())
    return opened.session.id


async def is_over(db: Database, caisse: CaisseSlug, session: UUID) -> bool:
    async with db.transaction(caisse) as tx:
        return await tx.fetchval("SELECT revoked_at IS NOT NULL FROM session WHERE id = $1", session)


async def test_a_password_change_reaches_clients_and_tokens_of_another_caisse(
    who: Somebody,
    client: Party,
    issuer: Issuer,
    identity_db: Database,
    identity_relay: Database,
    keys: KeyEncryption,
) -> None:
    await add_row_of_caisse(identity_db, ELSEWHERE, issuer.clock())
    abroad = Issuer(issuer.settings, ELSEWHERE, identity_db, issuer.clock, issuer.transport)
    its_client = await abroad.client(backchannel_logout_uri="http://127.0.0.1:9/logout")
    elsewhere, bystander = await session_elsewhere(who, identity_db), await (await issuer.person()).sign_in()
    await give_grant(identity_db, ELSEWHERE, its_client.client_id, who.id, elsewhere)
    issuer.clock.forward(seconds=2)
    async with identity_db.transaction(issuer.caisse) as tx:
        person = await people.find_person(tx, person_id=who.id)
        assert person is not None and who.session_id is not None and bystander.session_id is not None
        await change_password(tx, Mail(keys), person, "x", session_id=who.session_id, now=issuer.clock())
        # What reached the other caisse left nothing of it in sight.
        assert await tx.fetchval("SELECT count(*) FROM session WHERE caisse <> $1", issuer.caisse) == 0
        floors = await tx.fetch("SELECT convert_from(body, 'UTF8') FROM outbox WHERE subject LIKE '%authz%'")
    assert any(public_id("per", who.id) in body for (body,) in floors)
    assert await is_over(identity_db, ELSEWHERE, elsewhere)
    assert not await is_over(identity_db, issuer.caisse, who.session_id)
    assert not await is_over(identity_db, issuer.caisse, bystander.session_id)
    async with identity_relay.across_caisses() as tx:
        told = await tx.fetch(
            "SELECT session_id, client_id FROM logout_delivery WHERE person_id = $1", who.id
        )
    assert [tuple(row) for row in told] == [(elsewhere, its_client.client_id)]


async def test_the_session_that_changed_the_password_goes_on(
    who: Somebody, client: Party, issuer: Issuer, listener: Listener, keys: KeyEncryption
) -> None:
    """Its clients' access tokens die with the others; their refresh tokens give new ones."""
    tokens = await client.tokens(who)
    issuer.clock.forward(seconds=2)
    now, cookie = issuer.clock(), who.cookies[cookie_name(issuer.caisse)]
    async with issuer.db.transaction(issuer.caisse) as tx:
        person = await people.find_person(tx, person_id=who.id)
        session = await current_session(tx, cookie, now)
        assert person is not None and session is not None
        await change_password(tx, Mail(keys), person, "x", session_id=session.id, now=now)
        await renew(tx, session, acr="pwd", amr=["pwd"], second_factor_at=None, now=now)
    issuer.clock.forward(seconds=2)

    assert (await client.refresh(tokens["refresh_token"])).status_code == 200
    assert listener.heard == []
