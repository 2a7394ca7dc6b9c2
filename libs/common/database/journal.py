"""Who did what, for whom, under which mandate: written with the act itself."""

import hashlib
from datetime import datetime
from uuid import UUID

import msgspec

from libs.common.database.transaction import Tx
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever acted: a person, and, for a delegated act, the cabinet and the mandate it used."""

    person_id: UUID | None = None
    cabinet_id: UUID | None = None
    mandate_id: UUID | None = None
    mandate_version: int | None = None
    token_jti: str | None = None


THE_SYSTEM = Actor()
"""A clock or a reaction: nobody's hand."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal. `details` never holds a secret, a code or an e-mail."""

    action: str
    subject_kind: str
    subject_id: str
    at: datetime
    actor: Actor = THE_SYSTEM
    adherent_id: UUID | None = None
    details: dict[str, str | int | bool | list[str] | None] = {}


APPEND = """
INSERT INTO journal (caisse, id, at, action, subject_kind, subject_id, adherent_id,
                     person_id, cabinet_id, mandate_id, mandate_version, token_jti, details)
VALUES (set_config('espace.caisse', $1, true), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::jsonb)
"""
"""One line, with `values_of`; it sets its own caisse, so it may be a statement by itself."""


def values_of(act: Act, caisse: CaisseSlug) -> tuple[object, ...]:
    return (
        caisse,
        new_id(),
        act.at,
        act.action,
        act.subject_kind,
        act.subject_id,
        act.adherent_id,
        act.actor.person_id,
        act.actor.cabinet_id,
        act.actor.mandate_id,
        act.actor.mandate_version,
        act.actor.token_jti,
        msgspec.json.encode(act.details).decode(),
    )


APPEND_ONCE = f"{APPEND} ON CONFLICT (id) DO NOTHING"
"""One line, unless it is there, with `values_once`."""


def id_once(act: Act, what: str, caisse: CaisseSlug) -> UUID:
    """The id of the one line a minute that tells `what` of the act's subject: whoever asks to be refused a thousand
    times a second fills a line, and a figure of /metrics.
    """
    minute = int(act.at.timestamp()) // 60
    said = f"{caisse}/{act.action}/{act.subject_kind}/{act.subject_id}/{what}/{minute}"
    # RFC 9562 §5.8: the bits of version 8, which Python 3.11 does not set by itself.
    drawn = int.from_bytes(hashlib.sha256(said.encode()).digest()[:16])
    return UUID(int=drawn & ~(0xF << 76 | 0x3 << 62) | 0x8 << 76 | 0x2 << 62)


def values_once(act: Act, what: str, caisse: CaisseSlug) -> tuple[object, ...]:
    slug, _, *others = values_of(act, caisse)
    return slug, id_once(act, what, caisse), *others


async def record_once(tx: Tx, act: Act, what: str) -> bool:
    """As `record`, at most one line a minute for this subject and `what`, which no caller chooses freely.

    False when the line of this minute was there: what goes with it was told with it.
    """
    return await tx.execute(APPEND_ONCE, *values_once(act, what, tx.the_caisse)) == 1


async def record(tx: Tx, act: Act) -> None:
    """Append `act`; the application role can neither change nor delete it afterwards."""
    await tx.execute(APPEND, *values_of(act, tx.the_caisse))
