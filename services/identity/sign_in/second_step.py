"""The second step, of a sign-in or of a step-up: one value, judged once, then the session."""

from datetime import datetime
from typing import Final, NamedTuple

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.mail.enqueue import Mail
from services.identity.sign_in import store
from services.identity.sign_in.factors import store as factors
from services.identity.sign_in.prove_again import finish_step_up
from services.identity.sign_in.session import current_session
from services.identity.sign_in.sign_in import (
    PROOF_LASTS,
    Browser,
    SignedIn,
    StartAgain,
    WrongCode,
    code_mac,
    find_under_way,
    finish,
    mail_code,
    owed,
    spend_a_try,
)
from services.identity.sign_in.stages import MAILED_CODE_PROVEN, TOTP_PROVEN, Stage
from services.identity.sign_in.store import Person, Proof
from services.identity.sign_in.totp import check_totp, confirm_totp

PROVES: Final = {
    Stage.TOTP: TOTP_PROVEN,
    Stage.ENROL: TOTP_PROVEN,
    Stage.MAILED_CODE: MAILED_CODE_PROVEN,
}
"""What a good value of each second step proves."""


class Awaited(NamedTuple):
    """What this browser is being asked."""

    stage: Stage
    proof: Proof
    person: Person


class Taken(NamedTuple):
    """What a good value led to. No `signed_in`: one more proof is asked of this browser."""

    signed_in: SignedIn | None
    recovery_codes: list[str]
    """Of the application just enrolled."""


async def what_is_awaited(tx: Tx, proof_cookie: str | None, now: datetime) -> Awaited:
    """The second step this browser owes. Raises `StartAgain` when there is none."""
    proof, person = await find_under_way(tx, proof_cookie, now)
    stage = owed(person, frozenset(proof.proven), proof.acr)
    # The person's factors may have changed since the password: what is owed now was never asked.
    is_asked = stage in PROVES and (stage is not Stage.MAILED_CODE or proof.code_expires_at is not None)
    if not is_asked:
        raise StartAgain
    return Awaited(stage, proof, person)


async def take_second_step(
    db: Database,
    mail: Mail,
    keys: KeyEncryption,
    caisse: CaisseSlug,
    proof_cookie: str | None,
    typed: str,
    *,
    base: str,
    browser: Browser,
    now: datetime,
) -> Taken:
    """Judge one value; then the session it opens or raises, or the next proof.

    Raises `WrongCode`, `StartAgain` once the tries of this password are spent, `Throttled`,
    `MailLimitReached`.
    """
    # 1. What is asked, and of whom.
    async with db.transaction(caisse) as tx:
        awaited = await what_is_awaited(tx, proof_cookie, now)

    # 2. The try is spent before it is judged: a hundred at once spend a hundred.
    await spend_a_try(db, caisse, awaited.proof, browser.device_cookie, now)

    # 3. Value spent, proof completed and session opened together, or nothing.
    async with db.transaction(caisse) as tx:
        proof, person = awaited.proof, awaited.person
        if not await store.password_stands(tx, person):
            raise StartAgain
        recovery_codes = await _judge(tx, mail, keys, awaited, typed, base=base, now=now)
        proven = frozenset({*proof.proven, PROVES[awaited.stage]})
        if not await _is_enough(tx, mail, keys, awaited, proven, now=now):
            return Taken(None, [])
        if {TOTP_PROVEN, MAILED_CODE_PROVEN} <= proven:
            await factors.vouch_for_totp(tx, person.id, now=now)
        if proof.session_id is None:
            return Taken(await finish(tx, mail, person, proven, browser=browser, now=now), recovery_codes)
        session = await current_session(tx, browser.session_cookie, now)
        # The password was proven for one session: another one in this browser gains nothing.
        if session is None or session.id != proof.session_id:
            raise StartAgain
        return Taken(SignedIn(await finish_step_up(tx, session, proven, now=now), None), recovery_codes)


async def _is_enough(
    tx: Tx, mail: Mail, keys: KeyEncryption, awaited: Awaited, proven: frozenset[str], *, now: datetime
) -> bool:
    """End the proof under way, or note what was given and ask the next."""
    proof, person = awaited.proof, awaited.person
    stage = owed(person, proven, proof.acr)
    if stage is Stage.DONE:
        is_first = await store.complete_proof(tx, proof.id, now=now)
    else:
        is_first = await store.go_on(
            tx, proof.id, given=proof.proven, proven=sorted(proven), expires_at=now + PROOF_LASTS
        )
    if not is_first:
        raise StartAgain
    if stage is Stage.MAILED_CODE:
        await mail_code(tx, mail, keys, proof.id, person, now=now)
    return stage is Stage.DONE


async def _judge(
    tx: Tx, mail: Mail, keys: KeyEncryption, awaited: Awaited, typed: str, *, base: str, now: datetime
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
            return await confirm_totp(
                tx, keys, mail, awaited.person, typed, shown_to=awaited.proof.id, base=base, now=now
            )
    return []
