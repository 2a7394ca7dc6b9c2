"""A stranger's JSON is read whole, or refused in one way."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.values.foreign_json import MOST_NESTED, UnreadableJson, read_json

OBJECTS = msgspec.json.Decoder(dict[str, Any])


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"[]", b"\xff", b'{"a":"\xff"}', b'{"\xff":1}', b'{"a":"\\u0000"}', b'{"\\u0000":1}',
        b'{"a":"\\\\\\u0000"}', b'{"a":"\x00"}', b'{"a":"\\ud800"}', '{"a":"\ud800"}',
        b'{"a":1e999}', b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_json_of_ours_is_one_refusal(bad: bytes | str) -> None:
    with pytest.raises(UnreadableJson):
        read_json(bad, OBJECTS)


def test_a_backslash_before_u0000_is_text() -> None:
    assert read_json(rb'{"a":"\\u0000"}', OBJECTS) == {"a": r"\u0000"}


def test_nesting_is_bounded_whatever_the_strings_hold() -> None:
    deepest = b'{"a":' * MOST_NESTED + b"1" + b"}" * MOST_NESTED
    assert read_json(deepest, OBJECTS)
    assert read_json(b'{"a":"' + b'[{\\"' * 1000 + b'"}', OBJECTS)
    assert read_json(b'{"a":[' + b"[]," * 1000 + b"[]]}", OBJECTS)
    with pytest.raises(UnreadableJson):
        read_json(b'{"a":' + deepest + b"}", OBJECTS)


@pytest.mark.parametrize(
    "tail", [b'"' + b'\\"' * 30_000, b'"' * 60_000, b"\\" * 59_999 + b"\\u000x", b'"' + b"\\" * 59_999]
)
def test_judging_takes_a_time_in_proportion(tail: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises(UnreadableJson):
        read_json(b"[" * MOST_NESTED + b"{" + tail, OBJECTS)
    assert time.perf_counter() - began < 1


@given(
    st.lists(st.sampled_from([("[", "]"), ('{"a":', "}")]), min_size=2, max_size=2 * MOST_NESTED),
    st.integers(0, 40),
)
def test_the_bound_is_exact_whatever_stands_beside(nests: list[tuple[str, str]], beside: int) -> None:
    text = "1"
    for opening, closing in nests:
        text = opening + text + closing
    text = '{"a":[' + '[["[{"]],' * beside + text + "]}"
    if len(nests) + 2 <= MOST_NESTED:
        assert read_json(text, OBJECTS) == msgspec.json.decode(text)
    else:
        with pytest.raises(UnreadableJson):
            read_json(text, OBJECTS)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(sent: bytes) -> None:
    for given_bytes in (sent, b'{"a":"' + sent + b'"}'):
        try:
            read = read_json(given_bytes, OBJECTS)
        except UnreadableJson:
            continue
        assert "\x00" not in str(read)
