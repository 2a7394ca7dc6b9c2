"""Every fact has a frozen contract, and keeps it."""

import pytest

from libs.common.events.envelope import SERVICES, event_classes
from tests.contracts.frozen import FOLDER, breaks, contract_of, frozen

FACTS = [(service, tag) for service in SERVICES for tag in event_classes(service)]


@pytest.mark.parametrize(("service", "tag"), FACTS)
def test_a_fact_keeps_its_contract(service: str, tag: str) -> None:
    assert contract_of(event_classes(service)[tag]) == frozen(service, tag), (
        "python -m tests.contracts.frozen writes a new contract, and refuses a breaking one"
    )


def test_no_contract_is_left_without_its_fact() -> None:
    kept = {(path.parent.name, path.stem) for path in FOLDER.glob("*/*.json")}
    assert kept == set(FACTS)


def test_a_breaking_change_is_told() -> None:
    before = {"$defs": {"X": {"properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}}}
    after = {"$defs": {"X": {"properties": {"a": {"type": "integer"}, "c": {}}, "required": ["a", "c"]}}}

    assert breaks(before, after) == [
        "X.a is gone or changed",
        "X.b is gone or changed",
        "X.c is new and has no default",
    ]


# What a caisse prints on its letters is public, its e-mail address included.
PUBLIC_CONTACTS = {"caisse.added.v1"}


@pytest.mark.parametrize(("service", "tag"), [fact for fact in FACTS if fact[1] not in PUBLIC_CONTACTS])
def test_no_secret_or_email_travels(service: str, tag: str) -> None:
    text = str(contract_of(event_classes(service)[tag])).lower()
    for word in ("email", "e-mail", "password", "secret", "token_hash", "verification_code", "identifiant"):
        assert f"'{word}'" not in text
