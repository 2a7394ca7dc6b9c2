from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.values.identifiers import InvalidPublicId, new_id, parse_public_id, public_id


@given(st.uuids())
def test_a_public_identifier_gives_its_key_back(key: UUID):
    written = public_id("adh", key)
    assert len(written) == 4 + 26
    assert parse_public_id("adh", written) == key


@given(st.uuids(), st.uuids())
def test_public_identifiers_sort_like_their_keys(one: UUID, other: UUID):
    assert (public_id("per", one) < public_id("per", other)) == (one < other)


@given(st.uuids())
def test_one_key_has_one_spelling(key: UUID):
    written = public_id("adh", key)
    for other in (
        written.replace("adh", "per"),
        written + "0",
        written[:-1],
        f" {written}",
        "adh_8" + written[5:],
    ):
        with pytest.raises(InvalidPublicId):
            parse_public_id("adh", other)
    if written[4:] != written[4:].lower():
        with pytest.raises(InvalidPublicId):
            parse_public_id("adh", "adh_" + written[4:].lower())


@given(st.text())
def test_any_text_is_a_key_or_a_refusal(text: str):
    with pytest.raises(InvalidPublicId):
        parse_public_id("adh", text)


def test_new_identifiers_grow_and_never_repeat_across_threads():
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: [new_id() for _ in range(5_000)], range(4)))
    assert all(run == sorted(run) for run in runs)
    assert len({key for run in runs for key in run}) == 20_000


def test_a_new_identifier_is_an_rfc_9562_uuid_of_version_7():
    key = new_id()
    assert (key.version, key.variant) == (7, RFC_4122)
