"""A workshop on this file's database, judged by the real adherent service's own rules."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from libs.common.access.resource_server import ResourceServer
from libs.common.database.pool import Database
from libs.common.events.identity import CaisseAdded
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.adherent.contributions.store import (
    PaymentToKeep,
    StatementToKeep,
    keep_payments,
    keep_statements,
)
from services.adherent.member_file.hear_of_member import hear_of_member
from services.documents.app import create_app
from services.documents.attestations.files import Files
from services.documents.attestations.issue import Workshop
from services.documents.attestations.press import Press
from services.documents.caisses.hear_of_caisse import hear_of_caisse
from tests.adherent.callers import OneIssuer, says_standing, served
from tests.adherent.members import a_member, a_siren
from tests.documents.judging import JudgedHere

HERE = CaisseSlug("mediterranee")
ELSEWHERE = CaisseSlug("grand-ouest")


class Firms:
    """Makes members whose accounts are known, settled or not."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._seeds = iter(range(20_000_000, 99_999_999, 11))

    async def settled(self, name: str = "MAÇONNERIE DUPRÉ & FILS", *, caisse: CaisseSlug = HERE) -> UUID:
        """Up to date: one statement, paid."""
        number = f"{next(self._seeds)}"
        member = a_member(number=number, siren=a_siren(int(number)), name=name)
        statement = StatementToKeep(
            adherent_number=number,
            period="2026-01",
            kind="contributions",
            amount_cents=100_00,
            due_on=date(2026, 3, 15),
        )
        payment = PaymentToKeep(
            reference=f"VIR-{number}",
            adherent_number=number,
            period="2026-01",
            kind="contributions",
            amount_cents=100_00,
            received_on=date(2026, 3, 1),
        )
        async with self._db.transaction(caisse) as tx:
            await hear_of_member(tx, member)
            await keep_statements(tx, [statement])
            await keep_payments(tx, [payment])
        return member.adherent_id

    async def late(self) -> UUID:
        """One statement unpaid."""
        number = f"{next(self._seeds)}"
        member = a_member(number=number, siren=a_siren(int(number)))
        statement = StatementToKeep(
            adherent_number=number,
            period="2026-08",
            kind="contributions",
            amount_cents=1_234_56,
            due_on=date(2026, 10, 15),
        )
        async with self._db.transaction(HERE) as tx:
            await hear_of_member(tx, member)
            await keep_statements(tx, [statement])
        return member.adherent_id


@pytest.fixture(scope="module")
def firms(adherent_db: Database) -> Firms:
    return Firms(adherent_db)


@pytest.fixture(scope="module")
def eligibility(adherent_db: Database) -> JudgedHere:
    return JudgedHere(adherent_db)


@pytest.fixture(scope="module")
async def shop(
    settings: Settings, documents_db: Database, keys: KeyEncryption, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Workshop]:
    """Two caisses are known; their seals are made at the first paper."""
    for slug, name in ((HERE, "Caisse de la région Méditerranée"), (ELSEWHERE, "Caisse du Grand Ouest")):
        await a_caisse(documents_db, keys, settings.documents.base, slug, name)
    folder: Path = settings.files or tmp_path_factory.mktemp("files")
    press = Press()
    yield Workshop(documents_db, keys, Files.in_folder(folder, keys), press, settings.documents.base)
    press.close()


async def a_caisse(db: Database, keys: KeyEncryption, base: str, slug: CaisseSlug, name: str) -> None:
    told = CaisseAdded(
        event_id=new_id(),
        at=datetime.now(UTC),
        name=f"Congés Intempéries BTP – {name}",
        siren=a_siren(77569012),
        address=["1 PLACE DU MARCHÉ", "13001 MARSEILLE"],
        phone="04 91 00 00 00",
        email=f"contact@{slug}.example.test",
        website="",
        colour="#0b4a6f",
    )
    async with db.transaction(slug) as tx:
        await hear_of_caisse(tx, told, keys, base)


@pytest.fixture(scope="session")
def issuer() -> OneIssuer:
    return OneIssuer()


@pytest.fixture(scope="module")
async def documents_api(
    settings: Settings, keys: KeyEncryption, issuer: OneIssuer, eligibility: JudgedHere, shop: Workshop
) -> AsyncIterator[httpx.AsyncClient]:
    access = ResourceServer(settings, "documents", keys, key_source=issuer, introspect=says_standing)
    app = create_app(settings, access=access, eligibility=eligibility)
    async with served(app, settings.documents.base) as http:
        yield http
