"""The authenticator application: a shared secret, a six-digit value that works once (RFC 6238)."""

import base64
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID

from pyotp import random_base32
from pyotp.totp import TOTP
from pyotp.utils import strings_equal

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.crockford import MistypedCode, new_code, parse_code
from libs.common.values.identifiers import public_id
from services.identity.mail.enqueue import Mail
from services.identity.sign_in.factors import store
from services.identity.sign_in.sign_in import WrongCode
from services.identity.sign_in.store import Person

PURPOSE = "totp"

STEP_SECONDS = 30

TOLERANCE = 1
"""Steps accepted on each side: a telephone half a minute off still serves."""

RECOVERY_CODES = 8
RECOVERY_SYMBOLS = 9
"""45 random bits and a check character, in groups: written on paper, typed once."""


class Enrolment(NamedTuple):
    """What the page shows once: the secret to type, and the address its QR code holds."""

    secret: str
    otpauth: str


async def propose_totp(
    tx: Tx, keys: KeyEncryption, person: Person, *, issuer: str, now: datetime
) -> Enrolment:
    """The secret to enrol: the one already shown if the page is opened again, else a new one."""
    known = await store.find_totp(tx, person.id)
    if known is not None and known.confirmed_at is None:
        secret = _open(keys, person.id, known.secret_encrypted)
    else:
        secret = random_base32(32)
        sealed = keys.seal(PURPOSE, base64.b32decode(secret), context=person.id.bytes)
        await store.propose_totp(tx, person.id, sealed, now=now)
    label = quote(f"{issuer}:{person.email}")
    return Enrolment(secret, f"otpauth://totp/{label}?secret={secret}&issuer={quote(issuer)}")


async def confirm_totp(
    tx: Tx, keys: KeyEncryption, mail: Mail, person: Person, typed: str, *, now: datetime
) -> list[str]:
    """The first value proves the application works: the factor counts from now on.

    Returns the recovery codes, shown once. Raises `WrongCode`.
    """
    await _spend(tx, keys, person.id, typed, now=now, confirmed=False)
    if not await store.confirm_totp(tx, person.id, now=now):
        raise WrongCode
    codes = [new_code(RECOVERY_SYMBOLS) for _ in range(RECOVERY_CODES)]
    await store.replace_recovery_codes(
        tx, person.id, [_mac(keys, person.id, code) for code in codes], now=now
    )
    await _tell(tx, mail, person, "factor.added", "notice_factor_added", now=now)
    return list(codes)


async def check_totp(tx: Tx, keys: KeyEncryption, person_id: UUID, typed: str, *, now: datetime) -> None:
    """A value of the application, or a recovery code; each works once. Raises `WrongCode`."""
    digits = "".join(typed.split())
    if len(digits) == 6 and digits.isdigit():
        await _spend(tx, keys, person_id, digits, now=now, confirmed=True)
        return
    try:
        code = parse_code(typed, RECOVERY_SYMBOLS)
    except MistypedCode as error:
        raise WrongCode from error
    if not await store.spend_recovery_code(tx, person_id, _mac(keys, person_id, code), now=now):
        raise WrongCode


async def remove_totp(tx: Tx, mail: Mail, person: Person, *, now: datetime) -> None:
    """Take the factor away; the caller holds a fresh second step, and a password long enough alone."""
    if await store.remove_totp(tx, person.id):
        await store.forget_recovery_codes(tx, person.id)
        await _tell(tx, mail, person, "factor.removed", "notice_factor_removed", now=now)


async def _spend(
    tx: Tx, keys: KeyEncryption, person_id: UUID, typed: str, *, now: datetime, confirmed: bool
) -> None:
    factor = await store.find_totp(tx, person_id)
    if factor is None or (factor.confirmed_at is not None) is not confirmed:
        raise WrongCode
    step = matching_step(_open(keys, person_id, factor.secret_encrypted), typed, now)
    if step is None or not await store.spend_totp_step(tx, person_id, step):
        raise WrongCode


def matching_step(secret: str, typed: str, now: datetime) -> int | None:
    """The 30-second step whose value was typed, within the tolerance; compared in constant time."""
    digits = "".join(typed.split())
    totp = TOTP(secret)
    current = int(now.timestamp()) // STEP_SECONDS
    for step in range(current - TOLERANCE, current + TOLERANCE + 1):
        if strings_equal(totp.generate_otp(step), digits):
            return step
    return None


def _open(keys: KeyEncryption, person_id: UUID, sealed: bytes) -> str:
    return base64.b32encode(keys.open(PURPOSE, sealed, context=person_id.bytes)).decode()


def _mac(keys: KeyEncryption, person_id: UUID, code: str) -> bytes:
    return keys.mac("recovery_code", person_id.bytes + code.encode())


async def _tell(tx: Tx, mail: Mail, person: Person, action: str, template: str, *, now: datetime) -> None:
    await journal.record(
        tx,
        Act(
            action=action,
            subject_kind="person",
            subject_id=public_id("per", person.id),
            at=now,
            actor=Actor(person_id=person.id),
            details={"factor": "totp"},
        ),
    )
    await mail.enqueue(tx, template=template, to=person.email, values={"at": now.isoformat()}, now=now)
