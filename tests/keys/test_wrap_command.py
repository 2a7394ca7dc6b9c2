"""`espace keys wrap`, and a service that starts from what it wrote."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs.common.keys.pkcs11_root_key import FromPkcs11
from libs.common.runtime.settings import to_environment
from tests.keys.token import Token

ROOT = os.urandom(32)
TEXT = base64.urlsafe_b64encode(ROOT).decode().rstrip("=")


class Operator:
    """Somebody at the command line, with the settings of an installation."""

    def __init__(self, token: Token, label: str) -> None:
        self.token, self.label = token, label
        self.settings = {
            "ESPACE_KEYS_PKCS11_MODULE": str(token.module),
            "ESPACE_KEYS_PKCS11_TOKEN": token.label,
            "ESPACE_KEYS_PKCS11_KEY": label,
            "ESPACE_KEYS_PKCS11_PIN": token.pin,
            "ESPACE_KEYS_KEY_ENCRYPTION_KEY": TEXT,
        }

    def types(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {
            name: value for name, value in self.token.environment.items() if not name.startswith("ESPACE_")
        }
        return subprocess.run(
            [sys.executable, "-m", "libs.common.runtime.cli", "keys", "wrap", *arguments],
            env=kept | self.settings, capture_output=True, text=True, timeout=60,
        )  # fmt: skip


@pytest.fixture
def operator(token: Token, label: str) -> Operator:
    return Operator(token, label)


def root_in(operator: Operator, file: Path, label: str | None = None) -> bytes:
    return FromPkcs11(operator.token.settings(pkcs11_key=label or operator.label, file=file)).read()


def test_an_installation_moves_its_root_key_under_the_token(operator: Operator, file: Path) -> None:
    done = operator.types(str(file), "--create", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout) == {
        "file": str(file), "token": operator.token.label, "key": operator.label, "created": True,
    }  # fmt: skip
    assert root_in(operator, file) == ROOT
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_new_installation_draws_its_root_key(operator: Operator, file: Path) -> None:
    del operator.settings["ESPACE_KEYS_KEY_ENCRYPTION_KEY"]
    assert operator.types(str(file), "--create").returncode == 3
    assert operator.types(str(file), "--create", "--new").returncode == 0
    assert root_in(operator, file) != ROOT


def test_the_key_of_the_token_is_replaced_without_resealing_anything(operator: Operator, file: Path) -> None:
    operator.types(str(file), "--create")
    del operator.settings["ESPACE_KEYS_KEY_ENCRYPTION_KEY"]
    operator.settings |= {"ESPACE_KEYS_PROVIDER": "pkcs11", "ESPACE_KEYS_FILE": str(file)}
    again = file.with_name("root-key-2")
    done = operator.types(str(again), "--create", "--key", operator.label + "-2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert root_in(operator, again, operator.label + "-2") == ROOT


def test_a_file_that_exists_is_never_written_over(operator: Operator, file: Path) -> None:
    file.write_text("mine")
    done = operator.types(str(file), "--create")
    assert done.returncode == 1 and "rien n'a été changé" in done.stderr
    assert file.read_text() == "mine"


def test_neither_the_pin_nor_the_root_key_is_ever_printed(operator: Operator, file: Path) -> None:
    for arguments in ([str(file), "--create"], [str(file)], [str(file.with_name("b")), "--key", "nobody"]):
        done = operator.types(*arguments)
        assert operator.token.pin not in done.stdout + done.stderr
        assert TEXT not in done.stdout + done.stderr


def test_a_service_starts_from_the_wrapped_key(operator: Operator, file: Path) -> None:
    """In a process of its own, as each service opens it."""
    operator.types(str(file), "--create")
    told = to_environment_of(operator, file)
    done = subprocess.run(
        [sys.executable, "-c",
         "from libs.common.runtime.settings import load_settings\n"
         "from libs.common.keys.root_key import open_key_encryption\n"
         "print(open_key_encryption(load_settings()).key_for('x').hex())"],
        env=told, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    from libs.common.keys.key_encryption import KeyEncryption

    assert done.stdout.strip() == KeyEncryption(ROOT).key_for("x").hex(), done.stderr


def to_environment_of(operator: Operator, file: Path) -> dict[str, str]:
    from libs.common.runtime.settings import Settings

    keys = operator.token.settings(pkcs11_key=operator.label, file=file)
    kept = {
        name: value for name, value in operator.token.environment.items() if not name.startswith("ESPACE_")
    }
    return kept | to_environment(Settings(keys=keys))
