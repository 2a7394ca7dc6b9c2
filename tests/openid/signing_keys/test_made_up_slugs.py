"""A slug that somebody made up leaves nothing behind, whatever the database answers."""

import asyncio

import pytest

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import parse_caisse_slug
from services.identity.signing_keys.key_ring import KeyRings
from tests.openid.party import Issuer


async def test_an_outage_leaves_no_trace_of_the_slugs_asked_for(issuer: Issuer, keys: KeyEncryption) -> None:
    db = await Database.open(issuer.settings.identity.dsn, name="test", max_size=1)
    await db.close()
    rings = KeyRings(db, keys)
    for number in range(20):
        with pytest.raises(DatabaseUnavailable):
            await rings.of(parse_caisse_slug(f"nowhere-{number}"))
    # The loop holds the last answer for as long as the step that heard it.
    await asyncio.sleep(0)
    assert len(rings) == 0


async def test_slugs_of_no_caisse_leave_no_trace(issuer: Issuer, keys: KeyEncryption) -> None:
    rings = KeyRings(issuer.db, keys)
    slugs = [parse_caisse_slug(f"nowhere-{number}") for number in range(20)]
    found = await asyncio.gather(*map(rings.of, slugs * 3))
    assert all(ring.is_empty for ring in found)
    assert len(rings) == 0
    assert not (await rings.of(issuer.caisse)).is_empty
    assert len(rings) == 1
