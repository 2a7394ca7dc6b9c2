"""Qui a fait quoi pour mon entreprise: the acts of every service, newest first, with the names of their authors."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from services.portal.calls.services import Services, gathered
from services.portal.home.facts import Act, OwnAccount, read_list
from services.portal.session.session import Session


def merged_acts(*told: Any) -> list[Act] | None:
    """The acts of the services that answered; `None` when none did."""
    lists = [acts for acts in (read_list(Act, one, "acts") for one in told) if acts is not None]
    if not lists:
        return None
    return sorted((act for acts in lists for act in acts), key=lambda act: act.at, reverse=True)


async def every_act(services: Services, session: Session, account: OwnAccount) -> list[Act] | None:
    """All that was done for the firm. Raises `SessionOver`."""
    path = f"/adherents/{account.adherent_id}/acts"
    told = await gathered(
        {
            "adherent": services.get(session, "adherent", path),
            "documents": services.get(session, "documents", path),
        }
    )
    acts = merged_acts(told["adherent"], told["documents"])
    return await named(services, session, account, acts) if acts else acts


async def named(services: Services, session: Session, account: OwnAccount, acts: Sequence[Act]) -> list[Act]:
    """The acts with names in place of public ids. Identity away leaves the ids out, never the acts."""
    ids = sorted({one for act in acts for one in (act.person, act.machine, act.cabinet) if one})
    known: dict[str, str] = {}
    if ids:
        path = f"/api/adherents/{account.adherent_id}/names?ids={quote(','.join(ids))}"
        told = await gathered({"names": services.get(session, "identity", path)})
        if told["names"] is not None:
            known = msgspec.convert(told["names"]["names"], dict[str, str])
    return [
        msgspec.structs.replace(
            act,
            person=known.get(act.person or ""),
            machine=known.get(act.machine or "", act.machine and ""),
            cabinet=known.get(act.cabinet or "", act.cabinet and ""),
        )
        for act in acts
    ]
