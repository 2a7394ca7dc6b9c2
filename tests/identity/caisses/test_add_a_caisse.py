import pytest

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import parse_caisse_slug
from services.identity.caisses import store
from services.identity.caisses.add import CaisseAlreadyThere, add_caisse
from services.identity.caisses.commands import described


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
