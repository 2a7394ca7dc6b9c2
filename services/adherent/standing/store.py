"""Everything a judgement rests on, read by one statement: one instant, one snapshot."""

from datetime import date
from uuid import UUID

import msgspec

from libs.common.database.transaction import Tx
from services.adherent.contributions.store import IMPUTED


class JudgedMember(msgspec.Struct, frozen=True, kw_only=True):
    """One adhérent of the legal unit, as its file stood."""

    id: UUID
    adherent_number: str
    siren: str | None
    siret: str | None
    legal_name: str
    state: str
    version: int


class DueDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """A declaration whose due date has passed, filed or not."""

    adherent_number: str
    period: str
    kind: str
    establishment_siret: str | None
    due_on: date
    filed_on: date | None


class DueStatement(msgspec.Struct, frozen=True, kw_only=True):
    """A statement whose due date has passed, and what settled payments cover of it."""

    adherent_number: str
    period: str
    kind: str
    establishment_siret: str | None
    amount_cents: int
    paid_cents: int
    due_on: date
    collection: str


class StandingInputs(msgspec.Struct, frozen=True, kw_only=True):
    """The rows a judgement rests on; frozen with the attestation they justify."""

    members: list[JudgedMember]
    declarations: list[DueDeclaration]
    statements: list[DueStatement]
    contributions_known: bool
    """False while the caisse's accounts were never loaded, or are being so: nothing can then be said."""


OF_THE_UNIT = IMPUTED.format(whose="unit", day="$2")


async def read_inputs(tx: Tx, member_id: UUID, day: date) -> StandingInputs:
    """The whole legal unit of `member_id`, as due before `day` and received by its end.

    Adhérents sharing the SIREN in this caisse are judged together; without a
    SIREN, the adhérent alone. No member gives empty lists. Payments are imputed in turn (`IMPUTED`).
    """
    text: str = await tx.fetchval(
        f"""
        WITH unit AS (
            SELECT m.id, m.adherent_number, m.siren, m.siret, m.legal_name, m.state, m.version
              FROM member AS asked
              JOIN member AS m ON m.id = asked.id OR m.siren = asked.siren
             WHERE asked.id = $1
        ), filed AS (
            SELECT d.adherent_number, d.period, d.kind, d.establishment_siret, d.due_on,
                   CASE WHEN d.filed_on <= $2 THEN d.filed_on END AS filed_on
              FROM declaration AS d
              JOIN unit ON unit.adherent_number = d.adherent_number
             WHERE d.due_on < $2
        ), {OF_THE_UNIT}, owed AS (
            SELECT * FROM imputed WHERE due_on < $2
        )
        SELECT jsonb_build_object(
            'members', coalesce((SELECT jsonb_agg(unit ORDER BY unit.adherent_number) FROM unit), '[]'),
            'declarations', coalesce((SELECT jsonb_agg(filed ORDER BY filed.due_on, filed.adherent_number,
                                                       filed.period, filed.kind, filed.establishment_siret)
                                        FROM filed), '[]'),
            'statements', coalesce((SELECT jsonb_agg(owed ORDER BY owed.due_on, owed.adherent_number,
                                                     owed.period, owed.kind, owed.establishment_siret)
                                      FROM owed), '[]'),
            'contributions_known', (EXISTS (SELECT FROM statement) OR EXISTS (SELECT FROM declaration))
                                   AND NOT EXISTS (SELECT FROM accounts_loading)
        )::text
        """,
        member_id,
        day,
    )
    return msgspec.json.decode(text, type=StandingInputs)
