"""Standing as the adherent service judges it, without the wire between."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from libs.common.database.pool import Database
from libs.common.values.caisse_slug import CaisseSlug
from services.adherent.standing.judge import judge_standing
from services.documents.attestations.eligibility import Eligibility, Judgement, read_judgement


class JudgedHere(Eligibility):
    """The real judgement, in this process; `asked` counts the questions."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.asked = 0

    async def judge(self, caisse: CaisseSlug, adherent_id: UUID) -> Judgement:
        self.asked += 1
        async with self._db.transaction(caisse) as tx:
            standing = await judge_standing(tx, adherent_id, now=datetime.now(UTC))
        return read_judgement(msgspec.json.encode(standing))
