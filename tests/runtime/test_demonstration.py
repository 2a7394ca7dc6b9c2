"""The first start as a newcomer meets it: made once, played once, and nothing of it in the logs."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.runtime.running import Up, espace, free_port_base

PRINTED_CODE = re.compile(r"^[0-9A-Z]{4}(?:\s{1,2}[0-9A-Z]{4}){1,2}\s{1,2}[0-9A-Z]$", re.MULTILINE)


@pytest.fixture(scope="module")
def shown() -> Iterator[Up]:
    folder = Path(tempfile.mkdtemp(prefix="espace-shown-"))
    running = Up(folder / "var", free_port_base())
    try:
        running.wait_ready()
        running.wait_said("Ctrl-C")
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ready(shown: Up) -> dict[str, Any]:
    return shown.wait_ready()


def test_the_journey_was_played_to_its_end(shown: Up):
    played = json.loads((shown.data / "logs" / "story.json").read_text("utf-8"))
    assert [step["title"] for step in played["steps"] if not step["ok"]] == []
    assert played["ok"] is True
    assert all(step["title"] in shown.text() for step in played["steps"])


def test_a_newcomer_reads_where_to_go_and_who_to_be(shown: Up, ready: dict[str, Any]):
    for shown_to_all in (ready["portal"], ready["mail"], f"{ready['mail']}/letters"):
        assert shown_to_all in shown.text()
    assert ready["caisses"]
    for account in ready["demo"]["accounts"]:
        assert account["email"] in shown.text()


def test_the_story_can_be_played_again(shown: Up):
    again = espace("story", "--json", "--ready-file", str(shown.ready_file))
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr
    assert json.loads(again.stdout)["ok"] is True


def secrets_of_the_journey(shown: Up, ready: dict[str, Any]) -> dict[str, set[str]]:
    """What was typed, mailed, printed and generated so far, by kind."""
    messages = httpx.get(f"{ready['mail']}/messages", trust_env=False).json()
    lots = httpx.get(f"{ready['mail']}/letters", trust_env=False).json()
    texts = [page["text"] for lot in lots for page in lot["pages"][:3]]
    letters = [httpx.get(ready["mail"] + text, trust_env=False).json()["text"] for text in texts]
    printed = {code for letter in letters for code in PRINTED_CODE.findall(letter)}
    links = [link for message in messages for link in message["links"]]
    accounts = ready["demo"]["accounts"]
    return {
        "addresses": {recipient for message in messages for recipient in message["to"]},
        "links": {secret for link in links for secret in re.findall(r"=([A-Za-z0-9_-]{20,})", link)},
        "codes": printed | {"".join(code.split()) for code in printed},
        "accounts": {account[key] for account in accounts for key in ("email", "password", "totp_secret")},
        "keys": {path.read_text().strip() for path in (shown.data / "secrets").iterdir()},
    }


def test_no_secret_code_email_or_token_of_the_journey_is_in_a_log(shown: Up, ready: dict[str, Any]):
    secrets = secrets_of_the_journey(shown, ready)
    assert [kind for kind, values in secrets.items() if len(values) < 2] == []

    logs = {path.name: path.read_text("utf-8", "replace") for path in (shown.data / "logs").glob("*.log")}
    assert len(logs) >= 10
    found = [
        (name, kind, secret)
        for name, text in logs.items()
        for kind, values in secrets.items()
        for secret in values
        if secret in text
    ]
    assert found == []
    alike = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.|[\w.+-]+@[\w-]+\.\w+")
    assert [name for name, text in logs.items() if alike.search(text)] == []


def test_what_was_made_is_there_at_the_second_start(shown: Up, ready: dict[str, Any]):
    """Last: stops the one the others used."""
    before = httpx.get(f"{ready['mail']}/messages", trust_env=False).json()
    assert shown.stop() < 10
    again = Up(shown.data, shown.port_base)
    try:
        now = again.wait_ready()
        again.wait_said("Ctrl-C")
        assert now["demo"] == ready["demo"]
        # The last mail may still have been on its way.
        kept = httpx.get(f"{now['mail']}/messages", trust_env=False).json()
        assert [message for message in before if message not in kept] == []
        assert "Données de démonstration" not in again.text()
    finally:
        assert again.stop() < 10
