"""One Espace on one machine: its folder, its secrets, its addresses, and what each of its processes may know."""

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

import msgspec

from libs.common.database.roles import KINDS
from libs.common.runtime import embedded_nats
from libs.common.runtime.child_process import StartRefused, port_is_taken
from libs.common.runtime.generated import client_key, random_key, random_password, write_private
from libs.common.runtime.settings import (
    CatcherSettings,
    DatabaseSettings,
    KeySettings,
    MailSettings,
    NatsSettings,
    ServiceSettings,
    Settings,
    to_toml,
)
from services.registry import SERVICES

DATABASE = "espace"
MAIL_WEB, NATS, NATS_MONITOR, SMTP, POSTGRES = 4, 22, 23, 25, 32
"""Places above the base port; the services' own are in the registry."""
BEHIND_TLS = 10
"""With `--tls` the public ports are Caddy's and the services listen this much higher."""


@dataclass(frozen=True)
class Installation:
    """Where an `espace up` lives and how it is reached."""

    data: Path
    port_base: int = 8400
    tls: bool = False
    hosts: tuple[str, ...] = ()
    """Names served besides `localhost`."""
    log_level: str = "info"
    _lock: list[IO[str]] = field(default_factory=list[IO[str]], repr=False)

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def nats(self) -> Path:
        return self.data / "nats"

    @property
    def config(self) -> Path:
        """The settings of the whole installation, for the operator's commands."""
        return self.data / "espace.toml"

    @property
    def demonstration(self) -> Path:
        """What the demonstration made at the first start: accounts, clients."""
        return self.data / "demonstration.json"

    @property
    def authority(self) -> Path:
        """Certificate of the authority that signs our https addresses."""
        return self.data / "caddy" / "pki" / "authorities" / "local" / "root.crt"

    def port(self, offset: int) -> int:
        return self.port_base + offset

    def listens_on(self, offset: int) -> int:
        """Where the process behind the public port `offset` listens."""
        return self.port(offset + (BEHIND_TLS if self.tls else 0))

    def address(self, offset: int) -> str:
        """Public address of the port `offset`."""
        return f"{'https' if self.tls else 'http'}://localhost:{self.port(offset)}"

    def ports(self) -> dict[int, str]:
        """Every port to be taken, with who takes it."""
        web = {service.port_offset: service.name for service in SERVICES} | {MAIL_WEB: "mail catcher"}
        taken = {self.listens_on(offset): name for offset, name in web.items()}
        if self.tls:
            taken |= {self.port(offset): f"{name} (https)" for offset, name in web.items()}
        others = {NATS: "NATS", NATS_MONITOR: "NATS (health)", SMTP: "SMTP", POSTGRES: "PostgreSQL"}
        return taken | {self.port(offset): name for offset, name in others.items()}

    # ── The folder ──────────────────────────────────────────────────────────

    def open_folder(self) -> None:
        """Create the folder and hold it: one Espace at a time. Raises `StartRefused` with the remedy."""
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in ("secrets", "config", "logs", "mail", "post", "files"):
                (self.data / folder).mkdir(exist_ok=True, mode=0o700)
            # Held open for as long as this process lives; the kernel lets go when it dies.
            lock = (self.data / "espace.lock").open("a+")
        except OSError as error:
            raise StartRefused(
                f"Le dossier de données {self.data} ne s'ouvre pas en écriture ({os.strerror(error.errno or 0)}). "
                "Choisissez-en un autre (--data DOSSIER), ou rendez-le à votre compte (chown)."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "inconnu"
            lock.close()
            raise StartRefused(
                f"Un autre Espace (processus {holder}) tourne déjà sur {self.data}. Arrêtez-le (kill {holder}), "
                "ou donnez à celui-ci son dossier et ses ports (--data DOSSIER --port-base 8500)."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock.append(lock)

    def wait_for_ports(self, within: float = 6.0) -> None:
        """Refuse when a port is taken; a moment is left to servers that an earlier Espace is still stopping."""
        # The pid file outlives a kill only: after an orderly stop nothing of ours can be in the way.
        deadline = time.monotonic() + (within if (self.postgres / "postmaster.pid").exists() else 0)
        while taken := {port: name for port, name in self.ports().items() if port_is_taken(port)}:
            if time.monotonic() >= deadline:
                listed = ", ".join(f"{port} ({name})" for port, name in sorted(taken.items()))
                raise StartRefused(
                    f"{'Port déjà pris' if len(taken) == 1 else 'Ports déjà pris'} : {listed}. Arrêtez ce qui "
                    f"l'occupe (ss -ltnp), ou décalez Espace (--port-base {self.port_base + 100})."
                )
            time.sleep(0.1)

    # ── What is generated once ──────────────────────────────────────────────

    def secret(self, name: str, make: Callable[[], str] = random_password) -> str:
        """The secret `name`, made at the first start, kept 0600 and never changed after."""
        path = self.data / "secrets" / name
        if not path.exists():
            write_private(path, make())
        return path.read_text("utf-8")

    @cached_property
    def nats_passwords(self) -> dict[str, str]:
        return {user: self.secret(f"nats-{user}") for user in embedded_nats.new_passwords()}

    def role_passwords(self, service: str) -> dict[str, str]:
        return {kind: self.secret(f"{service}-{kind}") for kind in KINDS}

    def dsn(self, user: str, password: str, database: str = DATABASE) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port(POSTGRES)}/{database}"

    @property
    def admin_dsn(self) -> str:
        return self.dsn("postgres", self.secret("postgres"))

    # ── What the processes are told ─────────────────────────────────────────

    @cached_property
    def settings(self) -> Settings:
        """The settings of this installation, whole: the operator's commands see them, no service does."""
        sections = {service.name: self._section(service.name, service.port_offset) for service in SERVICES}
        return Settings(
            identity=sections["identity"],
            adherent=sections["adherent"],
            documents=sections["documents"],
            portal=sections["portal"],
            nats=NatsSettings(url=f"nats://127.0.0.1:{self.port(NATS)}"),
            mail=MailSettings(port=self.port(SMTP), web=self.address(MAIL_WEB)),
            catcher=CatcherSettings(
                port=self.listens_on(MAIL_WEB), smtp_port=self.port(SMTP), folder=self.data / "mail"
            ),
            keys=KeySettings(key_encryption_key=self.secret("key-encryption-key", random_key)),
            database=DatabaseSettings(admin_dsn=self.admin_dsn),
            demonstration=True,
            allowed_hosts=("localhost", "127.0.0.1", *self.hosts),
            # The portal hears of sign-outs there, and so does an application that is being written on this machine.
            outbound_hosts=("localhost",),
            trusted_proxies=("127.0.0.1",) if self.tls else (),
            trusted_ca=self.authority if self.tls else None,
            post_office=self.data / "post",
            files=self.data / "files",
            log_level=self.log_level,
        )

    def settings_of(self, name: str) -> Settings:
        """What the service `name` is told: its own secrets, and where the others are."""
        whole = self.settings
        others = {
            service.name: ServiceSettings(base=whole.service(service.name).base)
            for service in SERVICES
            if service.name != name
        }
        own = msgspec.structs.replace(whole.service(name), owner_dsn="")
        return msgspec.structs.replace(whole, **others, **{name: own}, database=DatabaseSettings())

    def write_settings(self) -> None:
        """One file for the operator, one a service, 0600, written anew at each start."""
        write_private(self.config, to_toml(self.settings))
        for service in SERVICES:
            write_private(self.config_of(service.name), to_toml(self.settings_of(service.name)))
        catcher = Settings(
            portal=ServiceSettings(base=self.settings.portal.base),
            mail=MailSettings(web=self.settings.mail.web),
            catcher=self.settings.catcher,
            allowed_hosts=self.settings.allowed_hosts,
            post_office=self.settings.post_office,
            log_level=self.log_level,
        )
        write_private(self.config_of("mail-catcher"), to_toml(catcher))

    def config_of(self, name: str) -> Path:
        return self.data / "config" / f"{name}.toml"

    def has_moved(self) -> bool:
        """Whether it answered elsewhere the last time that it was ready: the caisses know the former addresses."""
        try:
            before = json.loads((self.data / "ready.json").read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return any(before.get(service.name) != self.address(service.port_offset) for service in SERVICES)

    def nats_server(self) -> embedded_nats.NatsServer:
        return embedded_nats.NatsServer(self.port(NATS), self.port(NATS_MONITOR), self.nats_passwords)

    def ready_answer(self) -> dict[str, object]:
        """What a script needs to use this installation; holds the demonstration's secrets, hence 0600."""
        demo: dict[str, object] = {}
        if self.demonstration.exists():
            demo = json.loads(self.demonstration.read_text("utf-8"))
        return {
            **{service.name: self.address(service.port_offset) for service in SERVICES},
            "mail": self.address(MAIL_WEB),
            "caisses": demo.get("caisses", []),
            "postgres": self.admin_dsn,
            "nats": self.settings.nats.url,
            "config": str(self.config.absolute()),
            "data": str(self.data.absolute()),
            "pid": os.getpid(),
            **({"ca": str(self.authority.absolute())} if self.tls else {}),
            "demo": demo,
        }

    def _section(self, name: str, offset: int) -> ServiceSettings:
        passwords = self.role_passwords(name)
        return ServiceSettings(
            base=self.address(offset),
            port=self.listens_on(offset),
            dsn=self.dsn(f"{name}_app", passwords["app"]),
            relay_dsn=self.dsn(f"{name}_relay", passwords["relay"]),
            owner_dsn=self.dsn(f"{name}_owner", passwords["owner"]),
            nats_user=name,
            nats_password=self.nats_passwords[name],
            client_key=self.secret(f"{name}-client-key.pem", client_key),
        )
