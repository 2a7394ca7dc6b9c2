"""The one login state machine: what is proven decides what is asked next.

Sign-in, step-up and first enrolment all go through `next_stage`; no page decides
for itself, so no order of pages skips a proof (openid.md §4, first lines).

What a password alone enrols weighs no more than a password: an application counts as
a second factor once the mailbox was proven too, before it was enrolled or since.
"""

from enum import StrEnum
from typing import Final

from services.identity.sign_in.session import Acr

PASSWORD_PROVEN: Final = "pwd"
TOTP_PROVEN: Final = "otp"
MAILED_CODE_PROVEN: Final = "email"
"""RFC 8176 has no value for a mailed code: it is a second step, never a second factor."""


class Stage(StrEnum):
    """What the browser is asked for next."""

    PASSWORD = "password"
    TOTP = "totp"
    MAILED_CODE = "mailed_code"
    ENROL = "enrol"
    DONE = "done"


def next_stage(
    proven: frozenset[str], *, has_totp: bool, is_vouched: bool, must_have_totp: bool, acr: str | None
) -> Stage:
    """The next proof to ask, `DONE` when none is missing.

    `acr` is the level to reach: what a client asks for, or `two_step` for a step-up.
    Whoever has an authenticator is asked for it, whatever a client is content with;
    `is_vouched` says that its owner's mailbox was proven with it.
    """
    if PASSWORD_PROVEN not in proven:
        return Stage.PASSWORD
    has_mailbox = MAILED_CODE_PROVEN in proven
    if TOTP_PROVEN in proven:
        return Stage.DONE if is_vouched or has_mailbox else Stage.MAILED_CODE
    if has_totp:
        return Stage.TOTP
    if must_have_totp or acr == "mfa":
        return Stage.ENROL if has_mailbox else Stage.MAILED_CODE
    if acr == "two_step" and not has_mailbox:
        return Stage.MAILED_CODE
    return Stage.DONE


def level_of(proven: frozenset[str]) -> Acr:
    """The `acr` that these proofs amount to."""
    if TOTP_PROVEN in proven:
        return "mfa"
    return "two_step" if MAILED_CODE_PROVEN in proven else "pwd"
