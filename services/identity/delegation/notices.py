"""Security notices: power given or taken is told to those it concerns, by a mail of its own."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from libs.common.database.transaction import Tx
from libs.common.values.identifiers import public_id
from services.identity.delegation import store
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.wording import sentence
from services.identity.mail.enqueue import Mail

OFFERS_TOLD_A_DAY: Final = 3
"""Of one firm to one cabinet: as many as a slip and its correction take."""


class Notices:
    """Writes to the firm's administrators and to the cabinet's; `base` is identity's public address."""

    def __init__(self, mail: Mail, base: str) -> None:
        self._mail = mail
        self._base = base.rstrip("/")

    async def offered(self, tx: Tx, mandates: Sequence[Mandate], now: datetime) -> None:
        """Ask the cabinet for its answer: one mail for one gesture.

        Offers made and withdrawn in turn fill no mailbox (P8); one that no mail tells waits in the cabinet's portfolio.
        """
        firm, cabinet = mandates[0].adherent_id, mandates[0].cabinet_id
        if await store.offers_since(tx, firm, cabinet, now - timedelta(days=1)) <= OFFERS_TOLD_A_DAY:
            await self._to_cabinet(tx, "mandate_offered", mandates, now)

    async def requested(self, tx: Tx, mandates: Sequence[Mandate], now: datetime) -> None:
        """Ask the firm for its answer."""
        await self._to_firm(tx, "mandate_requested", mandates, now)

    async def activated(self, tx: Tx, mandate: Mandate, now: datetime) -> None:
        """Tell the firm that its cabinet may act from now on."""
        await self._to_firm(tx, "mandate_given", [mandate], now)

    async def revoked(self, tx: Tx, mandate: Mandate, now: datetime) -> None:
        """Tell both that the power is gone."""
        await self._to_firm(tx, "mandate_ended", [mandate], now)
        await self._to_cabinet(tx, "mandate_ended", [mandate], now)

    async def resigned(self, tx: Tx, mandate: Mandate, now: datetime) -> None:
        """Tell the firm that its cabinet gave up."""
        await self._to_firm(tx, "mandate_ended", [mandate], now)

    async def _to_firm(self, tx: Tx, template: str, mandates: Sequence[Mandate], now: datetime) -> None:
        path = f"delegations/{public_id('mdt', mandates[0].id)}"
        recipients = await store.administrators_to_tell(tx, mandates[0].adherent_id)
        await self._send(tx, template, mandates, recipients, path, now)

    async def _to_cabinet(self, tx: Tx, template: str, mandates: Sequence[Mandate], now: datetime) -> None:
        path = f"cabinet/mandates/{public_id('mdt', mandates[0].id)}"
        recipients = await store.cabinet_admins_to_tell(tx, mandates[0].cabinet_id)
        await self._send(tx, template, mandates, recipients, path, now)

    async def _send(
        self,
        tx: Tx,
        template: str,
        mandates: Sequence[Mandate],
        recipients: Sequence[str],
        path: str,
        now: datetime,
    ) -> None:
        first = mandates[0]
        names = await store.names_of(tx, first.id)
        values = {
            "firm": names.firm,
            "cabinet": names.cabinet,
            "link": f"{self._base}/{tx.the_caisse}/{path}",
        }
        if template == "mandate_ended":
            values["at"] = now.isoformat()
        else:
            values["rights"] = sentence(scope for mandate in mandates for scope in mandate.scopes)
            values["ends_on"] = first.ends_on.isoformat() if first.ends_on else ""
        for address in recipients:
            await self._mail.enqueue(tx, template=template, to=address, values=values, now=now)
