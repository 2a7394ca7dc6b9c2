"""`espace up`: what it promises a person who presses Ctrl-C, pulls a plug, or starts it twice."""

import os
import shutil
import signal
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.runtime.running import Up, answers, espace, free_port_base, has_ended, wait_until

SERVICES = ("portal", "identity", "adherent", "documents")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not below pytest's folder: closed to others, as a person's home is.
    path = Path(tempfile.mkdtemp(prefix="espace-up-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Up]:
    running = Up(folder / "var", free_port_base(), "--empty")
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


def test_everything_answers_once_the_ready_file_is_there(up: Up):
    ready = up.wait_ready()
    assert [name for name in (*SERVICES, "mail") if not answers(ready[name])] == []
    assert ready["portal"] == f"http://localhost:{up.port_base}"
    assert ready["caisses"] == []
    assert {"postgres", "nats", "demo", "config"} <= ready.keys()


def test_nobody_else_may_read_what_it_writes(up: Up):
    ready = up.wait_ready()
    kept = [
        *(up.data / "secrets").iterdir(),
        *(up.data / "config").iterdir(),
        Path(ready["config"]),
        up.ready_file,
    ]
    assert len(kept) > 20
    assert [path for path in kept if path.stat().st_mode & 0o077] == []
    assert up.data.stat().st_mode & 0o007 == 0


def test_each_service_is_told_its_own_secrets_only(up: Up):
    secrets = {path.name: path.read_text() for path in (up.data / "secrets").iterdir()}
    for service in SERVICES:
        told = (up.data / "config" / f"{service}.toml").read_text()
        others = [
            name
            for name, secret in secrets.items()
            if secret.strip() in told and not name.startswith(service)
        ]
        assert sorted(others) == ["key-encryption-key", f"nats-{service}"]
        assert secrets[f"{service}-owner"] not in told


def test_no_secret_stands_in_an_argument_or_a_log(up: Up):
    secrets = {path.name: path.read_text().strip() for path in (up.data / "secrets").iterdir()}
    seen = up.text() + "".join(" ".join(process.cmdline()) for process in up.processes())
    seen += "".join(path.read_text("utf-8", "replace") for path in (up.data / "logs").iterdir())
    assert [name for name, secret in secrets.items() if secret in seen] == []


@pytest.mark.parametrize("name", ["serve identity", "mail-catcher"])
def test_a_killed_server_comes_back(up: Up, name: str):
    ready = up.wait_ready()
    address = ready["mail" if name == "mail-catcher" else name.split()[1]]
    killed = up.server(name)
    killed.kill()
    wait_until(lambda: has_ended(killed))
    wait_until(lambda: answers(address) and up.server(name).pid != killed.pid)
    up.wait_said("est reparti")


async def test_a_killed_database_comes_back_with_every_row(up: Up):
    ready = up.wait_ready()
    connection = await asyncpg.connect(ready["postgres"])
    await connection.execute("CREATE TABLE kept (row integer)")
    await connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    up.server("bin/postgres").kill()
    wait_until(lambda: "PostgreSQL est reparti" in up.text())
    await connection.close()

    connection = await asyncpg.connect(ready["postgres"])
    assert await connection.fetchval("SELECT count(*) FROM kept") == 1000
    await connection.close()
    wait_until(lambda: all(answers(ready[name]) for name in SERVICES))


def test_a_second_one_on_the_same_folder_is_refused_with_the_remedy(up: Up):
    refused = espace("up", "--data", str(up.data), "--port-base", str(free_port_base()), "--empty")
    assert refused.returncode == 4
    assert f"processus {up.process.pid}" in refused.stderr
    assert "arrêté" not in refused.stdout, "of the one that runs, it would be false"
    assert "--data" in refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr


def test_a_taken_port_is_named_with_the_remedy(up: Up, folder: Path):
    refused = espace("up", "--data", str(folder / "other"), "--port-base", str(up.port_base), "--empty")
    assert refused.returncode == 4
    assert str(up.port_base + 1) in refused.stderr
    assert "--port-base" in refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr


def test_doctor_finds_nothing_wrong(up: Up):
    told = espace("--config", str(up.data / "espace.toml"), "doctor", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    assert '"healthy": true' in told.stdout


def test_stopped_and_started_again_it_has_kept_everything(up: Up):
    """Last of those that share it: stops the one they used."""
    secrets = {path.name: path.read_bytes() for path in (up.data / "secrets").iterdir()}
    added = espace("--config", str(up.data / "espace.toml"), "caisse", "add", "bretagne")
    assert added.returncode == 0, added.stdout + added.stderr
    assert signs_in_at(up.port_base)
    assert up.stop(signal.SIGINT) < 10
    assert up.process.returncode == 0
    assert up.processes() == []
    assert not up.ready_file.exists()

    # Elsewhere: what the caisses know of our addresses must follow.
    again = Up(up.data, free_port_base(), "--empty")
    try:
        ready = again.wait_ready()
        assert signs_in_at(again.port_base)
        assert {path.name: path.read_bytes() for path in (up.data / "secrets").iterdir()} == secrets
        assert all(answers(ready[name]) for name in SERVICES)
    finally:
        again.process.kill()
    # Nobody told the servers anything: the kernel did.
    wait_until(lambda: again.processes() == [], within=20)


def signs_in_at(port_base: int) -> bool:
    """Whether the portal there sends a visitor to the caisse's own sign-in, which takes them."""
    with httpx.Client(trust_env=False) as visitor:
        sent = visitor.get(f"http://localhost:{port_base}/bretagne/sign-in")
        there = sent.headers.get("location", "")
        return there.startswith(f"http://localhost:{port_base + 1}/") and visitor.get(there).status_code in (
            200,
            303,
        )


@pytest.mark.parametrize("moment", ["", "PostgreSQL", "Schémas"])
def test_told_to_stop_while_it_starts_it_leaves_nothing(tmp_path: Path, moment: str):
    starting = Up(tmp_path / "var", free_port_base(), "--empty")
    wait_until(
        lambda: (tmp_path / "var" / "espace.lock").exists() if not moment else moment in starting.text()
    )
    assert starting.stop() < 10
    assert starting.process.returncode == 0, starting.text()
    assert starting.processes() == []
    assert "Traceback" not in starting.text()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    refused = espace("up", "--data", str(tmp_path / "file" / "var"), "--port-base", str(free_port_base()))
    assert refused.returncode == 4
    assert "--data" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unknown_variable_stops_it_before_anything_starts(tmp_path: Path):
    refused = espace("--config", str(tmp_path / "none.toml"), "up", "--data", str(tmp_path / "var"))
    assert refused.returncode == 3
    assert not (tmp_path / "var").exists()


def test_two_listeners_never_share_a_port(tmp_path: Path):
    base = free_port_base()
    with socket.create_server(("127.0.0.1", base + 32)):
        refused = espace("up", "--data", str(tmp_path / "var"), "--port-base", str(base))
    assert refused.returncode == 4
    assert f"{base + 32} (PostgreSQL)" in refused.stderr
    assert os.listdir(tmp_path / "var" / "secrets") == []


def test_over_https_only_its_own_authority_is_needed(folder: Path):
    secure = Up(folder / "très sûr", free_port_base(), "--empty", "--tls", "--host", "espace.test")
    try:
        ready = secure.wait_ready()
        trust = httpx.Client(verify=ssl.create_default_context(cafile=ready["ca"]), trust_env=False)
        for name in (*SERVICES, "mail"):
            assert ready[name].startswith("https://localhost:")
            assert trust.get(f"{ready[name]}/health/ready").status_code == 200
            assert trust.get(f"{ready[name]}/metrics").status_code == 404
        named = trust.get(
            f"https://127.0.0.1:{secure.port_base}/health/ready",
            headers={"Host": f"espace.test:{secure.port_base}"},
            extensions={"sni_hostname": "espace.test"},
        )
        assert named.status_code == 200
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"{ready['portal']}/health/ready", trust_env=False)
        assert secure.stop() < 10
        assert secure.processes() == []
    finally:
        secure.stop()
