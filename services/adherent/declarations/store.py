"""What must be declared, and what was."""

from collections.abc import Sequence
from datetime import date

import msgspec

from libs.common.database.transaction import Tx


class DeclarationToKeep(msgspec.Struct, frozen=True, kw_only=True):
    """A declaration due for a period; `filed_on` is absent while it is awaited."""

    adherent_number: str
    period: str
    kind: str
    due_on: date
    filed_on: date | None = None
    establishment_siret: str | None = None


async def keep_declarations(tx: Tx, declarations: Sequence[DeclarationToKeep]) -> None:
    await tx.executemany(
        """
        INSERT INTO declaration (caisse, adherent_number, period, kind, establishment_siret, due_on, filed_on)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (caisse, adherent_number, period, kind, establishment_siret) DO UPDATE
           SET due_on = excluded.due_on, filed_on = excluded.filed_on
        """,
        [
            (
                tx.the_caisse,
                one.adherent_number,
                one.period,
                one.kind,
                one.establishment_siret,
                one.due_on,
                one.filed_on,
            )
            for one in declarations
        ],
    )
