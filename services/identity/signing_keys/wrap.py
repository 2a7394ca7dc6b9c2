"""`espace keys wrap`: put the root key of an installation under a PKCS#11 token (decision 0031)."""

import os
from pathlib import Path

import rich_click as click
from msgspec.structs import replace

from libs.common.keys import pkcs11_root_key
from libs.common.keys.key_file import ROOT_KEY_BYTES
from libs.common.keys.root_key import PROVIDERS
from libs.common.runtime.cli import json_option, print_json
from libs.common.runtime.settings import Settings, load_settings

THE_TOKEN = ("keys.pkcs11_module", "keys.pkcs11_token", "keys.pkcs11_key", "keys.pkcs11_pin")


@click.command("wrap")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--create", is_flag=True, help="Créer d'abord dans le jeton la clé qui enveloppe.")
@click.option("--new", is_flag=True, help="Tirer une clé racine neuve : pour une installation encore vide.")
@click.option("--key", "label", default=None, help="Clé du jeton qui enveloppe ; keys.pkcs11_key sinon.")
@json_option
def wrap(file: Path, create: bool, new: bool, label: str | None, as_json: bool) -> None:
    """Envelopper la clé racine de l'installation avec le jeton PKCS#11 et l'écrire dans FILE.

    La clé enveloppée est celle des réglages, quel que soit leur fournisseur : rien n'est à resceller.
    Réglez ensuite keys.provider = pkcs11 et keys.file = FILE, puis retirez keys.key_encryption_key.
    """
    settings = load_settings()
    settings.require(*THE_TOKEN, *(() if new else settings.keys.needs))
    under = replace(settings.keys, pkcs11_key=label or settings.keys.pkcs11_key, file=file)
    if file.exists():
        raise click.ClickException(f"{file} existe déjà : rien n'a été changé.")
    root_key = os.urandom(ROOT_KEY_BYTES) if new else _present_root_key(settings)
    if create:
        try:
            pkcs11_root_key.create_key(under)
        except pkcs11_root_key.KeyAlreadyThere as error:
            raise click.ClickException(
                f"Le jeton a déjà une clé « {error} » : rien n'a été changé."
            ) from error
    envelope = pkcs11_root_key.wrap(under, root_key)
    # Opened again before it is kept: an envelope that does not open would be noticed at the next start only.
    if pkcs11_root_key.unwrap(under, envelope) != root_key:
        raise click.ClickException("Le jeton ne rend pas la clé qu'il a enveloppée : rien n'a été écrit.")
    _write_once(file, envelope)
    if as_json:
        print_json(
            {"file": str(file), "token": under.pkcs11_token, "key": under.pkcs11_key, "created": create}
        )
        return
    click.echo(
        f"La clé racine est dans {file}, enveloppée par « {under.pkcs11_key} » ({under.pkcs11_token})."
    )


def _present_root_key(settings: Settings) -> bytes:
    return PROVIDERS[settings.keys.provider](settings.keys).read()


def _write_once(file: Path, envelope: str) -> None:
    """Whole, 0600, and never over another."""
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(envelope + "\n")
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise click.ClickException(f"{file} ne s'écrit pas : {error.strerror}.") from error
