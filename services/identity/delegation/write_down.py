"""A mandate moves: the row, its history, the fact, the floor and the journal, or none of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import msgspec

from libs.common.database import journal, outbox
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Tx
from libs.common.events import identity as facts
from libs.common.events.envelope import Event as Fact
from libs.common.values.identifiers import public_id
from services.identity.delegation import store
from services.identity.delegation.mandate import FIRST, SHRINKS, Event, Mandate, target_of
from services.identity.delegation.parties import Hand

FACTS: Final[Mapping[Event, type[Fact]]] = {
    "imported": facts.MandateImported,
    "requested": facts.MandateRequested,
    "offered": facts.MandateOffered,
    "activated": facts.MandateActivated,
    "declined": facts.MandateDeclined,
    "withdrawn": facts.MandateWithdrawn,
    "expired": facts.MandateExpired,
    "narrowed": facts.MandateNarrowed,
    "widened": facts.MandateWidened,
    "renewed": facts.MandateRenewed,
    "suspended": facts.MandateSuspended,
    "resumed": facts.MandateResumed,
    "replaced": facts.MandateReplaced,
    "revoked": facts.MandateRevoked,
    "resigned": facts.MandateResigned,
    "ended": facts.MandateEnded,
    "voided": facts.MandateVoided,
}


async def begin(tx: Tx, mandate: Mandate, event: Event, by: Hand, now: datetime) -> bool:
    """Write a new mandate in the first state of `event`; False when a live twin stands in the way."""
    if FIRST[event] != mandate.state:
        raise ValueError(f"{event} does not begin as {mandate.state}")
    if not await store.begin(tx, mandate):
        return False
    await _tell(tx, mandate, event, by, now, {})
    return True


async def move(
    tx: Tx,
    before: Mandate,
    event: Event,
    by: Hand,
    now: datetime,
    *,
    told: Mapping[str, Any] | None = None,
    **terms: Any,
) -> Mandate:
    """Take `before` to its next version, whole, in the open transaction.

    `terms` are the columns that change beside state and version; `told` goes into
    the fact only. Where power shrinks, a floor is raised under the tokens of older
    versions. Raises `NotPossible`, `WrongSide`, `Lapsed`, and `MandateChanged` when
    somebody else moved it first.
    """
    settled: dict[str, Any] = {"answer_by": None, "suspended_by": None, **terms}
    after = msgspec.structs.replace(
        before,
        state=target_of(before, event, by.side, now),
        version=before.version + 1,
        state_at=now,
        **settled,
    )
    await store.advance(tx, before, after)
    await _tell(tx, after, event, by, now, told or {})
    if event in SHRINKS:
        await outbox.record(
            tx,
            facts.FloorRaised(
                event_id=uuid4(),
                at=now,
                kind="mandate",
                key=public_id("mdt", after.id),
                version=after.version,
                not_before=now,
            ),
        )
    return after


async def _tell(
    tx: Tx, mandate: Mandate, event: Event, by: Hand, now: datetime, told: Mapping[str, Any]
) -> None:
    await store.keep_version(tx, mandate, event, by.side, by.person_id, now)
    kind = FACTS[event]
    members: dict[str, Any] = dict(told)
    if "person_id" in kind.__struct_fields__:
        members["person_id"] = by.person_id
    await outbox.record(
        tx,
        kind(
            event_id=uuid4(),
            at=now,
            version=mandate.version,
            mandate=await _as_told(tx, mandate),  # type: ignore[call-arg]
            **members,
        ),
    )
    acting_cabinet = mandate.cabinet_id if by.side == "cabinet" else None
    await journal.record(
        tx,
        Act(
            action=f"mandate.{event}",
            subject_kind="mandate",
            subject_id=public_id("mdt", mandate.id),
            at=now,
            actor=Actor(person_id=by.person_id, cabinet_id=acting_cabinet),
            adherent_id=mandate.adherent_id,
            details={
                "version": mandate.version,
                "side": by.side,
                "cabinet": public_id("cab", mandate.cabinet_id),
                "family": mandate.family,
                "role": mandate.role,
                "scopes": list(mandate.scopes),
                **{name: str(value) for name, value in told.items()},
            },
        ),
    )


async def _as_told(tx: Tx, mandate: Mandate) -> facts.MandateTold:
    return facts.MandateTold(
        mandate_id=mandate.id,
        state=mandate.state,
        adherent_id=mandate.adherent_id,
        cabinet_id=mandate.cabinet_id,
        cabinet_siren=await store.siren_of_cabinet(tx, mandate.cabinet_id),
        family=mandate.family,
        role=mandate.role,
        scopes=list(mandate.scopes),
        establishments=list(mandate.establishments),
        starts_on=mandate.starts_on,
        ends_on=mandate.ends_on,
        amount_cap_cents=mandate.amount_cap_cents,
        machine=mandate.machine,
    )
