"""The letters' administration, for programs and for the desk."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database import journal
from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.documented import needs, refusals
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import Unavailable
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import public_id
from services.identity.caisses.caisse import Caisse
from services.identity.letters.issue_pair import issue_pair
from services.identity.letters.make import LettersBeingMade, NobodyToWriteTo
from services.identity.letters.paper_secret import PaperSecrets
from services.identity.letters.post_lot import NotToBePosted
from services.identity.letters.print_lot import LotPurged, NoSuchLot
from services.identity.letters.redeem import PairNotUsable

PROBLEMS.update(
    {
        PairNotUsable: Problem(
            422,
            "letters-not-usable",
            "Ces informations ne permettent pas d'ouvrir un espace. Vérifiez vos deux courriers.",
        ),
        NobodyToWriteTo: Problem(
            404, "no-such-adherent", "Aucun adhérent de cette caisse ne porte ce numéro."
        ),
        LettersBeingMade: Problem(
            409, "letters-being-made", "Des courriers viennent d'être demandés pour cet adhérent."
        ),
        NoSuchLot: Problem(404, "no-such-lot", "Aucun lot de cette caisse ne porte ce numéro."),
        LotPurged: Problem(410, "lot-purged", "Ce lot a été posté et effacé."),
        NotToBePosted: Problem(
            409, "lot-not-to-be-posted", "Ce lot ne peut pas encore être posté, ou l'est déjà."
        ),
    }
)


class LetterPairWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of the request."""

    adherent_number: Annotated[str, msgspec.Meta(pattern="^[^\\u0000-\\u001f]{1,40}$")]


class PrintedAt(msgspec.Struct, frozen=True):
    """Where one letter is: a lot and a page. Never what it says."""

    lot: str
    page: int


class LetterPairIssued(msgspec.Struct, frozen=True, kw_only=True):
    """Answer: 201."""

    id: str
    adherent_number: str
    identifiant: PrintedAt
    code_confidentiel: PrintedAt
    valid_until: datetime | None


@post(
    "/admin/letter-pairs",
    access=Scopes("letters.issue", delegable=False),
    security=needs("letters.issue"),
    responses=refusals(409, body=True),
    tags=["letters"],
    status_code=201,
)
async def issue_letter_pair(
    data: JSONBody[LetterPairWanted],
    caisse: NamedDependency[Caisse],
    settings: NamedDependency[Settings],
    db: NamedDependency[Database],
    keys: NamedDependency[KeyEncryption],
    paper: NamedDependency[PaperSecrets],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> LetterPairIssued:
    """Make or reissue the two letters of one adhérent, to its address of record alone."""
    if settings.post_office is None:
        raise Unavailable("no print shop is configured (post_office)")
    now = clock()
    issued = await issue_pair(
        db,
        caisse,
        paper,
        keys,
        adherent_number=data.adherent_number,
        portal=settings.portal.base,
        post_office=settings.post_office,
        posts_at_once=settings.demonstration,
        now=now,
    )
    async with db.transaction(caisse.slug) as tx:
        await journal.record(
            tx,
            journal.Act(
                action="letters.issued",
                subject_kind="letter_pair",
                subject_id=str(issued.pair.pair_id),
                at=now,
                actor=journal.Actor(person_id=token.person_id, token_jti=token.jti),
                details={"client_id": token.client_id},
            ),
        )
    return LetterPairIssued(
        id=public_id("ltr", issued.pair.pair_id),
        adherent_number=issued.pair.adherent_number,
        identifiant=PrintedAt(public_id("lot", issued.pair.identifiant_lot), issued.pair.page),
        code_confidentiel=PrintedAt(public_id("lot", issued.pair.code_lot), issued.pair.page),
        valid_until=issued.valid_until,
    )


ROUTES = [issue_letter_pair]
