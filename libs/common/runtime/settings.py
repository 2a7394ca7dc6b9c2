"""What an installation decides: addresses, secrets, ports; read once, refused whole when wrong.

Two sources, the second winning: one TOML file named by `ESPACE_CONFIG` (a table per section) and the
environment (`ESPACE_<SECTION>_<KEY>`). A secret may instead be named by a file: `ESPACE_IDENTITY_DSN_FILE`, or
`dsn_file = "…"` in the TOML. A key that means nothing refuses the start, with its line or its variable.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

SecretText = Annotated[str, Meta(extra={"secret": True})]
"""Text that `repr` hides and that a file may hold (`_FILE`)."""

NOT_SETTINGS = frozenset(
    {"ESPACE_CONFIG", "ESPACE_CHROMIUM", "ESPACE_PKCS11_MODULE", "ESPACE_PKCS11_TOKEN", "ESPACE_PKCS11_PIN"}
)
"""Variables of the same prefix that are read elsewhere: here, and by tests that are lent a browser or a token."""

SERVICES = ("identity", "adherent", "documents", "portal")


class SettingsRefused(Exception):
    """The configuration cannot be used; the message is the whole sentence an operator reads."""


class Section(Struct, frozen=True, kw_only=True):
    """A group of settings whose secrets never show when it is printed."""

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}='…'" if name in secret_keys(type(self)) and value else f"{name}={value!r}"
            for name, value in ((name, getattr(self, name)) for name in self.__struct_fields__)
        )
        return f"{type(self).__name__}({shown})"


class ServiceSettings(Section, frozen=True, kw_only=True):
    """One service: where it is reached, where it listens, what it may open."""

    base: str = ""
    """Public address without final slash; issuers, audiences and links are made from it."""
    host: str = "127.0.0.1"
    port: int = 0
    work_metrics_port: int = 0
    """Where `espace work` gives its figures (`/metrics`, on `host`): queues, outbox; 0 for nowhere."""
    dsn: SecretText = ""
    """Database as `<svc>_app`: rows of one caisse at a time."""
    relay_dsn: SecretText = ""
    """Database as `<svc>_relay`: outbox and sweeps."""
    owner_dsn: SecretText = ""
    """Database as `<svc>_owner`: migrations only."""
    nats_user: str = ""
    nats_password: SecretText = ""
    client_key: SecretText = ""
    """The service's own key as an OAuth client (`private_key_jwt`, DPoP): EC P-256, PEM (PKCS#8)."""


class NatsSettings(Section, frozen=True, kw_only=True):
    """The broker; a service boots and answers without it."""

    url: str = "nats://127.0.0.1:8422"
    ca: Path | None = None
    replicas: int = 1
    """Copies of each stream: three in a cluster, where one alone may come back empty (docs/decisions/0008)."""


class MailSettings(Section, frozen=True, kw_only=True):
    """The relay that carries our mail, and the catcher's web address in a demonstration."""

    host: str = "127.0.0.1"
    port: int = 8425
    username: str = ""
    password: SecretText = ""
    starttls: bool = False
    web: str = ""
    """Where a person reads the caught mail; empty in production."""


class CatcherSettings(Section, frozen=True, kw_only=True):
    """The demonstration's mail catcher: where it listens and keeps what it caught."""

    host: str = "127.0.0.1"
    port: int = 8404
    smtp_port: int = 8425
    folder: Path | None = None


class KeySettings(Section, frozen=True, kw_only=True):
    """What encrypts the other keys at rest; read once, as a process starts (`libs/common/keys/root_key.py`)."""

    provider: Literal["environment", "file", "pkcs11"] = "environment"
    """Where the key-encryption key comes from: this section, a file, or a file that a PKCS#11 token opens."""
    key_encryption_key: SecretText = ""
    """`environment`: 32 bytes, base64url without padding."""
    file: Path | None = None
    """`file`: the same text in a file. `pkcs11`: what `espace keys wrap` wrote."""
    pkcs11_module: Path | None = None
    """The module's shared library, from the maker of the token."""
    pkcs11_token: str = ""
    """The token's label."""
    pkcs11_key: str = ""
    """The label of its secret that never leaves it."""
    pkcs11_pin: SecretText = ""
    """The token's user PIN."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The settings, by dotted name, that the chosen provider cannot do without."""
        if self.provider == "environment":
            return ("keys.key_encryption_key",)
        if self.provider == "file":
            return ("keys.file",)
        return tuple(
            f"keys.{name}" for name in ("file", "pkcs11_module", "pkcs11_token", "pkcs11_key", "pkcs11_pin")
        )


