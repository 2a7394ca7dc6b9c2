"""`espace facts show | replay`, as an operator types them."""

import asyncio
import json
from pathlib import Path

import pytest

from libs.common.database import dead_letters
from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings, to_toml
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import new_id
from tests.runtime.running import espace


@pytest.fixture
def config(settings: Settings, tmp_path: Path) -> Path:
    path = tmp_path / "espace.toml"
    path.write_text(to_toml(settings))
    path.chmod(0o600)
    return path


async def test_what_is_aside_is_listed_then_heard_again(config: Path, adherent_db: Database):
    key = new_id()
    async with adherent_db.transaction(parse_caisse_slug("mediterranee")) as tx:
        await dead_letters.lay_aside(
            tx,
            consumer="of-nobody",
            event_id=key,
            subject="identity.mediterranee.account.activated.v1",
            body=b'{"secret": 1}',
            reason="KeyError",
        )

    async def typed(*words: str) -> str:
        told = await asyncio.to_thread(espace, "--config", str(config), "facts", *words)
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout

    listed = await typed("show", "adherent", "--json")
    assert [one["event_id"] for one in json.loads(listed)] == [str(key)]
    assert "secret" not in listed
    again = await typed("replay", "adherent", "--json")
    assert [one["event_id"] for one in json.loads(again)] == [str(key)]
    assert "Rien n'est mis de côté." in await typed("show", "adherent")
