"""A process that issues one attestation and is killed while it does: run by test_killed.py."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from libs.common.database.pool import Database
from libs.common.events.documents import ActedBy
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from services.documents.attestations.files import Files
from services.documents.attestations.issue import Workshop, issue_attestation
from services.documents.attestations.permission import MayRequestAttestation
from services.documents.attestations.press import Press
from tests.documents.judging import JudgedHere


class Order(msgspec.Struct):
    """What to issue, and where."""

    documents_dsn: str
    adherent_dsn: str
    files: str
    base: str
    caisse: CaisseSlug
    firm: UUID
    request_key: str


async def main(order: Order) -> None:
    keys = KeyEncryption(b"k" * 32)
    db = await Database.open(order.documents_dsn, name="killed")
    accounts = await Database.open(order.adherent_dsn, name="killed")
    shop = Workshop(db, keys, Files.in_folder(Path(order.files), keys), Press(), order.base)
    issued = await issue_attestation(
        shop,
        JudgedHere(accounts),
        MayRequestAttestation(order.caisse, order.firm, ActedBy(client_id="portal")),
        kind="up_to_date",
        request_key=order.request_key,
        now=datetime.now(UTC),
    )
    print(issued.payload.id, flush=True)


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)))
