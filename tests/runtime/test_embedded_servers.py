"""PostgreSQL and NATS as we start them: durable, closed, and patient with what an earlier run left behind."""

import json
import os
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import asyncpg
import psutil
import pytest

from libs.common.bus.connection import Bus, BusUnavailable
from libs.common.runtime import embedded_postgres as embedded
from libs.common.runtime import unprivileged
from libs.common.runtime.child_process import StartRefused, free_port
from libs.common.runtime.embedded_nats import configuration_text, embedded_nats
from libs.common.runtime.embedded_postgres import embedded_postgres
from tests.runtime.running import ROOT, clean_environment, espace, free_port_base

is_root = os.geteuid() == 0


@pytest.fixture(scope="module")
def closed_folder() -> Iterator[Path]:
    """A folder closed to others, as a home is, that nothing but this file uses."""
    with tempfile.TemporaryDirectory(prefix="espace-closed-") as path:
        os.chmod(path, 0o700)
        yield Path(path)


@pytest.fixture(scope="module")
async def cluster(closed_folder: Path) -> Path:
    data = closed_folder / "home" / "postgres"
    data.parent.mkdir(mode=0o700)
    async with embedded_postgres(data):
        pass
    return data


async def test_it_is_durable_checked_and_closed(cluster: Path):
    async with embedded_postgres(cluster) as server:
        connection = await asyncpg.connect(server.dsn())
        rows = await connection.fetch("SELECT name, setting FROM pg_settings")
        settings = {row["name"]: row["setting"] for row in rows}
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.dsn(password="guessed"))
    wanted = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on"}
    wanted |= {
        "listen_addresses": "127.0.0.1",
        "password_encryption": "scram-sha-256",
        "unix_socket_directories": "",
    }
    assert {name: settings[name] for name in wanted} == wanted
    assert "trust" not in (cluster / "pg_hba.conf").read_text().replace("# ", "").split("TYPE")[-1]
    assert server.password not in repr(server)


@pytest.mark.parametrize("major", [16, 18])
async def test_both_majors_of_the_wheel_start(tmp_path: Path, major: int):
    async with embedded_postgres(tmp_path / "postgres", major=major) as server:
        connection = await asyncpg.connect(server.dsn())
        assert (await connection.fetchval("SHOW server_version")).startswith(str(major))
        await connection.close()


async def test_parents_stay_closed_to_everyone_else(cluster: Path):
    for folder in (cluster, cluster.parent, cluster.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o007 == 0


async def test_a_pid_file_that_names_another_program_is_forgotten(cluster: Path):
    (cluster / "postmaster.pid").write_text(f"{os.getpid()}\n{cluster}\n1\n5432\n\n127.0.0.1\n 1 1\nready\n")
    async with embedded_postgres(cluster) as server:
        connection = await asyncpg.connect(server.dsn())
        await connection.close()


@pytest.mark.parametrize("left", ["", "not a number\n", "99999999\n"])
async def test_a_pid_file_cut_short_is_forgotten(cluster: Path, left: str):
    (cluster / "postmaster.pid").write_text(left)
    async with embedded_postgres(cluster) as server:
        connection = await asyncpg.connect(server.dsn())
        await connection.close()


async def test_a_server_left_by_a_killed_supervisor_is_stopped_first(cluster: Path):
    command = embedded.server_command(cluster, free_port())
    identity: dict[str, Any] = (
        {"user": command.uid, "group": command.uid, "extra_groups": []} if command.uid else {}
    )
    with subprocess.Popen(
        command.argv, env=dict(command.environment), cwd=cluster, stderr=subprocess.DEVNULL, **identity
    ) as left:
        while not embedded.is_ready(cluster, left.pid):
            assert left.poll() is None
        async with embedded_postgres(cluster) as server:
            connection = await asyncpg.connect(server.dsn())
            await connection.close()
        assert left.wait(10) == 0


async def test_an_older_cluster_is_refused_with_the_remedy(tmp_path: Path):
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(StartRefused, match="pg_dump"):
        async with embedded_postgres(data):
            pass


async def test_a_folder_of_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "thesis.odt").write_text("years of work")
    with pytest.raises(StartRefused, match="autre chose"):
        async with embedded_postgres(tmp_path / "postgres"):
            pass
    assert (tmp_path / "postgres" / "thesis.odt").exists()


async def test_a_port_that_is_taken_is_told_with_the_last_words(cluster: Path):
    async with embedded_nats(cluster.with_name("nats")) as nats:
        with pytest.raises(StartRefused, match="Address already in use"):
            async with embedded_postgres(cluster, nats.port):
                pass


