import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.values.email import InvalidEmail, email_for_relays, email_key, parse_email


@pytest.mark.parametrize(
    "typed",
    [
        "jean.dupont@batiment.example",
        " Jean.Dupont+espace@Batiment.Example ",
        "o'neil@xn--btiment-cxa.example",
    ],
)
def test_ordinary_addresses_are_accepted(typed: str):
    assert "@" in parse_email(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "jean",
        "jean@",
        "@batiment.example",
        "jean@batiment",
        "jean@@batiment.example",
        "jean dupont@batiment.example",
        "jean@batiment.example\nBcc: x@y.example",
        "=?utf-8?q?marie=40bank.example=2C?=@batiment.example",
        "jean.=?utf-8?q?a=0D=0AX=3A_1?=@batiment.example",
        "Jean <jean@batiment.example>",
        "jean@[127.0.0.1]",
        "jean@localhost",
        "rené@batiment.example",
        "a" * 65 + "@batiment.example",
    ],
)
def test_what_cannot_receive_mail_is_refused(typed: str):
    with pytest.raises(InvalidEmail):
        parse_email(typed)


@given(st.emails(domains=st.sampled_from(["batiment.example", "TOITS.example"])))
def test_two_spellings_are_one_person(address: str):
    try:
        parsed = parse_email(address)
    except InvalidEmail:
        return
    assert email_key(parsed.upper()) == email_key(parsed) == email_key(email_key(parsed))


@pytest.mark.parametrize(
    ("typed", "carried"),
    [
        ("jean@xn--btiment-cxa.example", "jean@xn--btiment-cxa.example"),
        ("jean@B\u00c2TIMENT.example", "jean@xn--btiment-pwa.example"),
        ("jean@fa\u00df.example", "jean@xn--fa-hia.example"),
        ("Jean@batiment.example", "Jean@batiment.example"),
    ],
)
def test_a_domain_beyond_ascii_is_carried_by_its_labels(typed: str, carried: str):
    email = parse_email(typed)
    assert email_for_relays(email) == carried
    assert parse_email(carried) == email
