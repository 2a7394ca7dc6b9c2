"""One key, one effect: a command sent twice is carried out once and answered twice."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError, NotFound
from services.identity.delegation import store
from services.identity.delegation.mandate import Mandate


class KeyReused(DomainError):
    """This person used the idempotency key for something else."""


class KeyMissing(DomainError):
    """No idempotency key, or one too short or too long to be believed unique."""


class Receipt(NamedTuple):
    """What a command did: the mandates it moved, and the principals it replaced."""

    mandates: tuple[Mandate, ...]
    replaced: tuple[Mandate, ...] = ()

    @property
    def mandate(self) -> Mandate:
        return self.mandates[0]


async def already_done(
    tx: Tx,
    key: str,
    command: str,
    person_id: UUID,
    mandate_ids: Sequence[UUID],
    now: datetime,
    *,
    asked: object,
) -> Receipt | None:
    """Take `key` for this command and answer None; or answer what it did the first time.

    `key` is 16 to 128 characters, drawn by the caller, and this person's own: another's under the same
    name is another key, so that none can be taken beforehand. `asked` is all that the
    command says beside its key, mandate or terms: else "revoked" would be answered of
    a mandate that is still in force. A twin in flight waits here until the first
    commits or gives up. Raises `KeyReused`, `KeyMissing`.
    """
    if not 16 <= len(key) <= 128:
        raise KeyMissing
    digest = sha256(msgspec.json.encode(asked, order="sorted")).digest()
    if await store.claim_command(tx, key, command, person_id, mandate_ids, digest, now):
        return None
    done = await store.command_of(tx, person_id, key)
    if done is None or (done.command, done.asked) != (command, digest):
        raise KeyReused
    found = [await store.find(tx, mandate_id) for mandate_id in done.mandate_ids]
    return Receipt(tuple(mandate for mandate in found if mandate is not None))


async def mandate_of_adherent(tx: Tx, mandate_id: UUID, adherent_id: UUID) -> Mandate:
    """Raises `NotFound` alike for an unknown mandate and for another firm's."""
    mandate = await store.find(tx, mandate_id)
    if mandate is None or mandate.adherent_id != adherent_id:
        raise NotFound
    return mandate


async def mandate_of_cabinet(tx: Tx, mandate_id: UUID, cabinet_id: UUID) -> Mandate:
    """Raises `NotFound` alike for an unknown mandate and for another cabinet's.

    A former authorisation is the firm's own evidence: no cabinet sees it.
    """
    mandate = await store.find(tx, mandate_id)
    if mandate is None or mandate.cabinet_id != cabinet_id or mandate.state == "legacy_lapsed":
        raise NotFound
    return mandate
