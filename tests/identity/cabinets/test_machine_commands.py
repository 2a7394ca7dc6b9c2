"""`espace client machine | machines | sponsor | ceiling | keys`, as an operator types them."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings, to_environment
from libs.common.values.identifiers import parse_public_id, public_id
from services.identity.openid.commands import client
from tests.conftest import HeldClock
from tests.identity.cabinets.software import a_public_key
from tests.identity.delegation.parties import ELSEWHERE, HERE, Scene, a_caisse, a_scene

Type = Callable[..., Any]


@pytest.fixture
def typed(settings: Settings) -> Type:
    """What the command answers; its loop is its own, so it runs beside ours."""

    async def run(*words: str) -> Result:
        environment = to_environment(settings)
        return await asyncio.to_thread(CliRunner().invoke, client, [*words], env=environment)

    return run


@pytest.fixture
async def scene(identity_db: Database, clock: HeldClock) -> Scene:
    return await a_scene(identity_db, clock())


@pytest.fixture
def a_file(tmp_path: Path) -> Callable[[object], str]:
    def written(content: object) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(json.dumps(content))
        return str(path)

    return written


async def siren_and_email(db: Database, scene: Scene) -> tuple[str, str]:
    async with db.across_caisses() as tx:
        return (
            await tx.fetchval("SELECT siren FROM cabinet WHERE id = $1", scene.cabinet_id),
            await tx.fetchval("SELECT email FROM person WHERE id = $1", scene.member),
        )


async def test_an_operator_registers_a_machine_rotates_its_key_and_changes_its_sponsor(
    typed: Type, scene: Scene, identity_db: Database, a_file: Callable[[object], str]
) -> None:
    siren, email = await siren_and_email(identity_db, scene)
    first, second = a_public_key(), a_public_key()
    add = ("machine", HERE, "--cabinet", siren, "--name", "Paie & Co", "--sponsor", email.upper(),
           "--scope", "declaration.read declaration.submit", "--keys", a_file({"keys": [first]}))  # fmt: skip

    added = await typed(*add, "--json")
    assert added.exit_code == 0, added.output
    its = json.loads(added.output)
    assert (its["sponsor_name"], its["kids"]) == ("Hugo Petit", [first["kid"]])
    twice = await typed(*add)
    assert (twice.exit_code, "rien n'a été changé" in twice.output) == (1, True)

    rotated = await typed(
        "keys", HERE, its["id"], "--add", a_file(second), "--retire", first["kid"], "--json"
    )
    assert json.loads(rotated.output)["kids"] == [second["kid"]]
    assert (await typed("keys", HERE, its["id"], "--retire", second["kid"])).exit_code == 1
    owner = await typed("sponsor", HERE, its["id"], public_id("per", scene.owner), "--json")
    assert json.loads(owner.output)["sponsor_name"] == "Line Ferrand"
    lower = await typed("ceiling", HERE, its["id"], "declaration.read", "--json")
    assert json.loads(lower.output)["scopes"] == ["declaration.read"]

    listed = json.loads((await typed("machines", HERE, "--json")).output)
    assert [one["kids"] for one in listed if one["id"] == its["id"]] == [[second["kid"]]]
    assert "Paie & Co" in (await typed("machines", HERE)).output
    assert (await typed("disable", HERE, its["client_id"])).exit_code == 0


async def test_an_instant_is_told_as_programs_read_it(
    typed: Type, scene: Scene, identity_db: Database, clock: HeldClock, a_file: Callable[[object], str]
) -> None:
    """RFC 3339 §5.6, as the Admin API tells it."""
    siren, email = await siren_and_email(identity_db, scene)
    added = await typed("machine", HERE, "--cabinet", siren, "--name", "Paie", "--sponsor", email, "--scope",
                        "declaration.read", "--keys", a_file({"keys": [a_public_key()]}), "--json")  # fmt: skip
    its = json.loads(added.output)
    async with identity_db.transaction(HERE) as tx:
        await tx.execute(
            "UPDATE machine_client SET last_used_at = $2 WHERE id = $1",
            parse_public_id("mch", its["id"]),
            clock(),
        )
    listed = json.loads((await typed("machines", HERE, "--json")).output)
    [used] = [one["last_used_at"] for one in listed if one["id"] == its["id"]]
    assert used == msgspec.to_builtins(clock())


async def test_a_key_that_may_not_be_retired_keeps_the_one_added_beside_it_out(
    typed: Type, scene: Scene, identity_db: Database, a_file: Callable[[object], str]
) -> None:
    """Both changes of one command are made, or neither."""
    siren, email = await siren_and_email(identity_db, scene)
    added = await typed("machine", HERE, "--cabinet", siren, "--name", "Paie", "--sponsor", email, "--scope",
                        "declaration.read", "--keys", a_file({"keys": [a_public_key()]}), "--json")  # fmt: skip
    its = json.loads(added.output)
    unknown = await typed("keys", HERE, its["id"], "--add", a_file(a_public_key()), "--retire", "inconnue")
    shown = await typed("keys", HERE, its["id"], "--json")

    assert unknown.exit_code == 1
    assert json.loads(shown.output)["kids"] == its["kids"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"--cabinet": "732829320"}, 1),
        ({"--sponsor": "personne@example.test"}, 1),
        ({"--sponsor": "per_X"}, 2),
        ({"--scope": "payment.order"}, 2),
        ({"--keys": {}}, 2),
        ({"--keys": []}, 2),
        ({"--keys": {"keys": 3}}, 2),
        ({"--keys": {"keys": ["clé"]}}, 2),
    ],
)
async def test_what_cannot_be_is_said_and_changes_nothing(
    typed: Type,
    scene: Scene,
    identity_db: Database,
    a_file: Callable[[object], str],
    change: dict[str, Any],
    code: int,
) -> None:
    siren, email = await siren_and_email(identity_db, scene)
    said = {"--cabinet": siren, "--name": "Paie", "--sponsor": email, "--scope": "declaration.read",
            "--keys": a_file({"keys": [a_public_key()]})}  # fmt: skip
    if "--keys" in change:
        change = {"--keys": a_file(change["--keys"])}
    words = [word for pair in (said | change).items() for word in pair]
    refused = await typed("machine", HERE, *words)
    assert refused.exit_code == code, refused.output
    assert "Traceback" not in refused.output and refused.output.strip()


async def test_a_file_of_keys_in_another_encoding_is_said(
    typed: Type, scene: Scene, identity_db: Database, tmp_path: Path
) -> None:
    siren, email = await siren_and_email(identity_db, scene)
    keys = tmp_path / "latin.json"
    keys.write_bytes('{"keys": [{"kid": "clé"}]}'.encode("latin-1"))
    refused = await typed("machine", HERE, "--cabinet", siren, "--name", "Paie", "--sponsor", email, "--scope",
                          "declaration.read", "--keys", str(keys))  # fmt: skip
    assert refused.exit_code == 2, refused.output


async def test_a_machine_of_another_caisse_is_unknown(
    typed: Type, scene: Scene, identity_db: Database, clock: HeldClock, a_file: Callable[[object], str]
) -> None:
    siren, email = await siren_and_email(identity_db, scene)
    added = await typed("machine", HERE, "--cabinet", siren, "--name", "Paie", "--sponsor", email, "--scope",
                        "declaration.read", "--keys", a_file({"keys": [a_public_key()]}), "--json")  # fmt: skip
    its = json.loads(added.output)
    await a_caisse(identity_db, ELSEWHERE, clock())

    assert (await typed("keys", ELSEWHERE, its["id"])).exit_code == 1
    assert (await typed("sponsor", ELSEWHERE, its["id"], email)).exit_code == 1
    assert json.loads((await typed("machines", ELSEWHERE, "--json")).output) == []
