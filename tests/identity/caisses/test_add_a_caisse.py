import asyncio
import json

import msgspec
import pytest
from click.testing import CliRunner, Result

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import ServiceSettings, Settings, SettingsRefused, to_environment
from libs.common.values.caisse_slug import parse_caisse_slug
from services.caisse_opening.commands import caisse, described
from services.identity.caisses import store
from services.identity.caisses.add import CaisseAlreadyThere, add_caisse
from services.identity.openid import client_store
from services.portal.relying_party.registration import portal_registration


async def test_a_caisse_is_a_row_its_keys_and_its_calendar(identity_db: Database, keys: KeyEncryption):
    wanted = described(
        "grand-ouest",
        network_number="7",
        cutover=("2020-12-21", "2021-01-06", "2021-01-07"),
        phone="02 00 00 00 00",
    )
    async with identity_db.transaction(wanted.slug) as tx:
        await add_caisse(tx, keys, wanted)

    async with identity_db.transaction(wanted.slug) as tx:
        assert await store.find(tx, wanted.slug) == wanted
        assert await tx.fetchval("SELECT count(*) FROM signing_key") > 0
        assert await tx.fetchval("SELECT subject FROM outbox") == "identity.grand-ouest.caisse.added.v1"
        assert await tx.fetchval("SELECT action FROM journal") == "caisse.added"
    assert wanted.network_number == "07"


async def test_a_taken_slug_is_refused_and_leaves_the_first_as_it_was(
    identity_db: Database, keys: KeyEncryption
):
    slug = parse_caisse_slug("sud-ouest")
    async with identity_db.transaction(slug) as tx:
        await add_caisse(tx, keys, described("sud-ouest", name="La première"))
    with pytest.raises(CaisseAlreadyThere):
        async with identity_db.transaction(slug) as tx:
            await add_caisse(tx, keys, described("sud-ouest", name="La seconde"))
    async with identity_db.across_caisses() as tx:
        assert [caisse.name for caisse in await store.every(tx) if caisse.slug == slug] == ["La première"]


OURS = ["adherent", "documents", "portal"]


async def typed(settings: Settings, *words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, caisse, [*words], env=to_environment(settings))


async def test_people_can_sign_in_to_a_caisse_that_was_added(identity_db: Database, settings: Settings):
    added = await typed(settings, "add", "bretagne", "--json")

    assert added.exit_code == 0, added.output
    assert json.loads(added.stdout)["clients"] == OURS
    slug = parse_caisse_slug("bretagne")
    async with identity_db.transaction(slug) as tx:
        found = {client.client_id: client.metadata for client in await client_store.every(tx)}
    assert sorted(found) == OURS
    wanted = portal_registration(settings, slug)
    assert (found["portal"].jwks, list(found["portal"].redirect_uris)) == (
        wanted["jwks"],
        wanted["redirect_uris"],
    )


async def test_a_caisse_added_without_our_keys_is_connected_later_and_once(
    identity_db: Database, settings: Settings
):
    without = msgspec.structs.replace(settings, portal=ServiceSettings())
    added = await typed(without, "add", "alsace")
    assert "portal.client_key" in added.output
    assert "espace caisse connect alsace" in added.output
    assert isinstance(refused := (await typed(without, "connect", "alsace")).exception, SettingsRefused)
    assert "ESPACE_PORTAL_CLIENT_KEY" in str(refused)

    for _ in range(2):
        told = json.loads((await typed(settings, "connect", "alsace", "--json")).stdout)
        assert told == {"caisses": {"alsace": OURS}}
    async with identity_db.transaction(parse_caisse_slug("alsace")) as tx:
        acts = await tx.fetch("SELECT action FROM journal WHERE action LIKE 'client.%'")
    assert [act for (act,) in acts] == ["client.registered"] * 3


async def test_our_clients_follow_an_address_that_moved(identity_db: Database, settings: Settings):
    await typed(settings, "add", "limousin")
    moved = msgspec.structs.replace(settings.portal, base="https://ailleurs.example.test")
    connected = await typed(msgspec.structs.replace(settings, portal=moved), "connect")
    assert "La caisse limousin connaît adherent, documents, portal." in connected.output

    async with identity_db.transaction(parse_caisse_slug("limousin")) as tx:
        found = {client.client_id: client.metadata for client in await client_store.every(tx)}
    assert list(found["portal"].redirect_uris) == ["https://ailleurs.example.test/limousin/callback"]