class DatabaseSettings(Section, frozen=True, kw_only=True):
    """What an operator alone holds."""

    admin_dsn: SecretText = ""
    """Database as superuser: `espace migrate` creates the services' roles with it, no service is given it."""


class Settings(Section, frozen=True, kw_only=True):
    """Every setting of Espace; each service reads its own section and the common ones."""

    identity: ServiceSettings = ServiceSettings()
    adherent: ServiceSettings = ServiceSettings()
    documents: ServiceSettings = ServiceSettings()
    portal: ServiceSettings = ServiceSettings()
    nats: NatsSettings = NatsSettings()
    mail: MailSettings = MailSettings()
    catcher: CatcherSettings = CatcherSettings()
    keys: KeySettings = KeySettings()
    database: DatabaseSettings = DatabaseSettings()
    demonstration: bool = False
    """True under `espace up`: demonstration cabinets, caught mail, letters on screen."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names a request may carry besides those of the public addresses."""
    outbound_hosts: tuple[str, ...] = ()
    """Host names that clients may name (jwks_uri, logout …) although they are private or answer in plain http."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of the one proxy hop whose X-Forwarded-For is believed; its other headers never are."""
    trusted_ca: Path | None = None
    """Authority of our own https addresses when the system does not know it."""
    post_office: Path | None = None
    """Folder where print lots are handed over."""
    files: Path | None = None
    """Folder of encrypted documents."""
    log_level: str = "info"

    def service(self, name: str) -> ServiceSettings:
        """The section of the service `name`; `SettingsRefused` when there is none."""
        if name not in SERVICES:
            raise SettingsRefused(
                f"Aucun service ne s'appelle « {name} » (services : {', '.join(SERVICES)})."
            )
        return cast(ServiceSettings, getattr(self, name))

    def lacking(self, *keys: str) -> list[str]:
        """Those of `keys` ("identity.dsn") that have no value."""
        return [key for key in keys if not _value_at(self, key)]

    def require(self, *keys: str) -> None:
        """Refuse unless each of `keys` has a value; every missing one is named at once."""
        if missing := self.lacking(*keys):
            named = ", ".join(f"{key} ({variable_of(key)})" for key in missing)
            raise SettingsRefused(
                f"Il manque à la configuration : {named}. "
                "Donnez la variable, ou la clé dans le fichier que nomme ESPACE_CONFIG."
            )


