"""The root key under a real PKCS#11 token."""

import base64
import contextlib
from pathlib import Path

import pkcs11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.common.keys import pkcs11_root_key
from libs.common.keys.pkcs11_root_key import ENVELOPE, KeyAlreadyThere, create_key, unwrap, wrap
from libs.common.runtime.settings import KeySettings, SettingsRefused
from tests.keys.token import Token

ROOT = bytes(range(32))


@pytest.fixture
def keys(token: Token, label: str, file: Path) -> KeySettings:
    """Settings of a token with its key made."""
    settings = token.settings(pkcs11_key=label, file=file)
    create_key(settings)
    return settings


def test_what_the_token_wraps_it_opens(keys: KeySettings) -> None:
    assert unwrap(keys, wrap(keys, ROOT)) == ROOT


def test_two_envelopes_of_one_key_share_nothing(keys: KeySettings) -> None:
    one, other = (base64.urlsafe_b64decode(wrap(keys, ROOT)) for _ in range(2))
    assert len(one) == ENVELOPE and one[:32] != other[:32] and one[44:] != other[44:]


def test_the_key_of_the_token_never_leaves_it(keys: KeySettings, token: Token) -> None:
    with token.opened() as session:
        key = session.get_key(object_class=pkcs11.ObjectClass.SECRET_KEY, label=keys.pkcs11_key)
        assert key[pkcs11.Attribute.SENSITIVE] and not key[pkcs11.Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.AttributeSensitive):
            _ = key[pkcs11.Attribute.VALUE]


@given(place=st.integers(0, ENVELOPE - 1), change=st.integers(1, 255))
def test_an_envelope_altered_anywhere_does_not_open(token: Token, place: int, change: int) -> None:
    # One key for all the examples: making one writes to the token.
    keys = token.settings(pkcs11_key="espace-altered", file=Path("/nowhere"))
    with contextlib.suppress(KeyAlreadyThere):
        create_key(keys)
    sealed = bytearray(base64.urlsafe_b64decode(wrap(keys, ROOT)))
    sealed[place] ^= change
    with pytest.raises(SettingsRefused, match="a été altéré"):
        unwrap(keys, base64.urlsafe_b64encode(sealed).decode())


def test_another_key_of_the_token_does_not_open(keys: KeySettings) -> None:
    other = replace(keys, pkcs11_key=keys.pkcs11_key + "-other")
    create_key(other)
    with pytest.raises(SettingsRefused, match="enveloppé par une autre clé"):
        unwrap(other, wrap(keys, ROOT))


@pytest.mark.parametrize("text", ["", "A", "AAAA", "é", "A" * 4000, base64.urlsafe_b64encode(ROOT).decode()])
def test_a_text_that_is_no_envelope_is_refused_before_the_token_is_asked(text: str, file: Path) -> None:
    with pytest.raises(SettingsRefused, match="ne contient pas de clé enveloppée"):
        unwrap(KeySettings(provider="pkcs11", file=file, pkcs11_module=Path("/nowhere.so")), text)


def test_a_key_that_could_be_taken_out_is_refused(token: Token, label: str) -> None:
    token.generate(label, SENSITIVE=True, EXTRACTABLE=True)
    with pytest.raises(SettingsRefused, match="peut sortir du jeton"):
        wrap(token.settings(pkcs11_key=label), ROOT)


def test_a_second_key_of_the_same_name_is_not_made(keys: KeySettings) -> None:
    with pytest.raises(KeyAlreadyThere):
        create_key(keys)


def test_two_keys_of_one_name_are_refused_rather_than_guessed(token: Token, label: str) -> None:
    for _ in range(2):
        token.generate(label, SENSITIVE=True, EXTRACTABLE=False)
    with pytest.raises(SettingsRefused, match="une clé, et une seule"):
        wrap(token.settings(pkcs11_key=label), ROOT)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pkcs11_key": "nobody"}, "une clé, et une seule"),
        ({"pkcs11_token": "nobody"}, "un jeton, et un seul"),
        ({"pkcs11_module": Path("/nowhere.so")}, "a refusé"),
    ],
)
def test_what_is_not_there_is_named(keys: KeySettings, changed: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsRefused, match=said):
        wrap(replace(keys, **changed), ROOT)


def test_a_wrong_pin_is_told_once_and_never_shown(keys: KeySettings) -> None:
    with pytest.raises(SettingsRefused, match="n'insistez pas") as refused:
        wrap(replace(keys, pkcs11_pin="00000000-wrong"), ROOT)
    assert "wrong" not in str(refused.value)
    assert unwrap(keys, wrap(keys, ROOT)) == ROOT


def test_without_the_library_the_remedy_is_told(keys: KeySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pkcs11", None)
    with pytest.raises(SettingsRefused, match=r"espace\[pkcs11\]"):
        pkcs11_root_key.wrap(keys, ROOT)
