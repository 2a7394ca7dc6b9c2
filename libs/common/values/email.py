"""E-mail addresses: one address, one person."""

import unicodedata
from typing import NewType

from email_validator import EmailNotValidError, validate_email

from libs.common.values.invalid import InvalidValue
from libs.common.values.sentence import Sentence

Email = NewType("Email", str)
"""A well-formed address as its owner writes it; `parse_email` is the only door."""

EmailKey = NewType("EmailKey", str)
"""The address in lower case: what makes two spellings one person."""


class InvalidEmail(InvalidValue):
    reason = Sentence("Cette adresse électronique n'est pas valable : elle s'écrit comme nom@exemple.fr.")


def parse_email(typed: str) -> Email:
    """RFC 5321 syntax and lengths, without asking the DNS: an address counts only once its link is pressed.

    Accents before the @ are refused, for too few relays carry them (RFC 6531); and so is what a mail's reader takes
    for an encoded word (RFC 2047 §2): its every spelling would be another person, written to at one mailbox.
    """
    try:
        checked = validate_email(typed.strip(), check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        raise InvalidEmail from error
    if "=?" in checked.normalized:
        raise InvalidEmail
    return Email(checked.normalized)


def email_for_relays(email: str) -> str:
    """The same address as any relay carries it: a domain beyond ASCII by its A-labels (RFC 5891 §5.5)."""
    if email.isascii():
        return email
    checked = validate_email(email, check_deliverability=False, allow_smtputf8=False, strict=True)
    return checked.ascii_email or email


def email_key(email: str) -> EmailKey:
    """The key under which a person is unique, whatever the capitals."""
    return EmailKey(unicodedata.normalize("NFC", email).lower())
