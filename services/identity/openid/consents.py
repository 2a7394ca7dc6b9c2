"""What a person agreed to, as the account page lists it and takes it back."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Row, Tx
from services.identity.openid import consent_store
from services.identity.openid.clients import ClientMetadata
from services.identity.openid.issuing import AccessLasts, access_lasts
from services.identity.openid.rights_in_words import Rights, rights_in_words


class GivenConsent(NamedTuple):
    """All that a person lets one service do for one firm, or without any: every consent to it in force."""

    id: UUID
    """Of the newest."""
    client_id: str
    client_name: str
    legal_name: str | None
    siret: str | None
    scopes: tuple[str, ...]
    given_at: datetime
    expires_at: datetime
    """Until then nothing of it is asked again."""
    is_remembered: bool
    """False for an app that asks each time, since anybody may take its name."""

    @property
    def rights(self) -> Rights:
        """As the consent page said them."""
        return rights_in_words(self.scopes)

    @property
    def lasts(self) -> AccessLasts:
        return access_lasts(self.scopes)


async def given_by(tx: Tx, person_id: UUID, now: datetime) -> list[GivenConsent]:
    """Newest first; what a service was given in several times is one."""
    found: dict[tuple[str, UUID | None], GivenConsent] = {}
    for row in await consent_store.in_force(tx, person_id, now):
        key, older = (row["client_id"], row["account_id"]), _read(row)
        newer = found.get(key)
        found[key] = older if newer is None else _with(newer, older)
    return list(found.values())


def _read(row: Row) -> GivenConsent:
    metadata = msgspec.json.decode(row["metadata"], type=ClientMetadata) if row["metadata"] else None
    return GivenConsent(
        id=row["id"],
        client_id=row["client_id"],
        client_name=metadata.client_name if metadata else row["client_id"],
        legal_name=row["legal_name"],
        siret=row["siret"],
        scopes=tuple(row["scopes"]),
        given_at=row["given_at"],
        expires_at=row["expires_at"],
        is_remembered=metadata is None or any(map(metadata.is_surely_at, metadata.redirect_uris)),
    )


def _with(newer: GivenConsent, older: GivenConsent) -> GivenConsent:
    """One given before: only what the newer one does not hold is asked again when it ends."""
    more = tuple(scope for scope in older.scopes if scope not in newer.scopes)
    return newer._replace(scopes=newer.scopes + more, expires_at=older.expires_at) if more else newer


async def revoke(tx: Tx, person_id: UUID, consent_id: UUID, *, now: datetime) -> bool:
    """Take back what a service was given for a firm: it is asked again, and each of its grants dies in the same commit.

    False when it is not this person's, or was taken back already.
    """
    taken_back = await consent_store.revoke(tx, person_id, consent_id, now)
    if taken_back is None:
        return False
    client_id = taken_back.client_id
    await consent_store.revoke_grants(tx, person_id, client_id, taken_back.account_id, now)
    await journal.record(
        tx,
        Act(
            action="consent.revoked",
            subject_kind="client",
            subject_id=client_id,
            at=now,
            adherent_id=taken_back.adherent_id,
            actor=Actor(person_id=person_id),
        ),
    )
    return True
