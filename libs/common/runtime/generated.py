"""Secrets as they are made, and files that only we may read."""

import base64
import errno
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from libs.common.runtime.child_process import StartRefused


def random_password() -> str:
    """192 bits, URL-safe."""
    return secrets.token_urlsafe(24)


def random_key() -> str:
    """32 bytes, base64url without padding."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def client_key() -> str:
    """An EC P-256 private key, PEM (PKCS#8)."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def write_private(path: Path, text: str) -> None:
    """Write `text` for our eyes only (0600), whole or not at all. Raises `StartRefused`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        what = "le disque est plein" if error.errno == errno.ENOSPC else os.strerror(error.errno or 0)
        raise StartRefused(f"{path} ne s'écrit pas : {what}.") from error
