"""What an operator reads when the configuration is wrong, and what nobody reads of a secret."""

import re
from typing import Any

import pytest

from libs.common.runtime.settings import (
    SERVICES,
    MailSettings,
    ServiceSettings,
    Settings,
    SettingsRefused,
    known_keys,
    load_settings,
    to_environment,
    to_toml,
    variable_of,
)
from services.registry import ROOT

SECRET = "s3cret-that-nobody-reads"


def refusal(environ):
    with pytest.raises(SettingsRefused) as refused:
        load_settings(environ)
    return str(refused.value)


def test_nothing_given_is_the_usual_installation():
    assert load_settings({}) == Settings()


def test_the_environment_wins_over_the_file(tmp_path):
    file = tmp_path / "espace.toml"
    file.write_text('[identity]\nbase = "https://file.example"\nport = 1\n')
    settings = load_settings({"ESPACE_CONFIG": str(file), "ESPACE_IDENTITY_PORT": "8401"})
    assert (settings.identity.base, settings.identity.port) == ("https://file.example", 8401)


def test_an_unknown_variable_is_named_with_its_nearest_neighbour():
    said = refusal({"ESPACE_IDENTITY_DNS": "x"})
    assert "ESPACE_IDENTITY_DNS" in said
    assert "ESPACE_IDENTITY_DSN ?" in said


def test_an_unknown_key_is_named_with_its_file_and_line(tmp_path):
    file = tmp_path / "espace.toml"
    file.write_text('demonstration = true\n\n[identity]\nbase = "https://id.example"\nporte = 8401\n')
    said = refusal({"ESPACE_CONFIG": str(file)})
    assert f"{file}, ligne 5" in said
    assert "identity.port ?" in said


def test_an_unknown_table_is_named_with_its_line(tmp_path):
    file = tmp_path / "espace.toml"
    file.write_text('[nats]\nurl = "nats://x"\n\n[identité]\nport = 1\n'.replace("identité", "identities"))
    said = refusal({"ESPACE_CONFIG": str(file)})
    assert "ligne 4" in said
    assert "identity ?" in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ESPACE_IDENTITY_PORT", "eighty"), ("ESPACE_DEMONSTRATION", "perhaps"), ("ESPACE_MAIL_PORT", "25.5")],
)
def test_a_value_of_the_wrong_kind_is_shown_with_its_variable(variable, value):
    said = refusal({variable: value})
    assert variable in said
    assert value in said


def test_a_file_that_is_no_toml_is_a_sentence(tmp_path):
    file = tmp_path / "espace.toml"
    file.write_text("[identity\n")
    assert str(file) in refusal({"ESPACE_CONFIG": str(file)})
    assert "ne se lit pas" in refusal({"ESPACE_CONFIG": str(tmp_path / "absent")})


def test_a_secret_may_come_from_a_file(tmp_path):
    (tmp_path / "dsn").write_text(f"postgresql://x:{SECRET}@h/d\n")
    settings = load_settings({"ESPACE_IDENTITY_DSN_FILE": str(tmp_path / "dsn")})
    assert settings.identity.dsn == f"postgresql://x:{SECRET}@h/d"


def test_a_secret_given_twice_is_refused(tmp_path):
    (tmp_path / "dsn").write_text("x")
    said = refusal({"ESPACE_IDENTITY_DSN_FILE": str(tmp_path / "dsn"), "ESPACE_IDENTITY_DSN": SECRET})
    assert "ESPACE_IDENTITY_DSN_FILE" in said
    assert SECRET not in said


def test_what_is_missing_is_named_at_once():
    with pytest.raises(
        SettingsRefused, match=r"identity\.base \(ESPACE_IDENTITY_BASE\), keys\.key_encryption_key"
    ):
        Settings().require("identity.base", "identity.host", "keys.key_encryption_key")


def test_no_secret_shows_when_settings_are_printed():
    secrets = {key: f"{SECRET}-{key}" for key in known_keys() if f"{key}_file" in known_keys()}
    settings = load_settings({variable_of(key): value for key, value in secrets.items()})
    assert len(secrets) > 20
    assert SECRET not in repr(settings)
    assert SECRET not in str([settings.identity, settings.keys, settings.mail])


def test_settings_survive_being_written_down(tmp_path):
    settings = Settings(
        identity=ServiceSettings(
            base='https://é"\\\n.example', port=8401, dsn=SECRET, client_key="-----BEGIN\nx\n"
        ),
        mail=MailSettings(starttls=True),
        allowed_hosts=("a.example", "b.example"),
        post_office=tmp_path / "post",
        demonstration=True,
    )
    file = tmp_path / "espace.toml"
    file.write_text(to_toml(settings), "utf-8")
    assert load_settings({"ESPACE_CONFIG": str(file)}) == settings
    assert load_settings(to_environment(settings)) == settings


def test_every_setting_has_its_line_in_the_reference_with_its_default():
    """What the page says of a key: its default, and whether a file may hold it."""
    page = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \|(?: `([^`]*)`)?[^|]*\|(.*)\|$", page, re.MULTILINE)
    told = {key: (default, "**secret**" in says) for key, default, says in rows}

    def usual(key: str) -> tuple[str, bool]:
        value: Any = Settings()
        for name in key.split("."):
            value = getattr(value, name)
        shown = str(value).lower() if isinstance(value, bool) else str(value or "")
        return shown, f"{key}_file" in known_keys()

    wanted: dict[str, tuple[str, bool]] = {}
    for key in known_keys():
        if key.endswith("_file") and key.removesuffix("_file") in known_keys():
            continue
        section, _, name = key.partition(".")
        default, is_secret = usual(key)
        zero = "0" if name == "work_metrics_port" else ""
        wanted[name if section in SERVICES else key] = (default or zero, is_secret)
    assert told == wanted
