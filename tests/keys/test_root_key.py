"""The key-encryption key by each provider: one contract, and what each refuses."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.common.keys import pkcs11_root_key, root_key
from libs.common.keys.root_key import PROVIDERS, open_key_encryption
from libs.common.runtime.settings import KeySettings, Settings, SettingsRefused
from tests.keys.token import Token

ROOT = bytes(range(32))
TEXT = base64.urlsafe_b64encode(ROOT).decode().rstrip("=")


@pytest.fixture
def held_by(token: Token, label: str, file: Path) -> Callable[[str], KeySettings]:
    """Settings under which the provider of that name holds `ROOT`."""

    def settings(provider: str) -> KeySettings:
        match provider:
            case "environment":
                return KeySettings(key_encryption_key=TEXT)
            case "file":
                file.write_text(TEXT + "\n")
                return KeySettings(provider="file", file=file)
            case _:
                keys = token.settings(pkcs11_key=label, file=file)
                pkcs11_root_key.create_key(keys)
                file.write_text(pkcs11_root_key.wrap(keys, ROOT))
                return keys

    return settings


# ── The contract that every provider passes ──────────────────────────────────


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_one_start_sealed_the_next_one_opens(
    held_by: Callable[[str], KeySettings], provider: str
) -> None:
    settings = Settings(keys=held_by(provider))
    sealed = open_key_encryption(settings).seal("signing-key", b"secret", context=b"kid")
    assert open_key_encryption(settings).open("signing-key", sealed, context=b"kid") == b"secret"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_root_key_that_moves_to_another_provider_opens_what_was_sealed(
    held_by: Callable[[str], KeySettings], provider: str
) -> None:
    sealed = root_key.KeyEncryption(ROOT).seal("totp", b"seed", context=b"p")
    assert open_key_encryption(Settings(keys=held_by(provider))).open("totp", sealed, context=b"p") == b"seed"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_provider_names_the_settings_it_lacks(provider: str) -> None:
    settings = Settings(keys=KeySettings(provider=provider))  # type: ignore[arg-type]
    with pytest.raises(SettingsRefused) as refused:
        open_key_encryption(settings)
    assert all(name in str(refused.value) for name in settings.keys.needs)


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "environment"])
def test_a_key_that_the_provider_ignores_is_refused(
    held_by: Callable[[str], KeySettings], provider: str
) -> None:
    keys = held_by(provider)
    doubled = KeySettings(
        **{name: getattr(keys, name) for name in keys.__struct_fields__ if name != "key_encryption_key"},
        key_encryption_key=TEXT,
    )
    with pytest.raises(SettingsRefused, match="ne la lit pas"):
        open_key_encryption(Settings(keys=doubled))


def test_a_provider_nobody_wrote_is_refused_with_its_variable() -> None:
    from libs.common.runtime.settings import load_settings

    with pytest.raises(SettingsRefused, match="ESPACE_KEYS_PROVIDER = 'vault' ne convient pas"):
        load_settings({"ESPACE_KEYS_PROVIDER": "vault"})


# ── The text of a key ────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", "short", TEXT[:-4], TEXT + "AAAA", "!" * 43, "é" * 32])
def test_a_text_that_is_no_key_is_refused_and_never_shown(text: str) -> None:
    with pytest.raises(SettingsRefused) as refused:
        root_key.root_key_of(text, "keys.key_encryption_key")
    assert not text or text not in str(refused.value)


def test_padding_and_a_line_end_change_nothing() -> None:
    assert root_key.root_key_of(TEXT + "=\r\n", "x") == root_key.root_key_of(TEXT, "x") == ROOT


# ── The file ─────────────────────────────────────────────────────────────────


def from_file(file: Path) -> bytes:
    return root_key.FromFile(KeySettings(provider="file", file=file)).read()


def test_a_file_that_anybody_may_change_is_refused_with_the_remedy(file: Path) -> None:
    file.write_text(TEXT)
    file.chmod(0o666)
    with pytest.raises(SettingsRefused, match=f"chmod 600 {file}"):
        from_file(file)


@pytest.mark.parametrize("content", [b"", b"A" * 5000, b"\xff" * 43])
def test_a_file_that_holds_no_key_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SettingsRefused, match=str(file)):
        from_file(file)


def test_an_absent_file_and_a_folder_are_refused(file: Path) -> None:
    for place in (file, file.parent):
        with pytest.raises(SettingsRefused, match="ne se lit pas"):
            from_file(place)


def test_a_changed_file_counts_from_the_next_start(file: Path) -> None:
    file.write_text(TEXT)
    running = open_key_encryption(Settings(keys=KeySettings(provider="file", file=file)))
    before = running.key_for("x")
    file.write_text(base64.urlsafe_b64encode(os.urandom(32)).decode())
    assert running.key_for("x") == before
    assert open_key_encryption(Settings(keys=KeySettings(provider="file", file=file))).key_for("x") != before
