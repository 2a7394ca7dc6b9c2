"""The canonical bytes of each version are frozen: they are what was signed, logged and verified."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.documents.attestations.payload import (
    LEGAL_BASIS,
    Facts,
    Payload,
    PayloadAdherent,
    PayloadCaisse,
    PayloadStatus,
    canonical,
    data_hash,
    payload_of,
    plain_name,
    read_payload,
)

FROZEN = Path(__file__).parent / "frozen"


def facts(name: str = "L’ÎLE-VERTE & ŒUVRE “BTP”", *, siren: str | None = "732829320") -> Facts:
    return Facts(
        caisse=PayloadCaisse(
            id="mediterranee",
            nom="Congés Intempéries BTP – Caisse de la région Méditerranée",
            siren="775690121",
        ),
        adherent=PayloadAdherent(
            numero="123456",
            raison_sociale=plain_name(name),
            siren=siren,
            siret="73282932000074" if siren else None,
        ),
        niveau="siren" if siren else "adherent",
        situation="a_jour",
        a_jour_au=date(2026, 11, 23),
        base_legale=LEGAL_BASIS,
    )


def a_payload(of: Facts, *, replaces: str | None = None) -> Payload:
    return payload_of(
        of,
        number="mediterranee-2026-000042",
        code="ABCDEFGHJKMNPQRST",
        issued_at=datetime(2026, 11, 23, 21, 5, 7, 999, tzinfo=UTC),
        status=PayloadStatus(uri="https://documents.example.test/mediterranee/status-lists/1", idx=5),
        replaces=replaces,
    )


CASES = {
    "v1-whole.json": a_payload(facts(), replaces="mediterranee-2026-000041"),
    "v1-foreign.json": a_payload(facts("BAUUNTERNEHMUNG GRÖßE GMBH", siren=None)),
}


def by_another_writer(value: object) -> bytes:
    """Sorted compact JSON by the standard library."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_are_those_of_yesterday(name: str) -> None:
    assert canonical(CASES[name]) == (FROZEN / name).read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_are_sorted_compact_and_read_back(name: str) -> None:
    written = canonical(CASES[name])
    plain = json.loads(written)

    assert by_another_writer(plain) == written
    assert read_payload(written) == CASES[name]


names = st.text(st.characters(codec="utf-8"), max_size=80)


@given(names)
def test_any_name_gives_bytes_another_reader_would_give(name: str) -> None:
    written = canonical(a_payload(facts(name)))

    assert (
        json.dumps(json.loads(written), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        == written
    )


@given(names)
def test_a_plain_name_is_one_visible_line_and_stays_so(name: str) -> None:
    shown = plain_name(name)

    assert plain_name(shown) == shown
    assert not set(shown) & set("\n\r\t\x00\u202e\u2066\u2028")


IGNORABLE = "\u034f\u115f\u1160\u17b4\u180b\u3164\ufe0f\uffa0\U000e0100\u2800"
"""Letters and marks by their category, of which nothing is shown."""


@pytest.mark.parametrize(
    "nothing_seen", ["\u200b", "\u200d", "\u00ad", "\ufeff", "\u2062", "\U000e0041", "\u202e", *IGNORABLE]
)
def test_a_mark_that_nobody_sees_makes_no_other_name(nothing_seen: str) -> None:
    assert plain_name(f"MAÇONNERIE DU{nothing_seen}PRÉ") == "MAÇONNERIE DUPRÉ"


@given(names, names)
def test_two_names_give_two_hashes(one: str, other: str) -> None:
    assert (data_hash(facts(one)) == data_hash(facts(other))) is (plain_name(one) == plain_name(other))


def test_the_issue_hour_is_to_the_second() -> None:
    assert b'"emise_le":"2026-11-23T21:05:07Z"' in canonical(a_payload(facts()))


def test_strings_and_integers_only() -> None:
    def kinds(value: object) -> set[type]:
        if isinstance(value, dict):
            return set().union(*(kinds(one) for one in value.values()))  # type: ignore[reportUnknownVariableType]
        return {type(value)}

    assert kinds(msgspec.json.decode(canonical(a_payload(facts())))) == {str, int}
