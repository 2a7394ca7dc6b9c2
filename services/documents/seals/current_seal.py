"""The seal a caisse signs with today, made on first use and renewed each year."""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug
from services.documents.caisses.store import Caisse, find_caisse
from services.documents.seals import certificates, store
from services.documents.seals.certificates import Authority, Seal
from services.documents.seals.store import AuthorityRow, SealRow

AUTHORITY_KEY = "documents/seal-authority"
SEAL_KEY = "documents/seal"


class CaisseNotKnown(NotFound):
    """Identity has not told us of this caisse: nothing can be printed in its name."""


async def the_caisse(tx: Tx) -> Caisse:
    """The caisse of this transaction. Raises `CaisseNotKnown`."""
    caisse = await find_caisse(tx, tx.the_caisse)
    if caisse is None:
        raise CaisseNotKnown
    return caisse


async def current_seal(tx: Tx, keys: KeyEncryption, *, base: str, now: datetime) -> Seal:
    """The seal that signs now. Makes the authority and the seal, under a lock, when there is none.

    Two first uses at once make one authority and one seal. Raises `CaisseNotKnown`.
    """
    row = await store.find_signing_seal(tx, now)
    if row is None:
        await store.lock_seals(tx)
        row = await store.find_signing_seal(tx, now)
    if row is not None:
        authority = await store.find_authority(tx)
        assert authority is not None  # a seal is only ever written beside its authority
        return _opened(tx.the_caisse, keys, row, authority)
    caisse = await the_caisse(tx)
    authority = await _authority(tx, keys, caisse, now)
    seal = certificates.make_seal(
        authority,
        organisation=caisse.name,
        siren=caisse.siren,
        sequence=await store.next_sequence(tx),
        address=f"{base}/{caisse.slug}/seals",
        now=now,
    )
    await store.keep_seal(tx, _closed(caisse.slug, keys, seal, now), now)
    return seal


async def seal_of(tx: Tx, keys: KeyEncryption, sequence: int) -> Seal:
    """The seal an attestation was numbered under, whatever signs today."""
    row = await store.find_seal(tx, sequence)
    authority = await store.find_authority(tx)
    if row is None or authority is None:
        raise LookupError(f"seal {sequence} of {tx.the_caisse} is gone")
    return _opened(tx.the_caisse, keys, row, authority)


async def authority_of(tx: Tx, keys: KeyEncryption) -> Authority:
    """The caisse's authority, to sign its CRL. Raises `NotFound` before the first seal."""
    row = await store.find_authority(tx)
    if row is None:
        raise NotFound
    return _opened_authority(tx.the_caisse, keys, row)


async def _authority(tx: Tx, keys: KeyEncryption, caisse: Caisse, now: datetime) -> Authority:
    known = await store.find_authority(tx)
    if known is not None:
        return _opened_authority(caisse.slug, keys, known)
    authority = certificates.make_authority(organisation=caisse.name, siren=caisse.siren, now=now)
    sealed = keys.seal(AUTHORITY_KEY, certificates.to_pkcs8(authority.key), context=caisse.slug.encode())
    await store.keep_authority(
        tx, AuthorityRow(authority.certificate.public_bytes(Encoding.DER), sealed), now
    )
    return authority


def _context(caisse: CaisseSlug, sequence: int) -> bytes:
    return f"{caisse}/{sequence}".encode()


def _closed(caisse: CaisseSlug, keys: KeyEncryption, seal: Seal, now: datetime) -> SealRow:
    return SealRow(
        sequence=seal.sequence,
        certificate=seal.certificate.public_bytes(Encoding.DER),
        private_key=keys.seal(
            SEAL_KEY, certificates.to_pkcs8(seal.key), context=_context(caisse, seal.sequence)
        ),
        signs_until=now + certificates.SEAL_SIGNS,
    )


def _opened(caisse: CaisseSlug, keys: KeyEncryption, row: SealRow, authority: AuthorityRow) -> Seal:
    key = certificates.from_pkcs8(
        keys.open(SEAL_KEY, row.private_key, context=_context(caisse, row.sequence))
    )
    return Seal(
        sequence=row.sequence,
        certificate=x509.load_der_x509_certificate(row.certificate),
        key=key,
        authority=x509.load_der_x509_certificate(authority.certificate),
    )


def _opened_authority(caisse: CaisseSlug, keys: KeyEncryption, row: AuthorityRow) -> Authority:
    key = certificates.from_pkcs8(keys.open(AUTHORITY_KEY, row.private_key, context=caisse.encode()))
    return Authority(x509.load_der_x509_certificate(row.certificate), key)
