import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.values.crockford import ALPHABET, MistypedCode, in_groups, new_code, parse_code
from tests.values.strategies import codes


@given(codes(12), st.integers(0, 12), st.sampled_from(ALPHABET))
def test_every_single_wrong_symbol_is_caught(code: str, place: int, other: str):
    assume(code[place] != other)
    with pytest.raises(MistypedCode):
        parse_code(code[:place] + other + code[place + 1 :], 12)


@given(codes(8), st.integers(0, 8), st.integers(0, 8))
def test_every_exchange_of_two_symbols_is_caught(code: str, one: int, other: int):
    assume(code[one] != code[other])
    swapped = list(code)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    with pytest.raises(MistypedCode):
        parse_code("".join(swapped), 8)


@given(codes(12), st.sampled_from([" ", "-", "\u00a0", "\u202f", "  ", " - ", ""]), st.booleans())
def test_case_and_separators_do_not_matter(code: str, between: str, lower: bool):
    typed = in_groups(code).replace(" ", between)
    assert parse_code(typed.lower() if lower else typed, 12) == code


@given(codes(12), st.data())
def test_the_look_alikes_are_read_as_what_was_printed(code: str, data: st.DataObject):
    look_alikes = {"0": "0Oo", "1": "1IiLl"}
    typed = "".join(data.draw(st.sampled_from(look_alikes.get(symbol, symbol))) for symbol in code)
    assert parse_code(typed, 12) == code


@pytest.mark.parametrize("typed", ["", "ABC", "U" * 13, "ß" * 6 + "A", "é" * 13])
def test_what_cannot_be_a_code_is_a_slip_not_an_error(typed: str):
    with pytest.raises(MistypedCode):
        parse_code(typed, 12)


def test_a_missing_or_doubled_symbol_is_caught_by_the_length():
    code = new_code(8)
    for typed in (code[:-1], code + code[-1]):
        with pytest.raises(MistypedCode):
            parse_code(typed, 8)


def test_fresh_codes_use_all_symbols_and_never_repeat():
    drawn = [new_code(12) for _ in range(2_000)]
    assert len(set(drawn)) == len(drawn)
    assert set("".join(drawn)) == set(ALPHABET)


def test_groups_of_four_as_on_the_letter():
    assert in_groups("K7M2P9QXA") == "K7M2 P9QX A"


def test_the_refusal_never_repeats_what_was_typed():
    with pytest.raises(MistypedCode) as refused:
        parse_code("K7M2P9QXB", 12)
    assert "K7M2" not in str(refused.value)
