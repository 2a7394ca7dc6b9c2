"""`espace keys revoke`: from the operator's hand to every service, or the name of the one that has not answered."""

import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from libs.common.access import floor_feed
from libs.common.access.floor_feed import FloorFeed
from libs.common.access.issuer_keys import IssuerKeys
from libs.common.access.revocations import Floors
from libs.common.access.signatures import SigningKey
from libs.common.bus.connection import Bus
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import NatsSettings, Settings
from services.identity.signing_keys import store
from services.identity.signing_keys.commands import NOT_EVERYWHERE
from services.identity.signing_keys.revocation import revoke_key
from tests.access.test_floor_feed import clock_of, running
from tests.bus.conftest import linked, relaying, unsent, until
from tests.openid.party import Issuer
from tests.openid.signing_keys.commanded import commanded

SERVICES = ("adherent", "documents")


class Listening:
    """A service that follows the revocations: what it holds of the issuer's keys."""

    def __init__(self, issuer: Issuer, service: str, bus: Bus, relay: Database) -> None:
        self.keys = IssuerKeys(httpx.AsyncClient(transport=issuer.transport), issuer.settings.identity.base)
        self.floors = Floors()
        self.feed = FloorFeed(bus, self.floors, service, clock=clock_of(relay), keys=self.keys)


@contextlib.asynccontextmanager
async def listening(
    issuer: Issuer, settings: Settings, relay: Database, service: str
) -> AsyncGenerator[Listening, None]:
    async with linked(settings, service) as bus:
        one = Listening(issuer, service, bus, relay)
        async with running(one.feed.run()):
            yield one


async def kids(issuer: Issuer) -> dict[str, str]:
    async with issuer.db.transaction(issuer.caisse) as tx:
        return {key.state: key.kid for key in await store.published(tx) if key.algorithm == "ES256"}


async def ordered(
    issuer: Issuer, kid: str, *, settings: Settings | None = None, exits: int
) -> dict[str, Any]:
    told = await commanded(settings or issuer.settings, "revoke", issuer.caisse, kid, "--json", "--yes")
    assert told.returncode == exits, told.stderr
    return json.loads(told.stdout)


async def test_every_service_refuses_it_and_says_so(
    issuer: Issuer, settings: Settings, identity_relay: Database
) -> None:
    before = await kids(issuer)
    async with (
        linked(settings, "identity") as ours,
        relaying(ours, identity_relay),
        listening(issuer, settings, identity_relay, "adherent") as adherent,
        listening(issuer, settings, identity_relay, "documents") as documents,
    ):
        for one in (adherent, documents):
            assert await one.keys.find(issuer.caisse, before["active"])
        told = await ordered(issuer, before["active"], exits=0)
        for one in (adherent, documents):
            assert await one.keys.find(issuer.caisse, before["active"]) is None
            assert await one.keys.find(issuer.caisse, before["prepublished"])
        again = await ordered(issuer, before["active"], exits=0)

    assert (told["was"], told["signer"], told["silent"]) == ("active", before["prepublished"], [])
    assert [one["service"] for one in told["acknowledged"]] == list(SERVICES)
    assert (again["was"], again["silent"], again["signer"]) == ("revoked", [], told["signer"])


async def test_a_service_of_the_version_before_is_named(
    issuer: Issuer, settings: Settings, identity_relay: Database
) -> None:
    """It does not know the fact, and refuses the key once it has read the JWK Set again: it must not pass for told."""
    leaked = (await kids(issuer))["active"]
    async with (
        linked(settings, "identity") as ours,
        relaying(ours, identity_relay),
        listening(issuer, settings, identity_relay, "adherent"),
        linked(settings, "documents") as theirs,
        running(FloorFeed(theirs, Floors(), "documents", clock=clock_of(identity_relay)).run()),
    ):
        told = await ordered(issuer, leaked, exits=NOT_EVERYWHERE)
    assert told["silent"] == ["documents"]


async def of_before(issuer: Issuer) -> IssuerKeys:
    """Keys read through a proxy that hands out the JWK Set of this moment for ever."""
    async with issuer.http() as http:
        content = (await http.get(f"/{issuer.caisse}/jwks")).content
    proxy = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    return IssuerKeys(httpx.AsyncClient(transport=proxy), issuer.settings.identity.base)


async def hears(issuer: Issuer, held: IssuerKeys, kid: str, settings: Settings, relay: Database) -> None:
    """A service that follows the revocations from now on refuses the key in the end."""
    assert await held.find(issuer.caisse, kid), "the proxy still hands it out"

    async def is_refused() -> bool:
        return await held.find(issuer.caisse, kid) is None

    async with linked(settings, "documents") as theirs:
        feed = FloorFeed(theirs, Floors(), "documents", clock=clock_of(relay), keys=held)
        async with running(feed.run()):
            await until(is_refused)


