"""The demonstration's data: made once, and made whole by a second run after a first one was killed."""

from pathlib import Path
from typing import Any

import pytest

from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from services.demonstration.data import prepare

CAISSE = CaisseSlug("mediterranee")


def silent(step: str, done: int, total: int) -> None:
    """Nobody watches."""


async def counted(db: Database) -> dict[str, int]:
    async with db.transaction(CAISSE) as tx:
        return {
            "adherents": await tx.fetchval("SELECT count(*) FROM adherent"),
            "letters": await tx.fetchval("SELECT count(*) FROM letter_pair"),
            "clients": await tx.fetchval("SELECT count(*) FROM client"),
            "former": await tx.fetchval("SELECT count(*) FROM mandate WHERE state = 'legacy_lapsed'"),
            "collaborators": await tx.fetchval("SELECT count(*) FROM collaborator"),
        }


@pytest.fixture
def folders(settings: Settings) -> Settings:
    assert settings.post_office is not None
    Path(settings.post_office).mkdir(parents=True, exist_ok=True)
    return settings


async def test_prepared_twice_nothing_doubles(folders: Settings, identity_db: Database) -> None:
    first: dict[str, Any] = await prepare(folders, silent)
    made = await counted(identity_db)
    second: dict[str, Any] = await prepare(folders, silent)

    assert await counted(identity_db) == made
    assert made["adherents"] > 1_800
    assert made["letters"] > 20
    assert made["former"] > 100
    assert second["caisses"] == first["caisses"] == ["mediterranee", "ile-de-france", "grand-ouest"]
    assert second["fresh_adherents"] == first["fresh_adherents"]
    # A killed first run told nobody its keys: the second hands out keys that work.
    assert second["clients"]["operateur"]["private_key"] != first["clients"]["operateur"]["private_key"]
