"""The cabinet's side: its clients, and one client at a time."""

from urllib.parse import urlencode

from msgspec import Struct

from libs.common.refusals import NotFound
from services.portal.calls.services import Services, gathered
from services.portal.home.facts import (
    Attestation,
    Delegation,
    Me,
    MemberFile,
    OwnCabinet,
    Standing,
    read_as,
    read_list,
)
from services.portal.session.session import Session

PAGE = 50
EVERY = 5_000
"""Identity's longest page: enough to find one mandate again."""


class Portfolio(Struct, frozen=True):
    """One page of a cabinet's clients; on the first, what waits for an answer."""

    cabinet: OwnCabinet
    waiting: list[Delegation]
    clients: list[Delegation]
    searched: str
    page: int
    has_more: bool


class ClientPage(Struct, frozen=True):
    """One client, seen through one mandate. `None` means away, or outside the mandate."""

    mandate: Delegation
    file: MemberFile | None
    standing: Standing | None
    attestations: list[Attestation] | None


def own_cabinet(me: Me) -> OwnCabinet:
    """The cabinet the person works for. Raises `NotFound` for somebody who has none."""
    if not me.cabinets:
        raise NotFound
    return me.cabinets[0]


async def portfolio(
    services: Services, session: Session, cabinet: OwnCabinet, *, searched: str = "", page: int = 1
) -> Portfolio:
    """The clients whose name, SIREN or number contains `searched`. Raises `ServiceDown`, `NotAllowed`."""
    query = {"search": searched, "page": page, "per_page": PAGE}
    told = await services.get(session, "identity", f"{_address(cabinet)}?{urlencode(query)}")
    every = read_list(Delegation, told, "clients") or []
    return Portfolio(
        cabinet=cabinet,
        waiting=[one for one in every if one.state != "active"] if page == 1 and not searched else [],
        clients=[one for one in every if one.state == "active"],
        searched=searched,
        page=page,
        has_more=bool(told.get("has_more", False)),
    )


async def client_page(
    services: Services, session: Session, cabinet: OwnCabinet, mandate_id: str
) -> ClientPage:
    """One client, through delegated tokens. Raises `NotFound`, `MandateOver`, `SessionOver`."""
    mandate = await find_client(services, session, cabinet, mandate_id)
    path = f"/adherents/{mandate.adherent_id}"
    told = await gathered(
        {
            "file": services.get(session, "adherent", path, mandate=mandate_id),
            "standing": services.get(session, "adherent", f"{path}/standing", mandate=mandate_id),
            "attestations": services.get(session, "documents", f"{path}/attestations", mandate=mandate_id),
        }
    )
    return ClientPage(
        mandate=mandate,
        file=read_as(MemberFile, told["file"]),
        standing=read_as(Standing, told["standing"]),
        attestations=read_list(Attestation, told["attestations"], "attestations"),
    )


async def find_client(
    services: Services, session: Session, cabinet: OwnCabinet, mandate_id: str
) -> Delegation:
    """The mandate, if this collaborator may use it. Raises `NotFound`: unknown and foreign are one answer."""
    told = await services.get(session, "identity", f"{_address(cabinet)}?per_page={EVERY}")
    for mandate in read_list(Delegation, told, "clients") or []:
        if mandate.id == mandate_id and mandate.state == "active":
            return mandate
    raise NotFound


def _address(cabinet: OwnCabinet) -> str:
    return f"/api/cabinets/{cabinet.cabinet_id}/portfolio"
