"""What a person agreed to, as the account page lists it and takes it back."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Tx
from services.identity.openid import consent_store
from services.identity.openid.issuing import AccessLasts, access_lasts
from services.identity.openid.rights_in_words import Rights, rights_in_words


class GivenConsent(NamedTuple):
    """One consent in force."""

    id: UUID
    client_id: str
    client_name: str
    legal_name: str | None
    siret: str | None
    scopes: tuple[str, ...]
    given_at: datetime
    expires_at: datetime

    @property
    def rights(self) -> Rights:
        """As the consent page said them."""
        return rights_in_words(self.scopes)

    @property
    def lasts(self) -> AccessLasts:
        return access_lasts(self.scopes)


async def given_by(tx: Tx, person_id: UUID, now: datetime) -> list[GivenConsent]:
    """Newest first."""
    return [GivenConsent(*row) for row in await consent_store.in_force(tx, person_id, now)]


async def revoke(tx: Tx, person_id: UUID, consent_id: UUID, *, now: datetime) -> bool:
    """Take a consent back: it is asked again, and every grant it covered dies in the same commit.

    False when it is not this person's, or was taken back already.
    """
    client_id = await consent_store.revoke(tx, person_id, consent_id, now)
    if client_id is None:
        return False
    await consent_store.revoke_grants(tx, person_id, client_id, now)
    await journal.record(
        tx,
        Act(
            action="consent.revoked",
            subject_kind="client",
            subject_id=client_id,
            at=now,
            actor=Actor(person_id=person_id),
        ),
    )
    return True
