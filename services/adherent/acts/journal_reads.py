"""A cabinet that looks leaves a trace: the firm sees who read what in its name."""

from datetime import datetime
from uuid import UUID

from libs.common.access.access_token import AccessToken
from libs.common.database import journal, outbox
from libs.common.database.acts import of_software
from libs.common.database.transaction import Tx
from libs.common.events.adherent import ActNoted
from libs.common.values.identifiers import new_id, public_id


async def note_delegated_read(
    tx: Tx, token: AccessToken, action: str, adherent_id: UUID, *, now: datetime
) -> None:
    """Write down a read made under a mandate; one's own reads are nobody's business (delegation.md §3, check 7).

    The same read again within the minute, by the same person or software under the same version of the mandate,
    is in that line: a software that asks all day would push every older act off the firm's page (decision 0121).

    Records `ActNoted` with a new line, for the ledger of the mandate.
    """
    if token.actor is None or token.mandate is None:
        return
    is_new = await journal.record_once(
        tx,
        journal.Act(
            action=action,
            subject_kind="adherent",
            subject_id=public_id("adh", adherent_id),
            adherent_id=adherent_id,
            at=now,
            actor=journal.Actor(
                person_id=token.person_id,
                cabinet_id=token.actor.cabinet_id,
                mandate_id=token.mandate.id,
                mandate_version=token.mandate.version,
                token_jti=token.jti,
            ),
            details=of_software(token.actor.machine_id, token.actor.sponsor_id),
        ),
        f"{token.actor.machine_id or token.person_id}/{token.mandate.id}/{token.mandate.version}",
    )
    if not is_new:
        return
    await outbox.record(
        tx,
        ActNoted(
            event_id=new_id(),
            at=now,
            action=action,
            adherent_id=adherent_id,
            person_id=token.person_id,
            client_id=token.client_id,
            cabinet_id=token.actor.cabinet_id,
            mandate_id=token.mandate.id,
            mandate_version=token.mandate.version,
        ),
    )
