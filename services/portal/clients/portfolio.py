"""The cabinet's side: its clients, and one client at a time."""

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


class Portfolio(Struct, frozen=True):
    """The clients of one cabinet, filtered and cut in pages of `PAGE`."""

    cabinet: OwnCabinet
    clients: list[Delegation]
    searched: str
    found: int
    page: int
    pages: int


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
    """The clients whose name, SIREN or number contains `searched`, waiting ones first. Raises `ServiceDown`."""
    every = await _mandates(services, session, cabinet)
    wanted = _folded(searched)
    found = [client for client in every if wanted in _folded(_words(client))]
    found.sort(key=lambda client: (client.state != "offered", client.legal_name))
    pages = max(1, -(-len(found) // PAGE))
    page = min(max(1, page), pages)
    return Portfolio(
        cabinet=cabinet,
        clients=found[(page - 1) * PAGE : page * PAGE],
        searched=searched,
        found=len(found),
        page=page,
        pages=pages,
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
    """The mandate, if the cabinet has it. Raises `NotFound`: unknown and foreign are one answer."""
    for mandate in await _mandates(services, session, cabinet):
        if mandate.id == mandate_id:
            return mandate
    raise NotFound


async def _mandates(services: Services, session: Session, cabinet: OwnCabinet) -> list[Delegation]:
    told = await services.get(session, "identity", f"/api/cabinets/{cabinet.cabinet_id}/portfolio")
    return read_list(Delegation, told, "clients") or []


def _words(client: Delegation) -> str:
    return f"{client.legal_name} {client.siren or ''} {client.adherent_number}"


def _folded(text: str) -> str:
    return "".join(text.casefold().split())
