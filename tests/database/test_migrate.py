"""Numbered SQL, once, in order, and over every caisse."""

from pathlib import Path

import asyncpg
import pytest

from libs.common.database import inbox
from libs.common.database.migrate import MigrationRefused, migrate
from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id

CAISSES = (CaisseSlug("mediterranee"), CaisseSlug("grand-ouest"))


def directory(tmp_path: Path, **files: str) -> Path:
    for name, sql in files.items():
        (tmp_path / f"{name}.sql").write_text(sql, "utf-8")
    return tmp_path


async def test_a_backfill_reaches_every_caisse_and_the_owner_sees_none_otherwise(
    settings: Settings, identity_db: Database, tmp_path: Path
) -> None:
    for caisse in CAISSES:
        async with identity_db.transaction(caisse) as tx:
            await inbox.first_time(tx, new_id(), consumer="before")
    files = directory(tmp_path, **{"9001_pre_backfill": "UPDATE inbox SET consumer = 'after'"})

    assert await migrate(settings.identity.owner_dsn, files) == ["backfill"]

    for caisse in CAISSES:
        async with identity_db.transaction(caisse) as tx:
            assert await tx.fetchval("SELECT count(*) FROM inbox WHERE consumer = 'after'") == 1
    owner = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        assert await owner.fetchval("SELECT count(*) FROM inbox") == 0
    finally:
        await owner.close()


async def test_a_migration_runs_once(settings: Settings, tmp_path: Path) -> None:
    files = directory(tmp_path, **{"9002_pre_once": "CREATE TABLE once (x integer)"})

    assert await migrate(settings.identity.owner_dsn, files) == ["once"]
    assert await migrate(settings.identity.owner_dsn, files) == []


async def test_a_failing_migration_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    files = directory(tmp_path, **{"9003_pre_half": "CREATE TABLE half (x integer); SELECT 1 / 0"})

    with pytest.raises(MigrationRefused, match="9003_half"):
        await migrate(settings.identity.owner_dsn, files)

    owner = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        assert await owner.fetchval("SELECT to_regclass('half')") is None
    finally:
        await owner.close()


async def test_a_changed_migration_stops_everything(settings: Settings, tmp_path: Path) -> None:
    files = directory(tmp_path, **{"9004_pre_kept": "CREATE TABLE kept (x integer)"})
    await migrate(settings.identity.owner_dsn, files)
    directory(tmp_path, **{"9004_pre_kept": "CREATE TABLE kept (x bigint)"})

    with pytest.raises(MigrationRefused, match="changed after it was applied"):
        await migrate(settings.identity.owner_dsn, files)


async def test_the_old_code_s_part_waits_for_its_phase(settings: Settings, tmp_path: Path) -> None:
    files = directory(
        tmp_path, **{"9005_pre_new": "CREATE TABLE new (x integer)", "9006_post_gone": "DROP TABLE new"}
    )

    assert await migrate(settings.identity.owner_dsn, files, phase="pre") == ["new"]
    assert await migrate(settings.identity.owner_dsn, files, phase="post") == ["gone"]


@pytest.mark.parametrize("name", ["1_pre_short", "9007_during_x", "9007_pre_Capital"])
async def test_a_misnamed_file_is_refused(settings: Settings, tmp_path: Path, name: str) -> None:
    with pytest.raises(MigrationRefused, match="a migration is named"):
        await migrate(settings.identity.owner_dsn, directory(tmp_path, **{name: "SELECT 1"}))
