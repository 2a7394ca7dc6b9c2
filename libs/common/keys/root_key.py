"""Where the key-encryption key comes from: one interface, three providers, chosen by `keys.provider`.

A provider answers the root key, 32 bytes, once at the start of each process; every other key at rest
is derived from it or sealed under it (`key_encryption.py`). A changed source is read at the next start:
a running process never changes key under its own feet.

    environment   `keys.key_encryption_key`, by variable, by its `_FILE`, or by the TOML file
    file          `keys.file`, which holds it in base64url
    pkcs11        `keys.file`, which holds it wrapped; a key that never leaves a PKCS#11 token opens it

A provider more (a cloud's KMS) is a class with `read` and a line in `PROVIDERS`.
"""

from collections.abc import Callable
from typing import Protocol

from libs.common.keys.key_encryption import KeyEncryption
from libs.common.keys.key_file import read_key_file, root_key_of
from libs.common.runtime.settings import KeySettings, Settings, SettingsRefused


class RootKeyProvider(Protocol):
    """Something that holds the root key, or can open what holds it."""

    def read(self) -> bytes:
        """The root key, 32 bytes. Raises `SettingsRefused` with the sentence an operator reads."""
        ...


class FromSettings:
    """The key itself, as the settings hold it."""

    def __init__(self, settings: KeySettings) -> None:
        self._text = settings.key_encryption_key

    def read(self) -> bytes:
        return root_key_of(self._text, "keys.key_encryption_key")


class FromFile:
    """The key itself, in a file that only its owner may change."""

    def __init__(self, settings: KeySettings) -> None:
        self._file = settings.file

    def read(self) -> bytes:
        return root_key_of(read_key_file(self._file), f"Le fichier {self._file} (keys.file)")


def _from_pkcs11(settings: KeySettings) -> RootKeyProvider:
    # Imported when chosen: the library and its native part are an extra of the distribution.
    from libs.common.keys.pkcs11_root_key import FromPkcs11

    return FromPkcs11(settings)


PROVIDERS: dict[str, Callable[[KeySettings], RootKeyProvider]] = {
    "environment": FromSettings,
    "file": FromFile,
    "pkcs11": _from_pkcs11,
}


def open_key_encryption(settings: Settings) -> KeyEncryption:
    """The key encryption of this process. Raises `SettingsRefused`.

    A key beside a provider that ignores it would be a secret lying about, and a doubt: refused.
    """
    keys = settings.keys
    settings.require(*keys.needs)
    if keys.provider != "environment" and keys.key_encryption_key:
        raise SettingsRefused(
            f"keys.key_encryption_key est donnée, mais keys.provider = {keys.provider} ne la lit pas : "
            "retirez-la, ou choisissez environment."
        )
    return KeyEncryption(PROVIDERS[keys.provider](keys).read())
