"""The cabinet's live mandates that one collaborator may use, each with the power it gives."""

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx
from services.identity.cabinets import store
from services.identity.delegation.power import MandatePower, power_of
from services.identity.delegation.term import paris_day


class Client(NamedTuple):
    """One client as one collaborator sees it."""

    legal_name: str
    siren: str | None
    ends_on: date
    power: MandatePower


class Page(NamedTuple):
    clients: list[Client]
    has_more: bool


async def portfolio(
    tx: Tx,
    person_id: UUID,
    cabinet_id: UUID,
    *,
    now: datetime,
    search: str = "",
    page: int = 1,
    per_page: int = 50,
) -> Page:
    """Page `page` (from 1) of the clients in the caisse of `tx`, by name.

    `search` is part of a name, a SIREN or an adhérent number. A client in no group
    of this person is not there, as at the exchange: both ask the same statement.
    """
    per_page = min(per_page, store.LONGEST_PAGE)
    rows = await store.portfolio(
        tx,
        person_id,
        cabinet_id,
        "".join(search.split()) if search.replace(" ", "").isdigit() else search.strip(),
        now,
        paris_day(now),
        per_page + 1,
        (page - 1) * per_page,
    )
    clients = [Client(row["legal_name"], row["siren"], row["ends_on"], power_of(row)) for row in rows]
    return Page(clients[:per_page], len(clients) > per_page)
