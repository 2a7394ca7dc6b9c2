"""The root key as text, in a file or a setting: read strictly, refused with the remedy, never shown."""

import base64
import binascii
import os
import stat
from pathlib import Path

from libs.common.runtime.settings import SettingsRefused

ROOT_KEY_BYTES = 32
LONGEST_FILE = 4096
"""Bytes; a wrapped key weighs 124."""


def root_key_of(text: str, named: str) -> bytes:
    """32 bytes from base64url with or without padding. Raises `SettingsRefused`, which never shows the text."""
    text = text.strip()
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SettingsRefused(f"{named} : ce n'est pas du base64url.") from error
    if len(key) != ROOT_KEY_BYTES:
        raise SettingsRefused(f"{named} : la clé fait {len(key)} octets au lieu de {ROOT_KEY_BYTES}.")
    return key


def read_key_file(path: Path | None) -> str:
    """The text of a key's file. Refused: absent, no plain file, too large, or open to change by anybody.

    Who may write it chooses the key under which the next secrets are sealed; who may read it is
    not judged here, for orchestrators hand secrets over in modes of their own.
    """
    try:
        with Path(path or "").open("rb") as file:
            # Of the file opened, not of the name: nothing can be swapped in between.
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(LONGEST_FILE + 1)
    except OSError as error:
        raise SettingsRefused(f"Le fichier {path} (keys.file) ne se lit pas : {error.strerror}.") from error
    if mode & stat.S_IWOTH:
        raise SettingsRefused(
            f"Le fichier {path} (keys.file) peut être changé par n'importe qui : chmod 600 {path}."
        )
    if len(text) > LONGEST_FILE or not text.isascii():
        raise SettingsRefused(f"Le fichier {path} (keys.file) n'est pas celui d'une clé.")
    return text.decode("ascii")
