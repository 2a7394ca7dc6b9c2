"""What one changes on one's own account: name, connections, password, second factor."""

from datetime import datetime
from uuid import UUID

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError, NotFound
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.account import store
from services.identity.mail.enqueue import Mail
from services.identity.sign_in import session_store
from services.identity.sign_in import store as people
from services.identity.sign_in.new_password import change_password
from services.identity.sign_in.password import Passwords
from services.identity.sign_in.password_rules import check_password_choice
from services.identity.sign_in.prove_again import StepUpRequired, require_fresh_step_up
from services.identity.sign_in.session import (
    IDLE,
    LONGEST,
    OpenedSession,
    Session,
    SignInRequired,
    end_session,
    renew,
)
from services.identity.sign_in.sign_in import Browser, WrongCredentials, check_password
from services.identity.sign_in.stages import TOTP_PROVEN
from services.identity.sign_in.store import Person
from services.identity.sign_in.totp import confirm_totp, remove_totp


class FactorIsMandatory(DomainError):
    """People of a cabinet, and officers, keep a second factor."""


async def person_of(tx: Tx, session: Session) -> Person:
    """Whoever is signed in. Raises `SignInRequired`."""
    person = await people.find_person(tx, person_id=session.person_id)
    if person is None:
        raise SignInRequired
    return person


async def rename(tx: Tx, person: Person, full_name: str, *, now: datetime) -> None:
    await store.set_name(tx, person.id, full_name)
    await journal.record(
        tx,
        Act(
            action="person.renamed",
            subject_kind="person",
            subject_id=public_id("per", person.id),
            at=now,
            actor=Actor(person_id=person.id),
        ),
    )


async def end_other_session(tx: Tx, person_id: UUID, session_id: UUID, *, now: datetime) -> None:
    """Sign another browser of one's own out. Raises `NotFound` for a session of somebody else, or none."""
    live = await session_store.live_sessions(
        tx, person_id, seen_after=now - IDLE, created_after=now - LONGEST
    )
    if session_id not in {session.id for session in live}:
        raise NotFound
    await end_session(tx, session_id, now=now)


async def replace_password(
    db: Database,
    passwords: Passwords,
    mail: Mail,
    caisse: CaisseSlug,
    session: Session,
    *,
    present: str,
    chosen: str,
    browser: Browser,
    now: datetime,
) -> OpenedSession:
    """Another password, for whoever knows the present one; every other browser signs out.

    Raises `WrongCredentials`, `Throttled`, `TooManySignIns`, and the refusals of
    `check_password_choice`.
    """
    # 1. Who, and does the choice hold? Judged before the slow hashes.
    async with db.transaction(caisse) as tx:
        person = await person_of(tx, session)
    check_password_choice(chosen, known=[person.email, person.full_name], has_second_factor=person.has_totp)

    # 2. Two slow hashes, no connection held.
    person = await check_password(
        db, passwords, caisse, email=person.email, password=present, browser=browser, now=now
    )
    encoded = await passwords.hash(chosen)

    # 3. Change, sign the others out, renew this session's cookie.
    async with db.transaction(caisse) as tx:
        if not await people.password_is_held(tx, person):
            raise WrongCredentials
        await change_password(tx, mail, person, encoded, session_id=session.id, now=now)
        return await renew(tx, session, acr="pwd", amr=["pwd"], second_factor_at=None, now=now)


async def add_factor(
    tx: Tx, keys: KeyEncryption, mail: Mail, session: Session, typed: str, *, base: str, now: datetime
) -> tuple[OpenedSession, list[str]]:
    """Enrol an application from the console; the session rises to two factors.

    Raises `StepUpRequired`, `WrongCode`.
    """
    require_fresh_step_up(session, now)
    person = await person_of(tx, session)
    recovery_codes = await confirm_totp(
        tx, keys, mail, person, typed, shown_to=session.id, base=base, now=now
    )
    opened = await renew(tx, session, acr="mfa", amr=[TOTP_PROVEN], second_factor_at=now, now=now)
    return opened, recovery_codes


async def drop_factor(
    db: Database,
    passwords: Passwords,
    mail: Mail,
    caisse: CaisseSlug,
    session: Session,
    password: str,
    *,
    browser: Browser,
    now: datetime,
) -> None:
    """Remove the application: proven with it, and with a password long enough to stand alone.

    Raises `StepUpRequired`, `FactorIsMandatory`, `PasswordTooShort`, `WrongCredentials`, `SignInRequired`.
    """
    require_fresh_step_up(session, now)
    # A mailed code taken before the application was added proves less than what it would remove.
    if session.acr != "mfa":
        raise StepUpRequired
    async with db.transaction(caisse) as tx:
        person = await person_of(tx, session)
    if person.must_have_totp:
        raise FactorIsMandatory
    check_password_choice(password, known=[person.email, person.full_name])
    person = await check_password(
        db, passwords, caisse, email=person.email, password=password, browser=browser, now=now
    )
    async with db.transaction(caisse) as tx:
        if not await people.password_stands(tx, person):
            raise WrongCredentials
        # The owner may have sent this browser away meanwhile.
        if not await session_store.is_open(tx, session.id):
            raise SignInRequired
        await remove_totp(tx, mail, person, now=now)