@dataclass(frozen=True)
class _Given:
    """One raw value and where it came from, for the sentence that refuses it."""

    value: object
    origin: str


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the TOML file and the environment; `SettingsRefused` names the first fault of either."""
    environ = os.environ if environ is None else environ
    given: dict[str, _Given] = {}
    if config := environ.get("ESPACE_CONFIG"):
        given |= _from_toml(Path(config))
    given |= _from_environment(environ)
    return _build(given)


def variable_of(key: str) -> str:
    """`identity.relay_dsn` → `ESPACE_IDENTITY_RELAY_DSN`."""
    return "ESPACE_" + key.replace(".", "_").upper()


@cache
def known_keys() -> dict[str, Any]:
    """Every setting by dotted name, with its type; secrets also under `…_file`."""
    keys = _plain_keys()
    return keys | {f"{key}_file": Path for key, kind in keys.items() if _is_secret(kind)}


@cache
def _plain_keys() -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for name, kind in _types(Settings).items():
        if isinstance(kind, type) and issubclass(kind, Section):
            keys |= {f"{name}.{key}": key_kind for key, key_kind in _types(kind).items()}
        else:
            keys[name] = kind
    return keys


def secret_keys(section: type[Section]) -> frozenset[str]:
    """The names in `section` whose value must never be shown."""
    return frozenset(name for name, kind in _types(section).items() if _is_secret(kind))


def to_environment(settings: Settings) -> dict[str, str]:
    """The variables from which `load_settings` would read `settings` again; what is unchanged is left out."""
    return {variable_of(key): _as_text(value) for key, value in _changed(settings)}


def to_toml(settings: Settings) -> str:
    """The file from which `load_settings` would read `settings` again; what is unchanged is left out."""
    tables: dict[str, list[str]] = {"": []}
    for key, value in _changed(settings):
        section, _, name = key.rpartition(".")
        written = json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
        tables.setdefault(section, []).append(f"{name} = {written}")
    parts = [f"[{section}]\n" * bool(section) + "\n".join(lines) for section, lines in tables.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _as_text(value: object) -> str:
    return ",".join(cast(tuple[str, ...], value)) if isinstance(value, tuple) else str(value)


def _changed(settings: Settings) -> Iterator[tuple[str, Any]]:
    usual = Settings()
    for key in _plain_keys():
        value = _value_at(settings, key)
        if value != _value_at(usual, key):
            yield key, value


def _types(section: type[Section]) -> dict[str, Any]:
    return get_type_hints(section, include_extras=True)


def _is_secret(kind: Any) -> bool:
    return get_origin(kind) is Annotated and any(
        isinstance(mark, Meta) and (mark.extra or {}).get("secret") for mark in get_args(kind)[1:]
    )


def _value_at(settings: Settings, key: str) -> object:
    value: object = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _from_toml(path: Path) -> dict[str, _Given]:
    try:
        text = path.read_text("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise SettingsRefused(
            f"Le fichier {path} (ESPACE_CONFIG) ne se lit pas : {error.strerror}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRefused(f"Le fichier {path} n'est pas du TOML : {error}.") from error
    given: dict[str, _Given] = {}
    for name, value in tables.items():
        pairs = (
            [(f"{name}.{key}", inner) for key, inner in cast(dict[str, object], value).items()]
            if isinstance(value, dict)
            else [(name, cast(object, value))]
        )
        if isinstance(value, dict) and not any(key.startswith(f"{name}.") for key in known_keys()):
            raise _unknown(f"{path}, ligne {_line_of(text, name)}", f"[{name}]", name, _sections())
        for key, inner in pairs:
            origin = f"{path}, ligne {_line_of(text, key)}"
            if key not in known_keys():
                raise _unknown(origin, f"« {key} »", key, known_keys())
            given[key] = _Given(inner, f"{origin} : « {key} »")
    return _read_secret_files(given)


def _line_of(text: str, key: str) -> int:
    """The line that sets `key` (or opens its table); 1 when written in a form we do not follow."""
    section, _, name = key.rpartition(".")
    table, opened = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]", line):
            table = header.group(1)
            opened = number if table in (section, key) else opened
        elif (table == section and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line)) or (
            not table and re.match(rf"\s*{re.escape(key)}\s*=", line)
        ):
            return number
    return opened


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    by_variable = {variable_of(key): key for key in known_keys()}
    given: dict[str, _Given] = {}
    for variable, value in environ.items():
        if not variable.startswith("ESPACE_") or variable in NOT_SETTINGS:
            continue
        if variable not in by_variable:
            raise _unknown("environnement", f"la variable {variable}", variable, by_variable)
        given[by_variable[variable]] = _Given(value, variable)
    return _read_secret_files(given)


def _read_secret_files(given: dict[str, _Given]) -> dict[str, _Given]:
    read: dict[str, _Given] = {}
    for key, source in given.items():
        secret = key.removesuffix("_file")
        if secret == key or secret not in known_keys():
            read[key] = source
            continue
        if secret in given:
            raise SettingsRefused(
                f"{source.origin} et {given[secret].origin} disent deux fois la même chose : gardez-en un."
            )
        try:
            text = Path(str(source.value)).read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise SettingsRefused(
                f"{source.origin} : le fichier {source.value} ne se lit pas ({error.strerror})."
            ) from error
        read[secret] = _Given(text, source.origin)
    return read


def _build(given: dict[str, _Given]) -> Settings:
    sections: dict[str, dict[str, object]] = {}
    top: dict[str, object] = {}
    for key, source in given.items():
        section, _, name = key.rpartition(".")
        (sections.setdefault(section, {}) if section else top)[name] = _converted(key, source)
    for name, values in sections.items():
        top[name] = _types(Settings)[name](**values)
    return Settings(**cast(dict[str, Any], top))


def _converted(key: str, source: _Given) -> object:
    kind, value = known_keys()[key], source.value
    if get_origin(kind) is tuple and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.convert(value, kind, strict=False, dec_hook=_as_path)
    except msgspec.ValidationError as error:
        shown = "" if _is_secret(kind) else f" = {source.value!r}"
        raise SettingsRefused(f"{source.origin}{shown} ne convient pas : {error}.") from error


def _as_path(kind: type, value: object) -> Path:
    if kind is not Path or not isinstance(value, str):
        raise TypeError(f"{kind} is no kind of setting: teach it to this reader")
    return Path(value)


def _sections() -> list[str]:
    return sorted({key.partition(".")[0] for key in known_keys() if "." in key})


def _unknown(origin: str, said: str, key: str, known: Iterable[str]) -> SettingsRefused:
    close = get_close_matches(key, list(known), n=1, cutoff=0.5)
    hint = f" Vouliez-vous dire {close[0]} ?" if close else ""
    return SettingsRefused(f"{origin} : {said} n'est pas un réglage d'Espace.{hint}")
