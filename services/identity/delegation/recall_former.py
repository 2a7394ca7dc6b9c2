"""The former system's authorisations become powerless mandates, which the firm may renew."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

from libs.common.access.rights import Family
from libs.common.database import journal, outbox
from libs.common.database.journal import Act
from libs.common.database.transaction import Tx
from libs.common.events.identity import MandateImported, MandateTold
from libs.common.pages.formats import day
from libs.common.values.identifiers import new_id
from services.identity.delegation import former_store
from services.identity.delegation.former_store import Recalled
from services.identity.delegation.mandate import ALL

FAMILY: Family = "contributions"
"""The former system knew one access for everything; its family is where most of the work was."""


async def recall_former(tx: Tx, adherent_ids: Sequence[UUID], now: datetime) -> int:
    """Make a `legacy_lapsed` mandate of each imported authorisation of these adhérents that has none; how many.

    Cabinets the platform has not met are noted by SIREN and name only: they have no
    people, and nobody answers for them until they register. Runs again without effect.

    Records `MandateImported` for each.
    """
    unknown = {row.cabinet_siren: row for row in await former_store.unmet_cabinets(tx, adherent_ids)}
    if unknown:
        await former_store.note_cabinets(
            tx, [(new_id(), siren, row.cabinet_name) for siren, row in unknown.items()], now
        )
    recalled = [
        Recalled(
            mandate_id=new_id(),
            gesture_id=new_id(),
            adherent_id=row.adherent_id,
            cabinet_id=row.cabinet_id,
            cabinet_siren=row.cabinet_siren,
            reference=str(row.former_id),
            label=f"accordée le {day(row.granted_on)}" if row.granted_on else "",
        )
        for row in await former_store.not_recalled(tx, FAMILY, adherent_ids)
    ]
    if not recalled:
        return 0
    await former_store.begin(tx, recalled, FAMILY, now)
    await former_store.keep_versions(tx, recalled, now)
    await outbox.record_all(tx, [_fact(one, now) for one in recalled])
    await journal.record(
        tx,
        Act(
            action="mandate.imported",
            subject_kind="caisse",
            subject_id=tx.the_caisse,
            at=now,
            details={"mandates": len(recalled), "cabinets": len(unknown)},
        ),
    )
    return len(recalled)


def _fact(one: Recalled, now: datetime) -> MandateImported:
    return MandateImported(
        event_id=uuid4(),
        at=now,
        mandate=MandateTold(
            mandate_id=one.mandate_id,
            state="legacy_lapsed",
            adherent_id=one.adherent_id,
            cabinet_id=one.cabinet_id,
            cabinet_siren=one.cabinet_siren,
            family=FAMILY,
            role="observer",
            scopes=[],
            establishments=list(ALL),
        ),
    )
