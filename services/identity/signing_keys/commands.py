"""`espace keys list | rotate | wrap`."""

import asyncio
import sys
from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console
from rich.table import Table

from libs.common.access.signatures import SIGNING_ALGORITHMS, Algorithm
from libs.common.database.pool import Database
from libs.common.keys.root_key import open_key_encryption
from libs.common.runtime.settings import load_settings
from libs.common.values.caisse_slug import CaisseSlug, InvalidCaisseSlug, parse_caisse_slug
from services.identity.signing_keys import store
from services.identity.signing_keys.rotation import rotate
from services.identity.signing_keys.store import StoredKey
from services.identity.signing_keys.wrap import wrap

USAGE = 2


@click.group("keys")
def keys() -> None:
    """Les clés de signature d'une caisse, et la clé racine qui les protège au repos.

    Codes de sortie : 0 fait, 1 refusé, 2 demande mal formée, 3 configuration refusée.
    """


keys.add_command(wrap)


@keys.command("list")
@click.argument("caisse")
@click.option("--json", "as_json", is_flag=True)
def list_all(caisse: str, as_json: bool) -> None:
    """Les clés publiées par CAISSE, la plus récente d'abord."""
    found = asyncio.run(_published(_parsed(caisse)))
    if as_json:
        click.echo(
            msgspec.json.encode([{"kid": k.kid, "algorithm": k.algorithm, "state": k.state} for k in found])
        )
        return
    table = Table("Clé", "Algorithme", "État")
    for key in found:
        table.add_row(key.kid, key.algorithm, key.state)
    Console().print(table)


@keys.command("rotate")
@click.argument("caisse")
@click.option("--algorithm", type=click.Choice(SIGNING_ALGORITHMS), default=None, help="Tous sinon.")
@click.option("--json", "as_json", is_flag=True)
def rotate_now(caisse: str, algorithm: Algorithm | None, as_json: bool) -> None:
    """La clé suivante, déjà publiée, signe désormais ; l'ancienne vérifie encore une heure."""
    chosen = SIGNING_ALGORITHMS if algorithm is None else (algorithm,)
    signers = asyncio.run(_rotate(_parsed(caisse), chosen))
    if as_json:
        click.echo(msgspec.json.encode(signers))
        return
    for name, kid in signers.items():
        click.echo(f"{name} : {kid or 'renouvelée au même instant par un autre processus'}")


async def _published(caisse: CaisseSlug) -> list[StoredKey]:
    db = await _opened()
    try:
        async with db.transaction(caisse) as tx:
            return await store.published(tx)
    finally:
        await db.close()


async def _rotate(caisse: CaisseSlug, algorithms: tuple[Algorithm, ...]) -> dict[str, str | None]:
    encryption = open_key_encryption(load_settings())
    db = await _opened()
    try:
        async with db.transaction(caisse) as tx:
            now = datetime.now(UTC)
            return {algorithm: await rotate(tx, encryption, algorithm, now) for algorithm in algorithms}
    finally:
        await db.close()


async def _opened() -> Database:
    settings = load_settings()
    settings.require("identity.dsn")
    return await Database.open(settings.identity.dsn, name="espace keys", max_size=1)


def _parsed(slug: str) -> CaisseSlug:
    try:
        return parse_caisse_slug(slug)
    except InvalidCaisseSlug as error:
        click.echo(error.reason, err=True)
        sys.exit(USAGE)