async def test_it_never_runs_as_root(cluster: Path):
    async with embedded_postgres(cluster):
        pid = int((cluster / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
        assert process.uids().effective != 0
        assert os.getpgid(pid) == pid


def reachable_python(uid: int) -> str:
    """This Python, or one of the same version, that `uid` may run: root's own is often closed to others."""
    same = f"python3.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{same}", f"/usr/local/bin/{same}"):
        path = Path(candidate)
        if path.exists() and all(unprivileged.can_reach(step, uid) for step in (path, path.resolve())):
            return candidate
    # Ours, then: the entry lets that one account pass, as the server's own does.
    unprivileged.let_pass(Path(sys.executable).resolve(), uid)
    return sys.executable


def test_an_ordinary_user_starts_it_too():
    """The same code where nobody is root: run by an unprivileged account when the tests themselves are root."""
    program = (
        "import asyncio, sys, os\nfrom pathlib import Path\n"
        "from libs.common.runtime.embedded_postgres import embedded_postgres\n"
        "async def main():\n"
        "    async with embedded_postgres(Path(sys.argv[1]) / 'postgres') as server:\n"
        "        print(os.geteuid(), (Path(sys.argv[1]) / 'postgres').stat().st_uid)\n"
        "asyncio.run(main())"
    )
    with tempfile.TemporaryDirectory(prefix="espace-ordinary-") as folder:
        become: dict[str, Any] = {}
        python = sys.executable
        if is_root:
            account = unprivileged.account_for_initdb()
            become = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(folder, account.pw_uid, account.pw_gid)
            python = reachable_python(account.pw_uid)
        environment = clean_environment() | {
            "HOME": folder,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}",
        }
        done = subprocess.run(
            [python, "-c", program, folder],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            **become,
        )
    assert done.returncode == 0, done.stderr
    ran_as, owner = done.stdout.split()
    assert ran_as == owner != "0"


async def test_nats_keeps_each_service_to_its_own_subjects(tmp_path: Path):
    async with embedded_nats(tmp_path / "nats") as server:
        identity = Bus(server.url, user="identity", password=server.passwords["identity"], name="identity")
        adherent = Bus(server.url, user="adherent", password=server.passwords["adherent"], name="adherent")
        for bus in (identity, adherent):
            bus.start()
            assert await bus.wait_connected(10)
        await identity.jetstream.add_stream(name="IDENTITY", subjects=["identity.*.>"])
        await identity.publish("identity.mediterranee.account.activated.v1", b"{}")
        with pytest.raises(BusUnavailable):
            await adherent.publish("identity.mediterranee.account.activated.v1", b"{}", timeout=0.5)
        for bus in (identity, adherent):
            await bus.close()


async def test_nats_keeps_its_streams_under_a_name_with_accents_and_spaces(tmp_path: Path):
    folder = tmp_path / 'Téléchargements de "Zoé" 🏗'
    folder.mkdir()
    async with embedded_nats(folder / "nats"):
        assert (folder / "nats" / "jetstream").is_dir()


async def test_nats_refuses_who_has_no_password(tmp_path: Path):
    async with embedded_nats(tmp_path / "nats") as server:
        stranger = Bus(server.url, user="identity", password="guessed", name="stranger")
        stranger.start()
        assert not await stranger.wait_connected(0.7)
        await stranger.close()
        assert server.passwords["identity"] not in repr(server)


async def test_nats_syncs_each_message_and_listens_on_loopback(tmp_path: Path):
    async with embedded_nats(tmp_path / "nats") as server:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{server.monitor_port}/varz") as answer:
            told = json.load(answer)
        assert told["host"] == "127.0.0.1"
        assert told["jetstream"]["config"]["sync_always"] is True
        configuration = tmp_path / "nats.conf"
        assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
        assert configuration.read_text() == configuration_text(tmp_path / "nats", server)


async def test_what_was_acknowledged_survives_a_kill_of_nats(tmp_path: Path):
    async with embedded_nats(tmp_path / "nats") as server:
        bus = Bus(server.url, user="identity", password=server.passwords["identity"], name="identity")
        bus.start()
        assert await bus.wait_connected(10)
        await bus.jetstream.add_stream(name="IDENTITY", subjects=["identity.*.>"])
        for number in range(50):
            await bus.publish("identity.mediterranee.x", str(number).encode())
        await bus.close()
        victim = next(
            process
            for process in psutil.Process().children()
            if str(tmp_path / "nats.conf") in process.cmdline()
        )
        victim.send_signal(signal.SIGKILL)
        victim.wait(10)
    async with embedded_nats(tmp_path / "nats", passwords=server.passwords) as again:
        bus = Bus(again.url, user="identity", password=again.passwords["identity"], name="identity")
        bus.start()
        assert await bus.wait_connected(10)
        assert (await bus.jetstream.stream_info("IDENTITY")).state.messages == 50
        await bus.close()


@pytest.mark.skipif(not is_root, reason="a small disk is root's to mount")
def test_a_disk_too_small_for_a_cluster_is_a_sentence(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", small], check=False)
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        ended = espace("up", "--data", str(small / "var"), "--port-base", str(free_port_base()), "--empty")
    finally:
        subprocess.run(["umount", small], check=True)
    assert ended.returncode == 4, ended.stderr
    assert "Le disque est plein" in ended.stderr and len(ended.stderr) < 600
