import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban as stdnum_iban

from libs.common.values.iban import InvalidIban, format_iban, mask_iban, parse_iban

FRENCH = "FR1420041010050500013M02606"


def test_a_french_iban_is_read_whatever_its_groups():
    assert parse_iban("fr14 2004 1010 0505 0001 3m02 606") == FRENCH
    assert parse_iban(format_iban(FRENCH)) == FRENCH


@given(st.integers(0, 26), st.sampled_from("0123456789"))
def test_one_wrong_digit_is_refused(place: int, digit: str):
    typed = FRENCH[:place] + digit + FRENCH[place + 1 :]
    if typed != FRENCH:
        with pytest.raises(InvalidIban):
            parse_iban(typed)


@given(st.text("0123456789", min_size=21, max_size=21), st.integers(0, 99))
def test_mod_97_alone_does_not_make_a_french_iban(account: str, key: int):
    """A forged key of the bank account passes the international check and fails ours."""
    bban = f"{account}{key:02d}"
    iban = f"FR{stdnum_iban.calc_check_digits('FR00' + bban)}{bban}"
    right_key = 97 - int(account + "00") % 97
    if key == right_key:
        assert parse_iban(iban) == iban
    else:
        with pytest.raises(InvalidIban):
            parse_iban(iban)


@pytest.mark.parametrize(
    "foreign", ["DE89370400440532013000", "BE71096123456769", "PT50000201231234567890154"]
)
def test_a_foreign_firm_may_pay_from_home(foreign: str):
    assert parse_iban(foreign) == foreign


@pytest.mark.parametrize(
    "wrong", ["", "FR14", "FR14-2004-1010-0505-0001-3M02-606", "DE8937040044053201300", "XX00"]
)
def test_other_shapes_are_refused(wrong: str):
    with pytest.raises(InvalidIban):
        parse_iban(wrong)


def test_a_masked_iban_hides_the_account():
    assert mask_iban(FRENCH) == "FR14 •••• •••• 2606"
