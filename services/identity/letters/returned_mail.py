"""The file of letters that came back: each marks its pair undeliverable, and kills both halves."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from libs.common.database import journal
from libs.common.database.transaction import Tx
from libs.common.values.identifiers import InvalidPublicId, parse_public_id
from services.identity.letters import store

_LINE = re.compile(r"(?P<lot>lot_[0-9A-Z]{26})[/;](?P<page>[0-9]{1,6})(?:;(?P<reason>.*))?")


class Returned(NamedTuple):
    """One line of the file: `lot_01J…/12;NPAI`, as the scanner reads the mark."""

    line: int
    text: str


class ReturnsRead(NamedTuple):
    marked: int
    unknown: list[int]
    """Lines that name no live pair: already dead, or not ours."""
    unreadable: list[int]


async def mark_returned(tx: Tx, lines: Iterable[str], *, now: datetime) -> ReturnsRead:
    """Read a file of returns twice without effect: a dead pair dies only once."""
    marked, unknown, unreadable = 0, list[int](), list[int]()
    for line in _lines(lines):
        match = _LINE.fullmatch(line.text)
        try:
            lot_id = parse_public_id("lot", match["lot"]) if match else None
        except InvalidPublicId:
            lot_id = None
        if match is None or lot_id is None:
            unreadable.append(line.line)
            continue
        reason = (match["reason"] or "NPAI").strip()[:60]
        adherent_id = await store.mark_undeliverable(tx, lot_id, int(match["page"]), reason, now)
        if adherent_id is None:
            unknown.append(line.line)
            continue
        marked += 1
        await journal.record(
            tx,
            journal.Act(
                action="letters.undeliverable",
                subject_kind="adherent",
                subject_id=str(adherent_id),
                adherent_id=adherent_id,
                at=now,
                details={"reason": reason},
            ),
        )
    return ReturnsRead(marked, unknown, unreadable)


def _lines(lines: Iterable[str]) -> Iterator[Returned]:
    for number, text in enumerate(lines, start=1):
        if stripped := text.strip().lstrip("\ufeff"):
            yield Returned(number, stripped)
