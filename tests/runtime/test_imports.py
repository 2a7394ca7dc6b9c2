"""What each process may hold: a heavy library is imported where it is used, by whom it is used, when it is used."""

import subprocess
import sys

import pytest

from services.registry import SERVICES
from tests.runtime.running import ROOT, clean_environment

CATCHER = "libs.common.runtime.mail_catcher.app"

HEAVY: dict[str, set[str]] = {
    # Only in a developer's terminal or in another program's transport.
    "aiohttp": set(),
    "greenlet": set(),
    "pygments": set(),
    "rich": set(),
    # Imported by the first paper, letter, mail, password or second factor.
    "mrml": set(),
    "pyhanko": set(),
    "zxcvbn": set(),
    # Tests and builds.
    "hypothesis": set(),
    "playwright": set(),
    "pytest": set(),
    # One service's own.
    "aiosmtpd": {CATCHER},
    "aiosmtplib": {"services.identity.work"},
    "argon2": {"services.identity.app", "services.identity.work"},
    "authlib": {"services.identity.app", "services.identity.work"},
    "obstore": {"services.documents.app", "services.documents.work"},
    "pypdfium2": {CATCHER},
    "pyotp": {"services.identity.app"},
    "typst": {"services.documents.app", "services.documents.work"},
    "zint": {"services.documents.app", "services.documents.work"},
}
"""Who may hold each when it begins to answer or to work."""

PROCESSES = [path.partition(":")[0] for service in SERVICES for path in (service.app, service.work) if path]


def held_after(code: str) -> set[str]:
    """The packages a fresh interpreter holds after `code`."""
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(answer.stdout.split())


@pytest.mark.parametrize("module", [*PROCESSES, CATCHER])
def test_a_process_holds_no_heavy_library_of_another(module: str):
    held = held_after(
        f"from libs.common.runtime.lean_imports import import_lean\nimport_lean()\nimport {module}"
    )
    assert sorted(name for name, holders in HEAVY.items() if name in held and module not in holders) == []


def test_the_command_line_alone_loads_no_service_and_no_server():
    held = held_after("import libs.common.runtime.cli")
    assert held.isdisjoint({"asyncpg", "cryptography", "httpx", "litestar", "nats", "rich", "uvicorn"})
    assert {name for name in held if name.startswith("services.")} == {"services.registry"}


def test_the_process_that_starts_a_server_builds_nothing():
    held = held_after("import libs.common.runtime.serve")
    assert held.isdisjoint({"asyncpg", "cryptography", "httpx", "litestar", "nats", "structlog"})


def test_companions_are_there_again_for_whoever_asks_later():
    held = held_after(
        "from libs.common.runtime.lean_imports import import_lean\nimport_lean()\nimport rich, pygments"
    )
    assert {"rich", "pygments"} <= held
