"""`espace attestation verify`: anyone checks a file off-line, and scripts read the exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding

from services.documents.attestations.commands import attestation
from services.documents.attestations.render import render
from tests.documents.test_paper import ADDRESSES, SEAL, a_seal, append_a_revision, sealed_paper
from tests.documents.test_payload import a_payload, facts


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    path = tmp_path / "authority.cer"
    path.write_bytes(SEAL.authority.public_bytes(Encoding.DER))
    return path


def genuine() -> bytes:
    return sealed_paper(a_payload(facts())).pdf


@pytest.mark.parametrize(
    ("content", "code", "verdict"),
    [
        (genuine, 0, "genuine"),
        (lambda: append_a_revision(genuine()), 4, "added_content"),
        (lambda: sealed_paper(a_payload(facts()), a_seal()).pdf, 5, "unknown_issuer"),
        (lambda: render(a_payload(facts()), ADDRESSES), 6, "no_seal"),
        (lambda: b"rien", 7, "unreadable"),
    ],
)
def test_each_fault_has_its_exit_code(
    tmp_path: Path, trust: Path, content: Callable[[], bytes], code: int, verdict: str
) -> None:
    file = tmp_path / "attestation.pdf"
    file.write_bytes(content())

    done = CliRunner().invoke(attestation, ["verify", str(file), "--trust", str(trust), "--json"])

    assert (done.exit_code, json.loads(done.output)["verdict"]) == (code, verdict)


def test_a_genuine_file_shows_what_to_compare(tmp_path: Path, trust: Path) -> None:
    file = tmp_path / "attestation.pdf"
    file.write_bytes(genuine())

    done = CliRunner().invoke(attestation, ["verify", str(file), "--trust", str(trust)])

    assert "732829320" in done.output
    assert "À jour au 23/11/2026" in done.output
