"""Prove again that it is you, before an act that matters: password, and a second step for everyone."""

from datetime import datetime

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.mail.enqueue import Mail
from services.identity.sign_in import store
from services.identity.sign_in.password import Passwords
from services.identity.sign_in.session import OpenedSession, Session, SignInRequired, fresh_step_up, renew
from services.identity.sign_in.sign_in import (
    Browser,
    UnderWay,
    WrongCredentials,
    await_second_step,
    check_password,
)
from services.identity.sign_in.stages import level_of
from services.identity.sign_in.store import Person


class StepUpRequired(DomainError):
    """The session is too old or too weak for this act: one proves oneself again, then comes back to it."""


def require_fresh_step_up(session: Session, now: datetime) -> None:
    """Raise `StepUpRequired` unless a second step was taken in the last five minutes."""
    if not fresh_step_up(session, now):
        raise StepUpRequired


async def begin_step_up(
    db: Database,
    passwords: Passwords,
    mail: Mail,
    keys: KeyEncryption,
    caisse: CaisseSlug,
    session: Session,
    password: str,
    *,
    browser: Browser,
    now: datetime,
) -> UnderWay:
    """Check the password of whoever is signed in, and ask the second step.

    Raises `WrongCredentials`, `Throttled`, `TooManySignIns`, `MailLimitReached`.
    """
    async with db.transaction(caisse) as tx:
        person = await _whose(tx, session)
    person = await check_password(
        db, passwords, caisse, email=person.email, password=password, browser=browser, now=now
    )
    async with db.transaction(caisse) as tx:
        if not await store.password_stands(tx, person):
            raise WrongCredentials
        return await await_second_step(tx, mail, keys, person, acr="two_step", session_id=session.id, now=now)


async def finish_step_up(tx: Tx, session: Session, proven: frozenset[str], *, now: datetime) -> OpenedSession:
    """Raise the session's level and renew its cookie. Raises `SignInRequired` when it ended meanwhile."""
    opened = await renew(tx, session, acr=level_of(proven), amr=sorted(proven), second_factor_at=now, now=now)
    await journal.record(
        tx,
        Act(
            action="session.stepped_up",
            subject_kind="session",
            subject_id=public_id("ses", session.id),
            at=now,
            actor=Actor(person_id=session.person_id),
            details={"acr": opened.session.acr},
        ),
    )
    return opened


async def _whose(tx: Tx, session: Session) -> Person:
    person = await store.find_person(tx, person_id=session.person_id)
    if person is None:
        raise SignInRequired
    return person
