"""A worker serves nothing, and still says how it does."""

import socket
import urllib.request

from libs.common.runtime.telemetry import gauge, give_figures, name_process


def test_a_worker_gives_its_figures_at_an_address_of_its_own() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gauge("test_waiting", "What this test says.").set(7)
    name_process("identity", "work")
    give_figures("127.0.0.1", port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        told = answer.read().decode()
    assert "espace_test_waiting 7.0" in told
    assert 'service="identity"' in told
    assert 'role="work"' in told
