"""The second step, of a sign-in or of a step-up: one value, judged once, then the session."""

from datetime import datetime
from typing import NamedTuple

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.mail.enqueue import Mail
from services.identity.sign_in import store
from services.identity.sign_in.prove_again import finish_step_up
from services.identity.sign_in.session import current_session
from services.identity.sign_in.sign_in import (
    Browser,
    SignedIn,
    StartAgain,
    WrongCode,
    code_mac,
    find_under_way,
    finish,
    spend_a_try,
)
from services.identity.sign_in.stages import MAILED_CODE_PROVEN, PASSWORD_PROVEN, TOTP_PROVEN, Stage
from services.identity.sign_in.store import Person, Proof
from services.identity.sign_in.totp import check_totp, confirm_totp


class Awaited(NamedTuple):
    """What this browser is being asked."""

    stage: Stage
    proof: Proof
    person: Person


async def what_is_awaited(tx: Tx, proof_cookie: str | None, now: datetime) -> Awaited:
    """The second step this browser owes. Raises `StartAgain` when there is none."""
    proof, person = await find_under_way(tx, proof_cookie, now)
    if person.has_totp:
        stage = Stage.TOTP
    elif proof.code_expires_at is not None:
        stage = Stage.MAILED_CODE
    else:
        stage = Stage.ENROL
    return Awaited(stage, proof, person)


async def take_second_step(
    db: Database,
    mail: Mail,
    keys: KeyEncryption,
    caisse: CaisseSlug,
    proof_cookie: str | None,
    typed: str,
    *,
    browser: Browser,
    now: datetime,
) -> tuple[SignedIn, list[str]]:
    """Judge one value; the session it opens or raises, and the recovery codes of a factor just enrolled.

    Raises `WrongCode`, `StartAgain` once the tries of this password are spent, `Throttled`.
    """
    # 1. What is asked, and of whom.
    async with db.transaction(caisse) as tx:
        awaited = await what_is_awaited(tx, proof_cookie, now)

    # 2. The try is spent before it is judged: a hundred at once spend a hundred.
    await spend_a_try(db, caisse, awaited.proof, browser.device_cookie, now)

    # 3. Value spent, proof completed and session opened together, or nothing.
    async with db.transaction(caisse) as tx:
        recovery_codes = await _judge(tx, mail, keys, awaited, typed, now=now)
        if not await store.complete_proof(tx, awaited.proof.id, now=now):
            raise StartAgain
        second = MAILED_CODE_PROVEN if awaited.stage is Stage.MAILED_CODE else TOTP_PROVEN
        proven = frozenset({PASSWORD_PROVEN, second})
        if awaited.proof.session_id is None:
            return await finish(tx, mail, awaited.person, proven, browser=browser, now=now), recovery_codes
        session = await current_session(tx, browser.session_cookie, now)
        # The password was proven for one session: another one in this browser gains nothing.
        if session is None or session.id != awaited.proof.session_id:
            raise StartAgain
        return SignedIn(await finish_step_up(tx, session, proven, now=now), None), recovery_codes


async def _judge(
    tx: Tx, mail: Mail, keys: KeyEncryption, awaited: Awaited, typed: str, *, now: datetime
) -> list[str]:
    match awaited.stage:
        case Stage.TOTP:
            await check_totp(tx, keys, awaited.person.id, typed, now=now)
        case Stage.MAILED_CODE:
            code = "".join(typed.split())
            mac = code_mac(keys, awaited.proof.id, code)
            if not await store.spend_code(tx, awaited.proof.id, mac, now=now):
                raise WrongCode
        case _:
            return await confirm_totp(tx, keys, mail, awaited.person, typed, now=now)
    return []
