"""Authorities and seal certificates; private keys are ciphertext here."""

from datetime import datetime

import msgspec

from libs.common.database.transaction import Tx


class AuthorityRow(msgspec.Struct, frozen=True):
    """A caisse's own certificate authority: DER certificate, encrypted PKCS#8."""

    certificate: bytes
    private_key: bytes


class SealRow(msgspec.Struct, frozen=True):
    """One seal certificate; it signs until `signs_until` and is verified for ever."""

    sequence: int
    certificate: bytes
    private_key: bytes
    signs_until: datetime


async def lock_seals(tx: Tx) -> None:
    """Until the end of the transaction, nobody else makes keys for this caisse."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('documents.seals ' || $1, 0))", tx.the_caisse
    )


async def find_authority(tx: Tx) -> AuthorityRow | None:
    row = await tx.fetchrow(
        "SELECT certificate, private_key FROM seal_authority WHERE caisse = $1", tx.the_caisse
    )
    return AuthorityRow(*row) if row else None


async def keep_authority(tx: Tx, authority: AuthorityRow, now: datetime) -> None:
    await tx.execute(
        "INSERT INTO seal_authority (caisse, certificate, private_key, created_at) VALUES ($1, $2, $3, $4)",
        tx.the_caisse,
        authority.certificate,
        authority.private_key,
        now,
    )


async def find_signing_seal(tx: Tx, now: datetime) -> SealRow | None:
    """The newest seal that may still sign."""
    row = await tx.fetchrow(
        """
        SELECT sequence, certificate, private_key, signs_until
          FROM seal_certificate
         WHERE signs_until > $1
         ORDER BY sequence DESC
         LIMIT 1
        """,
        now,
    )
    return SealRow(*row) if row else None


async def find_seal(tx: Tx, sequence: int) -> SealRow | None:
    row = await tx.fetchrow(
        "SELECT sequence, certificate, private_key, signs_until FROM seal_certificate WHERE sequence = $1",
        sequence,
    )
    return SealRow(*row) if row else None


async def seal_certificates(tx: Tx) -> list[bytes]:
    """Every certificate this caisse ever sealed with, DER."""
    rows = await tx.fetch("SELECT certificate FROM seal_certificate ORDER BY sequence")
    return [row[0] for row in rows]


async def next_sequence(tx: Tx) -> int:
    return await tx.fetchval("SELECT coalesce(max(sequence), 0) + 1 FROM seal_certificate")


async def keep_seal(tx: Tx, seal: SealRow, now: datetime) -> None:
    await tx.execute(
        """
        INSERT INTO seal_certificate (caisse, sequence, certificate, private_key, signs_from, signs_until)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        tx.the_caisse,
        seal.sequence,
        seal.certificate,
        seal.private_key,
        now,
        seal.signs_until,
    )
