"""What the first `espace up` finds: three caisses, 2,000 adhérents, two cabinets, and letters in the post."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.keys.root_key import open_key_encryption
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.adherent.legacy_import.import_balances import import_balances
from services.demonstration import store
from services.demonstration.caisses import demonstration_caisses
from services.demonstration.clients import DemonstrationKeys, new_keys, register_all
from services.demonstration.former_export import FormerExport, write_former_export
from services.demonstration.people import CABINETS, PASSWORD, hire, open_cabinet
from services.identity.caisses.add import CaisseAlreadyThere, add_caisse
from services.identity.caisses.caisse import Caisse
from services.identity.legacy_import.import_export import import_export
from services.identity.letters.make import NobodyToWriteTo, make_letters
from services.identity.letters.paper_secret import PaperSecrets
from services.identity.letters.post_lot import post_lot
from services.identity.letters.print_lot import print_lot
from services.identity.sign_in.password import Passwords

PLAIN = str.maketrans({"’": "'", "—": "-"})

Progress = Callable[[str, int, int], None]

ADHERENTS = {"mediterranee": 2_000}
A_FEW = 20
IN_THE_POST = 20
"""Firms up to date that find their letters at the first start; the others wait for the story, or for the desk."""


async def prepare(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Make the demonstration; what `demo` of the ready file shows.

    Runs again after a kill: what is there is kept, what is missing is made. The keys
    and secrets of the demonstration's accounts are then those of the last run.
    """
    keys = open_key_encryption(settings)
    handed_out = new_keys()
    identity = await Database.open(settings.identity.dsn, name="demonstration", command_timeout=60)
    adherent = await Database.open(settings.adherent.dsn, name="demonstration", command_timeout=60)
    try:
        caisses = demonstration_caisses()
        for number, caisse in enumerate(caisses, start=1):
            progress("Caisses", number, len(caisses))
            await _open_caisse(identity, settings, keys, caisse, handed_out)
        accounts = await _hire_everybody(identity, keys, caisses[0].slug, progress)
        export: FormerExport | None = None
        for caisse in caisses:
            known = await _import(identity, adherent, caisse.slug, progress)
            export = export or known
        assert export is not None
        written_to = [
            *export.up_to_date[:IN_THE_POST],
            *export.late[:5],
            *export.disputed[:2],
            export.la_poste,
        ]
        await _write_letters(identity, settings, keys, caisses[0], written_to, progress)
        fresh = await _fresh(identity, caisses[0].slug, export.up_to_date[IN_THE_POST:])
    finally:
        await identity.close()
        await adherent.close()
    return {
        "caisses": [caisse.slug for caisse in caisses],
        "accounts": accounts,
        "fresh_adherents": fresh,
        "clients": {
            "operateur": {"client_id": "operateur", "private_key": handed_out.operator.pem()},
            "logiciel-fontvieille": {
                "client_id": "logiciel-fontvieille",
                "private_key": handed_out.software.pem(),
            },
        },
    }


async def _open_caisse(
    db: Database, settings: Settings, keys: KeyEncryption, caisse: Caisse, handed_out: DemonstrationKeys
) -> None:
    now = datetime.now(UTC)
    try:
        async with db.transaction(caisse.slug) as tx:
            await add_caisse(tx, keys, caisse)
    except CaisseAlreadyThere:
        pass
    async with db.transaction(caisse.slug) as tx:
        await register_all(tx, settings, handed_out, now=now)


async def _hire_everybody(
    db: Database, keys: KeyEncryption, caisse: CaisseSlug, progress: Progress
) -> list[dict[str, Any]]:
    passwords = Passwords()
    accounts: list[dict[str, Any]] = []
    try:
        for number, cabinet in enumerate(CABINETS, start=1):
            progress("Cabinets", number, len(CABINETS))
            for colleague in cabinet.colleagues:
                password_hash = await passwords.hash(PASSWORD)
                now = datetime.now(UTC)
                async with db.transaction(caisse) as tx:
                    cabinet_id = await open_cabinet(tx, cabinet, now=now)
                    secret = await hire(tx, keys, cabinet_id, colleague, password_hash=password_hash, now=now)
                accounts.append(
                    {
                        "name": colleague.full_name,
                        "email": colleague.email,
                        "password": PASSWORD,
                        "totp_secret": secret,
                        "role": colleague.role,
                        "cabinet": public_id("cab", cabinet_id),
                        "cabinet_name": cabinet.name,
                        "cabinet_siren": cabinet.siren,
                    }
                )
    finally:
        passwords.close()
    return accounts


async def _import(
    identity: Database, adherent: Database, caisse: CaisseSlug, progress: Progress
) -> FormerExport:
    label = f"Import de {caisse}"
    with tempfile.TemporaryDirectory(prefix="espace-export-") as folder:
        export = write_former_export(
            Path(folder),
            size=ADHERENTS.get(caisse, A_FEW),
            region=caisse,
            # ISO-8859-15 has neither the typographic apostrophe nor the dash.
            cabinets=tuple((cabinet.siren, cabinet.name.translate(PLAIN)) for cabinet in CABINETS),
        )

        def tell(what: str, done: int, total: int) -> None:
            progress(label, done, total)

        await import_export(identity, caisse, export.folder, now=datetime.now(UTC), progress=tell)
        await import_balances(adherent, caisse, export.folder, progress=tell)
    return export


async def _write_letters(
    db: Database,
    settings: Settings,
    keys: KeyEncryption,
    caisse: Caisse,
    numbers: list[str],
    progress: Progress,
) -> None:
    assert settings.post_office is not None
    async with db.transaction(caisse.slug) as tx:
        if await store.has_letters(tx):
            return
    paper = PaperSecrets(keys)
    try:
        made = await make_letters(
            db, caisse.slug, paper, keys,
            numbers=numbers, portal=settings.portal.base, now=datetime.now(UTC),
            progress=lambda what, done, total: progress("Lettres", done, total),
        )  # fmt: skip
    except NobodyToWriteTo:
        return
    finally:
        paper.close()
    for lot in (made.identifiant_lot, made.code_lot):
        now = datetime.now(UTC)
        await print_lot(db, keys, caisse.slug, lot, settings.post_office, now=now)
        async with db.transaction(caisse.slug) as tx:
            # In the demonstration both letters arrive today; the desk of a caisse keeps two dates.
            await post_lot(tx, keys, caisse, lot, now=now, same_day=True)


async def _fresh(db: Database, caisse: CaisseSlug, numbers: list[str]) -> list[dict[str, str]]:
    async with db.transaction(caisse) as tx:
        return await store.without_letters(tx, numbers)
