from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.fr import siren as stdnum_siren
from stdnum.fr import siret as stdnum_siret

from libs.common.values.siret import (
    InvalidSiren,
    InvalidSiret,
    format_siret,
    parse_siren,
    parse_siret,
    siren_of,
)
from tests.values.strategies import ordinary_sirets, sirens


@given(ordinary_sirets())
def test_a_siret_is_read_as_the_oracle_reads_it(siret: str):
    assert parse_siret(siret) == siret == stdnum_siret.validate(siret)
    assert parse_siret(format_siret(siret)) == siret
    assert siren_of(parse_siret(siret)) == parse_siren(siret[:9])


@given(ordinary_sirets(), st.integers(0, 13), st.integers(1, 9))
def test_one_mistyped_digit_is_refused(siret: str, place: int, shift: int):
    wrong = str((int(siret[place]) + shift) % 10)
    with pytest.raises(InvalidSiret):
        parse_siret(siret[:place] + wrong + siret[place + 1 :])


@given(st.text("0123456789", min_size=13, max_size=15))
def test_any_digits_get_the_verdict_of_the_oracle(digits: str):
    assert _accepts(parse_siret, digits) == stdnum_siret.is_valid(digits)
    assert _accepts(parse_siren, digits[:9]) == stdnum_siren.is_valid(digits[:9])


@given(st.text("0123456789", min_size=5, max_size=5))
def test_a_site_of_la_poste_follows_its_own_rule(nic: str):
    siret = "356000000" + nic
    assert _accepts(parse_siret, siret) == stdnum_siret.is_valid(siret)


def test_the_head_office_of_la_poste_passes_luhn():
    assert parse_siret("356 000 000 00048") == "35600000000048"


def test_a_site_of_la_poste_may_fail_luhn():
    assert parse_siret("35600000049837") == "35600000049837"


@pytest.mark.parametrize(
    "ruined", ["7,32E+13", "7328293200007", "732829320000740", "73282932000O74", "", "٧٣٢٨٢٩٣٢٠٠٠٠٧٤"]
)
def test_what_a_spreadsheet_ruined_is_refused(ruined: str):
    with pytest.raises(InvalidSiret):
        parse_siret(ruined)


@given(sirens(), st.integers(0, 8), st.integers(1, 9))
def test_one_mistyped_digit_of_a_siren_is_refused(siren: str, place: int, shift: int):
    wrong = str((int(siren[place]) + shift) % 10)
    with pytest.raises(InvalidSiren):
        parse_siren(siren[:place] + wrong + siren[place + 1 :])


def _accepts(parse: Callable[[str], str], text: str) -> bool:
    try:
        parse(text)
    except (InvalidSiren, InvalidSiret):
        return False
    return True
