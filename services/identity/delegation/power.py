"""What one person may do under one mandate at one instant: a single question, one answer.

Exchange, portfolio and simulator all ask here, so they cannot disagree. An
unknown, foreign, pending or dead mandate, a colleague who left, a client in no
group of this person: each answers nothing at all, and alike.
"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.access.rights import PAYMENT_ORDER, Family, Role
from libs.common.database.one_statement import Reader
from libs.common.database.transaction import Row
from services.identity.delegation import store
from services.identity.delegation.term import end_of, paris_day


class MandatePower(NamedTuple):
    """Power in force: the mandate narrowed by the access group through which it is seen.

    `establishments` holds public ids, or `*`; `not_after` is the earlier of the
    mandate's end and the group's, exclusive; `group_id` is None where the cabinet
    opened everything to everybody.
    """

    mandate_id: UUID
    version: int
    adherent_id: UUID
    adherent_number: str
    family: Family
    role: Role
    scopes: frozenset[str]
    establishments: tuple[str, ...]
    not_after: datetime
    amount_cap_cents: int | None
    cabinet_id: UUID
    cabinet_siren: str
    group_id: UUID | None
    machine: bool


async def power_for_exchange(
    read: Reader, mandate_id: UUID, person_id: UUID, now: datetime
) -> MandatePower | None:
    """The power that `person_id` holds under `mandate_id` at `now`; None without a reason."""
    return joined_power(await store.power(read, mandate_id, person_id, now, paris_day(now)))


def joined_power(row: Row) -> MandatePower | None:
    """What a LEFT JOIN of `store.POWER` found."""
    return None if row["mandate_id"] is None else power_of(row)


def power_of(row: Row) -> MandatePower:
    """Read one row of `store.POWER`, joined or alone."""
    ends_at = end_of(row["ends_on"])
    if row["group_ends_at"] is not None:
        ends_at = min(ends_at, row["group_ends_at"])
    return MandatePower(
        mandate_id=row["mandate_id"],
        version=row["mandate_version"],
        adherent_id=row["mandator_id"],
        adherent_number=row["mandator_number"],
        family=row["family"],
        role=row["role"],
        scopes=narrowed(row["scopes"], row["group_scopes"]),
        establishments=tuple(row["establishments"]),
        not_after=ends_at,
        amount_cap_cents=row["amount_cap_cents"],
        cabinet_id=row["cabinet_id"],
        cabinet_siren=row["cabinet_siren"],
        group_id=row["group_id"],
        machine=row["machine"],
    )


def machine_power_of(row: Row) -> MandatePower | None:
    """The same row, its person being the sponsor of a machine: what the sponsor holds, orders of payment apart.

    An order is stepped up each time (delegation.md §1) and a machine has no second factor; the firm that lets the
    cabinet's software act is told "never to order a payment".
    """
    power = joined_power(row)
    return power and power._replace(scopes=power.scopes - {PAYMENT_ORDER}, amount_cap_cents=None)


def narrowed(scopes: Collection[str], *masks: Collection[str] | None) -> frozenset[str]:
    """The intersection of all inputs; a mask that is None narrows nothing."""
    granted = frozenset(scopes)
    for mask in masks:
        if mask is not None:
            granted &= frozenset(mask)
    return granted
