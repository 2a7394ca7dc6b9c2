"""`espace keys list | rotate | wrap`."""

import rich_click as click
from rich.console import Console
from rich.table import Table

from libs.common.access.signatures import SIGNING_ALGORITHMS, Algorithm
from libs.common.database.transaction import Tx
from libs.common.keys.root_key import open_key_encryption
from libs.common.runtime.cli import json_option, print_json
from libs.common.runtime.settings import load_settings
from services.identity.caisses.command_line import in_caisse, now
from services.identity.signing_keys import store
from services.identity.signing_keys.rotation import rotate
from services.identity.signing_keys.wrap import wrap

NAME = "espace keys"


@click.group("keys")
def keys() -> None:
    """Les clés de signature d'une caisse, et la clé racine qui les protège au repos.

    Codes de sortie : 0 fait, 1 refusé, 2 demande mal formée, 3 configuration refusée.
    """


keys.add_command(wrap)


@keys.command("list")
@click.argument("caisse")
@json_option
def list_all(caisse: str, as_json: bool) -> None:
    """Les clés publiées par CAISSE, la plus récente d'abord."""
    found = in_caisse(caisse, store.published, name=NAME)
    if as_json:
        print_json([{"kid": k.kid, "algorithm": k.algorithm, "state": k.state} for k in found])
        return
    table = Table("Clé", "Algorithme", "État")
    for key in found:
        table.add_row(key.kid, key.algorithm, key.state)
    Console().print(table)


@keys.command("rotate")
@click.argument("caisse")
@click.option("--algorithm", type=click.Choice(SIGNING_ALGORITHMS), default=None, help="Tous sinon.")
@json_option
def rotate_now(caisse: str, algorithm: Algorithm | None, as_json: bool) -> None:
    """La clé suivante, déjà publiée, signe désormais ; l'ancienne vérifie encore une heure."""
    chosen = SIGNING_ALGORITHMS if algorithm is None else (algorithm,)
    encryption = open_key_encryption(load_settings())

    async def rotated(tx: Tx) -> dict[str, str | None]:
        return {name: await rotate(tx, encryption, name, now()) for name in chosen}

    signers = in_caisse(caisse, rotated, name=NAME)
    if as_json:
        print_json(signers)
        return
    for name, kid in signers.items():
        click.echo(f"{name} : {kid or 'renouvelée au même instant par un autre processus'}")
