"""Qui a fait quoi pour mon entreprise: the acts of every service, newest first."""

from typing import Any

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
    return merged_acts(told["adherent"], told["documents"])
