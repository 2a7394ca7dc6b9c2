"""The root key wrapped by a PKCS#11 token (decision 0031).

The token holds one 256-bit secret that cannot be taken out of it. Asked for HMAC-SHA-256 of a fresh
salt, it gives the key of one envelope; AES-256-GCM under that key wraps the root key. The file alone
opens nothing, nor does the token without its PIN. HMAC, for it is what every module does alike: of
AES-GCM, some draw the nonce themselves and others give the length short.

The session is closed as soon as the root key is read: the token is needed at a start, never by a request.
"""

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.common.keys.key_file import ROOT_KEY_BYTES, read_key_file
from libs.common.runtime.settings import KeySettings, SettingsRefused

FORM: Final = b"espace/root-key/pkcs11/v1"
"""Bound to each use of the token and to each envelope: nothing else of ours can be mistaken for it."""
SALT, NONCE, TAG = 32, 12, 16
ENVELOPE = SALT + NONCE + ROOT_KEY_BYTES + TAG
EXTRA = "Le fournisseur pkcs11 demande la bibliothèque python-pkcs11 : pip install 'espace[pkcs11]'."


class KeyAlreadyThere(Exception):
    """The token has a key of that label: another would make the first unreachable by its label."""


class FromPkcs11:
    """The root key, unwrapped with the token's help."""

    def __init__(self, settings: KeySettings) -> None:
        self._settings = settings

    def read(self) -> bytes:
        return unwrap(self._settings, read_key_file(self._settings.file))


def wrap(settings: KeySettings, root_key: bytes) -> str:
    """The envelope of `root_key`: salt, nonce, ciphertext and tag, in base64url. Raises `SettingsRefused`."""
    salt, nonce = os.urandom(SALT), os.urandom(NONCE)
    with _token_key(settings) as key:
        sealed = AESGCM(_envelope_key(key, salt)).encrypt(nonce, root_key, FORM)
    return base64.urlsafe_b64encode(salt + nonce + sealed).decode()


def unwrap(settings: KeySettings, envelope: str) -> bytes:
    """The root key that `wrap` took. Raises `SettingsRefused`."""
    try:
        sealed = base64.b64decode(envelope.strip(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SettingsRefused(f"{_file(settings)} ne contient pas de clé enveloppée.") from error
    if len(sealed) != ENVELOPE:
        raise SettingsRefused(f"{_file(settings)} ne contient pas de clé enveloppée.")
    salt, nonce, rest = sealed[:SALT], sealed[SALT : SALT + NONCE], sealed[SALT + NONCE :]
    with _token_key(settings) as key:
        try:
            return AESGCM(_envelope_key(key, salt)).decrypt(nonce, rest, FORM)
        except InvalidTag as error:
            raise SettingsRefused(
                f"{_file(settings)} a été altéré, ou enveloppé par une autre clé que "
                f"« {settings.pkcs11_key} » du jeton « {settings.pkcs11_token} »."
            ) from error


def create_key(settings: KeySettings) -> None:
    """Make the token's key: 256 bits drawn inside, never to leave. Raises `KeyAlreadyThere`, `SettingsRefused`."""
    pkcs11 = _library()
    with _session(settings, writes=True) as session:
        if list(session.get_objects({pkcs11.Attribute.LABEL: settings.pkcs11_key})):
            raise KeyAlreadyThere(settings.pkcs11_key)
        session.generate_key(
            pkcs11.KeyType.GENERIC_SECRET,
            256,
            label=settings.pkcs11_key,
            store=True,
            template={
                pkcs11.Attribute.SENSITIVE: True,
                pkcs11.Attribute.EXTRACTABLE: False,
                pkcs11.Attribute.SIGN: True,
            },
        )


def _envelope_key(key: Any, salt: bytes) -> bytes:
    return bytes(key.sign(FORM + salt, mechanism=_library().Mechanism.SHA256_HMAC))


@contextmanager
def _token_key(settings: KeySettings) -> Iterator[Any]:
    """The token's key, refused unless it can never be taken out."""
    pkcs11 = _library()
    with _session(settings) as session:
        # Read to the end: a search left open would hold the session.
        found = list(
            session.get_objects(
                {
                    pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
                    pkcs11.Attribute.LABEL: settings.pkcs11_key,
                }
            )
        )
        if len(found) != 1:
            raise SettingsRefused(
                f"Le jeton « {settings.pkcs11_token} » n'a pas une clé, et une seule, nommée « {settings.pkcs11_key} » "
                "(keys.pkcs11_key)."
            )
        key = found[0]
        if key[pkcs11.Attribute.EXTRACTABLE] or not key[pkcs11.Attribute.SENSITIVE]:
            raise SettingsRefused(
                f"La clé « {settings.pkcs11_key} » peut sortir du jeton : créez-en une autre "
                "(espace keys wrap --create)."
            )
        yield key


@contextmanager
def _session(settings: KeySettings, *, writes: bool = False) -> Iterator[Any]:
    """A session opened with the PIN; whatever the module refuses becomes a sentence without the PIN in it."""
    pkcs11 = _library()
    try:
        token = pkcs11.lib(str(settings.pkcs11_module)).get_token(token_label=settings.pkcs11_token)
        with token.open(rw=writes, user_pin=settings.pkcs11_pin) as session:
            yield session
    except pkcs11.PinIncorrect as error:
        raise SettingsRefused(
            "Le jeton refuse le code (keys.pkcs11_pin) : n'insistez pas, il se bloque."
        ) from error
    except (pkcs11.NoSuchToken, pkcs11.MultipleTokensReturned) as error:
        raise SettingsRefused(
            f"Le module {settings.pkcs11_module} ne montre pas un jeton, et un seul, nommé "
            f"« {settings.pkcs11_token} » (keys.pkcs11_token)."
        ) from error
    except pkcs11.PKCS11Error as error:
        why = str(error) or type(error).__name__
        raise SettingsRefused(
            f"Le module {settings.pkcs11_module} (keys.pkcs11_module) a refusé : {why}."
        ) from error


def _library() -> Any:
    try:
        import pkcs11
    except ModuleNotFoundError as error:
        raise SettingsRefused(EXTRA) from error
    return pkcs11


def _file(settings: KeySettings) -> str:
    return f"Le fichier {settings.file} (keys.file)"
