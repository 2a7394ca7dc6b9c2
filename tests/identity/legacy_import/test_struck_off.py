"""An import strikes a firm off: its delegations end in the same transaction, and everybody is told."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from libs.common.database.pool import Database
from libs.common.events.envelope import Event, decode
from libs.common.events.identity import AdherentImported, FloorRaised
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.caisse_opening.commands import described
from services.demonstration.former_export import FormerExport, write_former_export
from services.identity.caisses.add import add_caisse
from services.identity.delegation import store
from services.identity.delegation.mandate import Mandate
from services.identity.legacy_import.import_export import import_export
from services.identity.letters.make import make_letters
from services.identity.letters.paper_secret import PaperSecrets
from tests.identity.delegation.parties import (
    Scene,
    a_cabinet,
    a_person,
    an_account,
    an_active_mandate,
    an_offer,
    current,
    facts,
)

NOW = datetime(2021, 1, 6, 9, tzinfo=UTC)


async def a_member_with_mandates(
    db: Database, keys: KeyEncryption, slug: str, export: FormerExport
) -> tuple[Scene, str, Mandate, Mandate]:
    """An imported firm, its number, a mandate in force and an offer."""
    caisse = described(slug)
    async with db.transaction(caisse.slug) as tx:
        await add_caisse(tx, keys, caisse)
    await import_export(db, caisse.slug, export.folder, now=NOW)
    number = export.up_to_date[0]
    async with db.transaction(caisse.slug) as tx:
        adherent_id = await tx.fetchval("SELECT id FROM adherent WHERE adherent_number = $1", number)
        administrator = await a_person(tx, "Awa Diallo", NOW)
        await an_account(tx, administrator, adherent_id, NOW)
        cabinet_id, owner, member = await a_cabinet(tx, NOW)
    scene = Scene(caisse.slug, adherent_id, administrator, adherent_id, cabinet_id, owner, member)
    active = await an_active_mandate(db, scene, NOW)
    return scene, number, active, await an_offer(db, scene, NOW, "leave")


def struck_off(export: FormerExport, number: str, folder: Path) -> Path:
    """The same export, in which this firm has left the caisse."""
    shutil.copytree(export.folder, folder)
    path = folder / "adherents.csv"
    lines = path.read_bytes().decode("iso-8859-15").split("\r\n")
    for rank, line in enumerate(lines):
        fields = line.split(";")
        if fields[0] == number:
            fields[14] = "30/11/2020"
            lines[rank] = ";".join(fields)
    path.write_bytes("\r\n".join(lines).encode("iso-8859-15"))
    return folder


async def told(db: Database, caisse: CaisseSlug, subject: str) -> list[Event]:
    async with db.transaction(caisse) as tx:
        rows = await tx.fetch(
            "SELECT subject, body FROM outbox WHERE subject LIKE '%.' || $1::text ORDER BY position", subject
        )
    return [decode(row["subject"], row["body"])[1] for row in rows]


async def test_its_live_mandates_are_void_and_its_file_says_so(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path
) -> None:
    export = write_former_export(tmp_path / "before", size=60)
    scene, number, active, offered = await a_member_with_mandates(identity_db, keys, "radiation", export)
    after = struck_off(export, number, tmp_path / "after")
    for _ in range(2):
        await import_export(identity_db, scene.caisse, after, now=NOW)

    for mandate in (active, offered):
        assert (await current(identity_db, scene, mandate)).state == "void"
        assert (await facts(identity_db, scene.caisse, mandate.id)).count("mandate.voided.v1") == 1
        floors = [
            (fact.key, fact.version)
            for fact in await told(identity_db, scene.caisse, "authz.floor_raised.v1")
            if isinstance(fact, FloorRaised)
        ]
        assert floors.count((public_id("mdt", mandate.id), mandate.version + 1)) == 1
    files = await told(identity_db, scene.caisse, "adherent.imported.v1")
    states = [
        fact.state
        for fact in files
        if isinstance(fact, AdherentImported) and fact.adherent_id == scene.adherent_id
    ]
    assert states == ["member", "struck_off"]


async def test_a_batch_taken_back_ends_no_mandate(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path
) -> None:
    export = write_former_export(tmp_path / "before", size=60)
    scene, number, active, _ = await a_member_with_mandates(identity_db, keys, "radiation-nulle", export)
    after = struck_off(export, number, tmp_path / "after")
    await import_export(identity_db, scene.caisse, after, now=NOW, is_dry_run=True)
    assert (await current(identity_db, scene, active)).state == "active"

    await import_export(identity_db, scene.caisse, after, now=NOW)
    async with identity_db.transaction(scene.caisse) as tx:
        assert await store.live_of_adherents(tx, [scene.adherent_id]) == []


async def test_its_letters_end_with_it_and_those_of_the_others_stay(
    identity_db: Database, keys: KeyEncryption, tmp_path: Path
) -> None:
    export = write_former_export(tmp_path / "before", size=60)
    caisse = described("radiation-courriers")
    async with identity_db.transaction(caisse.slug) as tx:
        await add_caisse(tx, keys, caisse)
    await import_export(identity_db, caisse.slug, export.folder, now=NOW)
    gone, stays = export.up_to_date[:2]
    await make_letters(
        identity_db, caisse.slug, PaperSecrets(keys), keys, numbers=[gone, stays],
        portal="https://espace.example.test", now=NOW,
    )  # fmt: skip
    after = struck_off(export, gone, tmp_path / "after")
    for _ in range(2):
        await import_export(identity_db, caisse.slug, after, now=NOW)

    async with identity_db.transaction(caisse.slug) as tx:
        pairs = await tx.fetch(
            """
            SELECT adherent.adherent_number, pair.state, pair.ended_because, pair.code_hash IS NOT NULL
              FROM letter_pair AS pair JOIN adherent ON adherent.id = pair.adherent_id
            """
        )
        lines = await tx.fetch("SELECT details->>'reason' FROM journal WHERE action = 'letters.revoked'")
    assert {tuple(pair) for pair in pairs} == {
        (gone, "revoked", "adherent_struck_off", False),
        (stays, "generated", None, True),
    }
    assert [tuple(line) for line in lines] == [("adherent_struck_off",)]
