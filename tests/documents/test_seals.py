"""A caisse's keys: made once under a lock, encrypted at rest, changed each year, kept for ever."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption, SealBroken
from libs.common.values.caisse_slug import CaisseSlug
from services.documents.attestations.issue import Workshop
from services.documents.seals import store
from services.documents.seals.certificates import SEAL_SIGNS, Seal
from services.documents.seals.current_seal import CaisseNotKnown, current_seal, seal_of
from tests.documents.conftest import ELSEWHERE, HERE

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


async def the_seal(
    db: Database, keys: KeyEncryption, *, caisse: CaisseSlug = HERE, now: datetime = NOW
) -> Seal:
    async with db.transaction(caisse) as tx:
        return await current_seal(tx, keys, base="https://documents.example.test", now=now)


async def test_ten_first_uses_make_one_seal(shop: Workshop, keys: KeyEncryption) -> None:
    seals = await asyncio.gather(*(the_seal(shop.db, keys) for _ in range(10)))

    assert len({seal.certificate.serial_number for seal in seals}) == 1


async def test_two_caisses_share_nothing(shop: Workshop, keys: KeyEncryption) -> None:
    here, there = await the_seal(shop.db, keys), await the_seal(shop.db, keys, caisse=ELSEWHERE)

    here.certificate.verify_directly_issued_by(here.authority)
    with pytest.raises((InvalidSignature, ValueError)):
        here.certificate.verify_directly_issued_by(there.authority)


async def test_keys_are_ciphertext_bound_to_their_caisse(shop: Workshop, keys: KeyEncryption) -> None:
    await the_seal(shop.db, keys)
    async with shop.db.transaction(HERE) as tx:
        row = await store.find_signing_seal(tx, NOW)

    assert row is not None
    with pytest.raises(SealBroken):
        keys.open("documents/seal", row.private_key, context=f"{ELSEWHERE}/{row.sequence}".encode())


async def test_a_new_seal_follows_and_the_old_one_stays(shop: Workshop, keys: KeyEncryption) -> None:
    first = await the_seal(shop.db, keys)
    later = NOW + SEAL_SIGNS + timedelta(days=400)
    second = await the_seal(shop.db, keys, now=later)

    assert second.sequence == first.sequence + 1
    assert second.authority == first.authority
    async with shop.db.transaction(HERE) as tx:
        kept = await seal_of(tx, keys, first.sequence)
    assert kept.certificate == first.certificate


async def test_an_unknown_caisse_gets_no_keys(shop: Workshop, keys: KeyEncryption) -> None:
    with pytest.raises(CaisseNotKnown):
        await the_seal(shop.db, keys, caisse=CaisseSlug("atlantide"))


async def test_a_very_long_name_still_makes_certificates(shop: Workshop, keys: KeyEncryption) -> None:
    seal = await the_seal(shop.db, keys)
    (organisation,) = seal.certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)

    assert len(str(organisation.value).encode()) <= 64
