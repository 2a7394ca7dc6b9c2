"""Eligibility over HTTP: the documents service asks the adherent service in its own name."""

from uuid import UUID

import structlog

from libs.common.access.service_client import ApiUnavailable, ServiceClient, TokenRefused
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.documents.attestations.eligibility import EligibilityUnavailable, Judgement, read_judgement

log = structlog.get_logger()

SCOPE = "standing.read"


class AskAdherent:
    """`base` is the adherent service's address; `client` holds our key at the issuer."""

    def __init__(self, client: ServiceClient | None, base: str) -> None:
        self._client = client
        self._base = base

    async def judge(self, caisse: CaisseSlug, adherent_id: UUID) -> Judgement:
        """The standing now. Raises `NotFound` for an unknown firm.

        Anything else than an answer (outage, our own client refused, a shape we do
        not read) is `EligibilityUnavailable`: never a refusal (domain.md, invariant 2).
        """
        if self._client is None:
            raise EligibilityUnavailable("no client key")
        resource = f"{self._base}/{caisse}"
        try:
            answer = await self._client.request(
                "GET",
                f"{resource}/adherents/{public_id('adh', adherent_id)}/standing",
                caisse=caisse,
                resource=resource,
                scope=SCOPE,
            )
        except (ApiUnavailable, TokenRefused) as error:
            raise EligibilityUnavailable(type(error).__name__) from error
        if answer.status_code == 404:
            raise NotFound
        if answer.status_code != 200:
            log.error("eligibility.refused", status=answer.status_code, caisse=caisse)
            raise EligibilityUnavailable(str(answer.status_code))
        return read_judgement(answer.content)
