"""`espace keys list | rotate | revoke | wrap`."""

import asyncio
import re
import sys
from datetime import datetime
from typing import Final

import rich_click as click
from rich.console import Console
from rich.table import Table

from libs.common.access.signatures import SIGNING_ALGORITHMS, Algorithm, SigningKey
from libs.common.bus.connection import Bus
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.events.identity import SigningKeyRevoked
from libs.common.keys.root_key import open_key_encryption
from libs.common.refusals import NotFound
from libs.common.runtime.cli import AS_PASTED, json_option, make_sure, print_json, yes_option
from libs.common.runtime.settings import load_settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.identity.caisses.command_line import caisse_named, in_caisse, now, refuse, slug_named
from services.identity.floors.acknowledged import PATIENCE, Heard, acknowledged, ask_every_service, silent
from services.identity.signing_keys import store
from services.identity.signing_keys.revocation import Revocation, algorithm_of, revoke_key
from services.identity.signing_keys.rotation import rotate
from services.identity.signing_keys.wrap import wrap

NAME = "espace keys"

DASHED_KID: Final = re.compile(r"-[A-Za-z0-9_-]{42}")
"""A thumbprint (RFC 7638) that begins with a dash: SHA-256 in base64url is 43 characters."""

NOT_EVERYWHERE: Final = 5
"""Exit code: revoked, and some service has not said that it refuses the key."""


class KidCommand(click.RichCommand):
    """A command of one key: one kid of 64 begins with a dash, and is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            dashed = [word for word in args if DASHED_KID.fullmatch(word)]
            args = [*(word for word in args if word not in dashed), "--", *dashed]
        return super().parse_args(ctx, args)


@click.group("keys")
def keys() -> None:
    """Les clés de signature d'une caisse, et la clé racine qui les protège au repos.

    Codes de sortie : 0 fait, 1 refusé, 2 demande mal formée, 3 configuration refusée, 5 clé révoquée mais un service
    ne l'a pas confirmé.
    """


keys.add_command(wrap)


@keys.command("list")
@click.argument("caisse", type=AS_PASTED)
@json_option
def list_all(caisse: str, as_json: bool) -> None:
    """Les clés publiées par CAISSE, la plus récente d'abord, puis celles qui ont été révoquées."""

    async def every(tx: Tx) -> list[tuple[str, str, str, datetime | None]]:
        return [
            *((key.kid, key.algorithm, key.state, None) for key in await store.published(tx)),
            *((key.kid, key.algorithm, "revoked", key.revoked_at) for key in await store.revoked(tx)),
        ]

    found = in_caisse(caisse, every, name=NAME)
    if as_json:
        names = ("kid", "algorithm", "state", "revoked_at")
        print_json([{n: v for n, v in zip(names, key, strict=True) if v is not None} for key in found])
        return
    table = Table("Clé", "Algorithme", "État")
    for kid, algorithm, state, revoked_at in found:
        since = f" le {revoked_at:%d/%m/%Y %H:%M} UTC" if revoked_at else ""
        table.add_row(kid, algorithm, state + since)
    Console().print(table)


@keys.command("rotate")
@click.argument("caisse", type=AS_PASTED)
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


@keys.command("revoke", cls=KidCommand)
@click.argument("caisse", type=AS_PASTED)
@click.argument("kid", type=AS_PASTED)
@click.option("--reason", default="leaked", help="Pourquoi ; le journal de la caisse le garde.")
@yes_option
@json_option
def revoke_now(caisse: str, kid: str, reason: str, is_sure: bool, as_json: bool) -> None:
    """La clé KID a fui : en moins d'une seconde, plus rien de ce qu'elle a signé n'est cru nulle part, pour toujours.

    Relancée, la commande ne change rien et redemande à chaque service s'il la refuse.
    """
    make_sure(f"Tout ce que {kid} a signé dans {caisse} sera refusé, pour toujours. Continuer ?", is_sure)
    done, heard = asyncio.run(_revoked_and_heard(slug_named(caisse), kid, reason))
    _say(done, heard, as_json)
    if silent(heard):
        sys.exit(NOT_EVERYWHERE)


async def _revoked_and_heard(slug: CaisseSlug, kid: str, reason: str) -> tuple[Revocation, Heard]:
    settings = load_settings()
    settings.require("identity.dsn")
    encryption = open_key_encryption(settings)
    db = await Database.open(settings.identity.dsn, name=NAME, max_size=1)
    bus = Bus.of(settings, "identity", name=NAME)
    bus.start()
    try:
        async with db.transaction(slug) as tx:
            await caisse_named(tx, slug)
            algorithm = await algorithm_of(tx, kid)
        made = SigningKey.generate(algorithm)
        async with db.transaction(slug) as tx:
            done = await revoke_key(tx, encryption, kid, now(), made=made, by="operator", reason=reason)
        # Only the answers wait for NATS.
        await bus.wait_connected(PATIENCE)
        again = SigningKeyRevoked(event_id=new_id(), at=now(), kid=kid)
        return done, await ask_every_service(db, bus, slug, again)
    except NotFound:
        refuse(f"La caisse {slug} n'a pas de clé {kid} : « espace keys list {slug} » les nomme.")
    finally:
        await bus.close()
        await db.close()


def _say(done: Revocation, heard: Heard, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "kid": done.kid,
                "algorithm": done.algorithm,
                "was": done.was,
                "revoked_at": done.revoked_at,
                "signer": done.signer,
                "acknowledged": acknowledged(heard),
                "silent": silent(heard),
            }
        )
        return
    if done.was == "revoked":
        click.echo(f"{done.kid} était déjà révoquée, depuis le {done.revoked_at:%d/%m/%Y %H:%M} UTC.")
    else:
        click.echo(f"{done.kid} ({done.algorithm}, {done.was}) est révoquée : identity ne la croit plus.")
    click.echo(f"{done.algorithm} est signé par {done.signer}.")
    for service, receipt in heard.items():
        click.echo(f"{service} : {'la refuse' if receipt else 'N’A PAS RÉPONDU'}")
    if silent(heard):
        click.echo("À faire : docs/how-to/when-something-breaks.md, « Une clé a fui ».")
