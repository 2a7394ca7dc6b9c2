"""The authenticator application: a shared secret, a six-digit value that works once (RFC 6238)."""

import base64
from datetime import datetime, timedelta
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
from libs.common.values.identifiers import new_id, public_id
from services.identity.mail.enqueue import Mail
from services.identity.sign_in.factors import store
from services.identity.sign_in.forgotten_password import store as resets
from services.identity.sign_in.forgotten_password.store import Reset
from services.identity.sign_in.session import hash_of, new_secret
from services.identity.sign_in.sign_in import PROOF_LASTS, WrongCode
from services.identity.sign_in.store import Person

PURPOSE = "totp"

STEP_SECONDS = 30

TOLERANCE = 1
"""Steps accepted on each side: a telephone half a minute off still serves."""

PROPOSAL_LASTS = PROOF_LASTS
DISAVOWAL_LASTS = timedelta(hours=72)
"""As long as a change of address can be undone (domain.md §8)."""

RECOVERY_CODES = 8
RECOVERY_SYMBOLS = 9
"""45 random bits and a check character, in groups: written on paper, typed once."""


class Enrolment(NamedTuple):
    """What the page shows once: the secret to type, and the address its QR code holds."""

    secret: str
    otpauth: str


async def propose_totp(
    tx: Tx, keys: KeyEncryption, person: Person, *, shown_to: UUID, issuer: str, now: datetime
) -> Enrolment:
    """The secret to enrol: the one already shown to this sign-in or session if the page is opened again.

    `shown_to` is the sign-in under way, or the session. Nobody else is shown this secret, nobody knows it
    beforehand, and it is over in a quarter of an hour, or with the password.
    """
    drawn = keys.seal(PURPOSE, base64.b32decode(random_base32(32)), context=person.id.bytes)
    sealed = await store.propose_totp(
        tx, shown_to, person.id, drawn, now=now, expires_at=now + PROPOSAL_LASTS
    )
    secret = _open(keys, person.id, sealed)
    label = quote(f"{issuer}:{person.email}")
    return Enrolment(secret, f"otpauth://totp/{label}?secret={secret}&issuer={quote(issuer)}")


async def confirm_totp(
    tx: Tx,
    keys: KeyEncryption,
    mail: Mail,
    person: Person,
    typed: str,
    *,
    shown_to: UUID,
    base: str,
    now: datetime,
) -> list[str]:
    """The first value proves the application works: the factor counts from now on.

    The caller holds the proof of the mailbox, taken in this very sign-in or step-up. Its owner is
    told, with a link that undoes it. Returns the recovery codes, shown once. Raises `WrongCode`.
    """
    sealed = await store.find_proposal(tx, shown_to, person.id, now=now)
    step = None if sealed is None else matching_step(_open(keys, person.id, sealed), typed, now)
    if step is None or not await store.confirm_totp(tx, shown_to, person.id, step=step, now=now):
        raise WrongCode
    codes = [new_code(RECOVERY_SYMBOLS) for _ in range(RECOVERY_CODES)]
    await store.replace_recovery_codes(
        tx, person.id, [_mac(keys, person.id, code) for code in codes], now=now
    )
    undo = await _link_that_disavows(tx, person, base=base, now=now)
    await _tell(tx, mail, person, "factor.added", "notice_factor_added", undo, now=now)
    return list(codes)


async def _link_that_disavows(tx: Tx, person: Person, *, base: str, now: datetime) -> dict[str, str]:
    token, deadline = new_secret(), now + DISAVOWAL_LASTS
    await resets.add_reset(
        tx,
        new_id(),
        hash_of(token),
        person_id=person.id,
        now=now,
        expires_at=deadline,
        disavowed_from=now,
    )
    return {"link": f"{base}/{tx.the_caisse}/new-password?link={token}", "deadline": deadline.isoformat()}


async def check_totp(tx: Tx, keys: KeyEncryption, person_id: UUID, typed: str, *, now: datetime) -> None:
    """A value of the application, or a recovery code; each works once. Raises `WrongCode`."""
    digits = "".join(typed.split())
    if len(digits) == 6 and digits.isdigit():
        await _spend(tx, keys, person_id, digits, now=now)
        return
    try:
        code = parse_code(typed, RECOVERY_SYMBOLS)
    except MistypedCode as error:
        raise WrongCode from error
    if not await store.spend_recovery_code(tx, person_id, _mac(keys, person_id, code), now=now):
        raise WrongCode


async def remove_totp(tx: Tx, mail: Mail, person: Person, *, now: datetime) -> None:
    """Take the factor away; the caller holds a fresh second step, and a password long enough alone.

    Or the mailed link that sets a password, of an application that this link takes with it (`falls_with`).
    """
    if await store.remove_totp(tx, person.id):
        await store.forget_recovery_codes(tx, person.id)
        await _tell(tx, mail, person, "factor.removed", "notice_factor_removed", {}, now=now)


async def falls_with(tx: Tx, reset: Reset) -> bool:
    """Whether the application goes with the password that this mailed link replaces.

    A mail alone takes no second factor away (CVE-2026-3429), except by the link that its owner was mailed to
    disavow that very one, which leaves them at the level they were before.
    """
    factor = await store.find_totp(tx, reset.person_id)
    return factor is not None and factor.confirmed_at == reset.disavowed_from


async def _spend(tx: Tx, keys: KeyEncryption, person_id: UUID, typed: str, *, now: datetime) -> None:
    factor = await store.find_totp(tx, person_id)
    if factor is None:
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


async def _tell(
    tx: Tx, mail: Mail, person: Person, action: str, template: str, more: dict[str, str], *, now: datetime
) -> None:
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
    values = {"at": now.isoformat(), **more}
    await mail.enqueue(tx, template=template, to=person.email, values=values, now=now)
