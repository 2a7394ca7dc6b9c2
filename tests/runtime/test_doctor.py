"""`espace doctor`: each thing that is wrong is a finding with its remedy, never a trace."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from libs.common.database import dead_letters
from libs.common.database.pool import Database
from libs.common.runtime.doctor import Finding, examine_machine, examine_servers
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import new_id
from tests.runtime.running import espace

MEDITERRANEE = parse_caisse_slug("mediterranee")


async def found(settings: Settings, name: str) -> Finding:
    return next(one for one in await examine_servers(settings) if one.name == name)


def test_without_settings_it_says_where_to_find_them(tmp_path: Path):
    told = espace("doctor", directory=tmp_path)
    assert told.returncode == 1
    assert "✗ Réglages" in told.stdout
    assert "--config" in told.stdout


async def test_a_fact_laid_aside_is_told_with_where_to_look(settings: Settings, identity_db: Database):
    assert (await found(settings, "Faits de identity")).holds
    async with identity_db.transaction(MEDITERRANEE) as tx:
        await dead_letters.lay_aside(
            tx,
            consumer="some",
            event_id=new_id(),
            subject="adherent.mediterranee.x",
            body=b"{}",
            reason="KeyError",
        )
    told = await found(settings, "Faits de identity")
    assert not told.holds
    assert "1 mis de côté" in told.seen
    assert "consumer.failed" in told.remedy


async def test_a_fact_that_waits_too_long_is_told_with_its_age(settings: Settings, identity_db: Database):
    async with identity_db.transaction(MEDITERRANEE) as tx:
        await tx.execute(
            "INSERT INTO outbox (event_id, caisse, subject, body, recorded_at) VALUES ($1, $2, $3, $4, $5)",
            new_id(), MEDITERRANEE, "identity.mediterranee.x", b"{}", datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
    told = await found(settings, "Faits de identity")
    assert not told.holds
    assert "min" in told.seen
    assert "espace work identity" in told.remedy


async def test_a_wrong_password_is_a_finding(settings: Settings):
    wrong = msgspec.structs.replace(
        settings.adherent, dsn=settings.adherent.dsn.replace("adherent_app:", "adherent_app:x")
    )
    told = await found(msgspec.structs.replace(settings, adherent=wrong), "Base de adherent")
    assert (told.holds, told.seen) == (False, "InvalidPasswordError")
    assert "adherent.dsn" in told.remedy


def test_a_machine_of_production_needs_no_embedded_server(settings: Settings):
    of_production = msgspec.structs.replace(settings, demonstration=False)
    assert [one for one in examine_machine(of_production) if "embarqué" in one.name] == []
    assert [one for one in examine_machine(settings) if "embarqué" in one.name] != []


async def test_a_broker_and_a_relay_that_take_the_connection_and_say_nothing_are_findings(settings: Settings):
    """A stopped process still has a kernel that answers for it."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        asked = replace(
            settings,
            nats=replace(settings.nats, url=f"nats://127.0.0.1:{port}"),
            mail=replace(settings.mail, host="127.0.0.1", port=port),
        )
        for name in ("NATS", "Relais de courrier"):
            finding = await found(asked, name)
            assert not finding.holds, finding
            assert f"127.0.0.1:{port}" in finding.seen and finding.remedy


async def test_a_broker_that_greets_is_no_finding(settings: Settings):
    assert (await found(settings, "NATS")).holds
