"""One click, one attestation: the page's own key makes a second click find the first answer."""

from typing import Final

import msgspec
from msgspec import Struct

from services.portal.calls.services import Services
from services.portal.home.facts import Attestation, Reason
from services.portal.session.session import Session

KIND: Final = "up_to_date"


class Refused(Struct, frozen=True):
    """Why the caisse does not attest: each reason with its remedy."""

    reasons: list[Reason] = []


async def request_attestation(
    services: Services, session: Session, adherent: str, *, request_key: str, mandate: str = ""
) -> Attestation | Refused:
    """Ask the documents service, for one's own firm or on a mandate (`mdt_…`).

    `request_key` was drawn when the page was shown, and is sent as `Idempotency-Key`. Raises `NotAllowed`,
    `MandateOver`, `SessionOver`, `ServiceDown`.
    """
    answer = await services.call(
        session,
        "documents",
        "POST",
        f"/adherents/{adherent}/attestations",
        mandate=mandate,
        body={"kind": KIND},
        headers={"Idempotency-Key": request_key},
    )
    if answer.status < 300:
        return msgspec.convert(answer.body, Attestation, strict=False)
    return msgspec.convert(answer.body, Refused, strict=False)