async def test_a_service_that_starts_later_hears_it(
    issuer: Issuer, settings: Settings, keys: KeyEncryption, identity_relay: Database
) -> None:
    leaked, held = (await kids(issuer))["active"], await of_before(issuer)
    made = SigningKey.generate("ES256")

    async def is_sent() -> bool:
        return await unsent(identity_relay) == 0

    async with linked(settings, "identity") as ours, relaying(ours, identity_relay):
        async with issuer.db.transaction(issuer.caisse) as tx:
            await revoke_key(tx, keys, leaked, issuer.clock(), made=made, by="operator", reason="leaked")
        await until(is_sent)
        await hears(issuer, held, leaked, settings, identity_relay)


async def test_without_nats_it_is_revoked_here_and_both_are_named(
    issuer: Issuer, identity_relay: Database, settings: Settings
) -> None:
    before, held = await kids(issuer), await of_before(issuer)
    alone = replace(issuer.settings, nats=NatsSettings(url=f"nats://127.0.0.1:{free_port()}"))
    told = await ordered(issuer, before["active"], settings=alone, exits=NOT_EVERYWHERE)
    assert (told["silent"], told["acknowledged"]) == (list(SERVICES), [])
    assert (await kids(issuer))["active"] == told["signer"] == before["prepublished"]

    async def is_gone() -> bool:
        async with issuer.http() as http:
            published = (await http.get(f"/{issuer.caisse}/jwks")).json()["keys"]
        return before["active"] not in {key["kid"] for key in published}

    await until(is_gone)
    # NATS is back: the fact had waited in the outbox.
    async with linked(settings, "identity") as ours, relaying(ours, identity_relay):
        await hears(issuer, held, before["active"], settings, identity_relay)


async def test_a_service_that_hears_nothing_asks_identity_again(
    issuer: Issuer, settings: Settings, identity_relay: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No relay works: the stream is silent, and the key is believed until the JWK Set says otherwise."""
    monkeypatch.setattr(floor_feed, "DOUBTED_EVERY", 0.2)
    before = await kids(issuer)
    async with listening(issuer, settings, identity_relay, "adherent") as adherent:
        assert await adherent.keys.find(issuer.caisse, before["active"])
        told = await ordered(issuer, before["active"], exits=NOT_EVERYWHERE)
        assert told["silent"] == list(SERVICES)

        async def is_refused() -> bool:
            return await adherent.keys.find(issuer.caisse, before["active"]) is None

        await until(is_refused)
        assert await adherent.keys.find(issuer.caisse, told["signer"])


async def test_the_list_shows_it(issuer: Issuer, keys: KeyEncryption) -> None:
    leaked = (await kids(issuer))["prepublished"]
    made = SigningKey.generate("ES256")
    async with issuer.db.transaction(issuer.caisse) as tx:
        await revoke_key(tx, keys, leaked, issuer.clock(), made=made, by="operator", reason="leaked")
    shown = {key["kid"]: key for key in json.loads(await listing(issuer, "--json"))}
    assert shown[leaked]["state"] == "revoked" and shown[leaked]["revoked_at"]
    assert shown[made.kid] == {"kid": made.kid, "algorithm": "ES256", "state": "prepublished"}
    assert "revoked" in await listing(issuer)


async def listing(issuer: Issuer, *options: str) -> str:
    return (await commanded(issuer.settings, "list", issuer.caisse, *options)).stdout


async def test_an_unknown_key_is_refused_and_the_sentence_says_where_they_are(issuer: Issuer) -> None:
    told = await commanded(issuer.settings, "revoke", issuer.caisse, "no-such-key")
    assert told.returncode == 1 and "espace keys list" in told.stderr


@pytest.mark.parametrize("beginning", ["-C", "-h", "--"])
@pytest.mark.parametrize("separated", [(), ("--",)], ids=["as_listed", "after_two_dashes"])
async def test_a_kid_is_no_option_whatever_it_begins_with(
    issuer: Issuer, beginning: str, separated: tuple[str, ...]
) -> None:
    """One thumbprint of 64 begins with a dash, and is copied from `espace keys list` as it stands."""
    kid = f"{beginning}h-{43 * 'x'}"[:43]
    told = await commanded(issuer.settings, "revoke", "--yes", issuer.caisse, *separated, kid)
    assert told.returncode == 1 and f"n'a pas de clé {kid}" in told.stderr


async def test_people_read_who_has_not_answered(issuer: Issuer) -> None:
    leaked = (await kids(issuer))["prepublished"]
    alone = replace(issuer.settings, nats=NatsSettings(url=f"nats://127.0.0.1:{free_port()}"))
    told = await commanded(alone, "revoke", issuer.caisse, leaked, "--yes", "--reason", "vue en ligne")
    assert told.returncode == NOT_EVERYWHERE
    assert "adherent : N’A PAS RÉPONDU" in told.stdout and "when-something-breaks" in told.stdout
