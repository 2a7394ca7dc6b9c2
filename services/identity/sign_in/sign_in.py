"""Signing in: the password, then whatever `next_stage` still asks, then a new session.

Journey: docs/explanation/first-connection.md, "Se connecter ensuite".
"""

import secrets
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.email import email_key
from libs.common.values.identifiers import new_id, public_id
from services.identity.mail.enqueue import Mail
from services.identity.sign_in import session_store, store, throttle
from services.identity.sign_in.devices import know_device, known_device
from services.identity.sign_in.password import Passwords
from services.identity.sign_in.refused import REFUSED, note_refused_later
from services.identity.sign_in.session import (
    OpenedSession,
    Session,
    end_session,
    family_of,
    hash_of,
    new_secret,
    open_session,
    sought,
)
from services.identity.sign_in.stages import (
    MAILED_CODE_PROVEN,
    PASSWORD_PROVEN,
    TOTP_PROVEN,
    Stage,
    level_of,
    next_stage,
)
from services.identity.sign_in.store import Person, Proof

PROOF_LASTS = timedelta(minutes=15)
"""Time to find one's telephone, or a mail, after the proof before it."""

CODE_LASTS = timedelta(minutes=10)

MOST_FAILURES = 5
"""Wrong second steps after one password; then the password again, which is throttled."""


class WrongCredentials(DomainError):
    """Unknown address, wrong password or suspended person: deliberately one answer."""


class WrongCode(DomainError):
    """This value is not the one, or was used already."""


class StartAgain(DomainError):
    """The proof under way is over (time, tries, another tab): the password is asked again."""


class Browser(NamedTuple):
    """What a request says of the browser it comes from; none of it is a proof."""

    device_cookie: str | None
    session_cookie: str | None
    network: str
    user_agent: str


class SignedIn(NamedTuple):
    """The new session, and the cookie of a device seen for the first time."""

    opened: OpenedSession
    device_cookie: str | None


class UnderWay(NamedTuple):
    """A second step is awaited: `cookie` is what this browser shows to take it."""

    stage: Stage
    cookie: str


async def check_password(
    db: Database,
    passwords: Passwords,
    caisse: CaisseSlug,
    *,
    email: str,
    password: str,
    browser: Browser,
    now: datetime,
) -> Person:
    """Whoever knows this password, at the cost of one slow hash whoever is named.

    Raises `WrongCredentials`, `Throttled`, `TooManySignIns`.
    """
    # 1. One pass from the right bucket; the row is committed whatever follows.
    key = email_key(email)
    async with db.transaction(caisse) as tx:
        person = await store.find_person(tx, email_key=key)
        device = None if person is None else await known_device(tx, person.id, browser.device_cookie)
        await throttle.spend_sign_in(tx, email_key=key, device_id=device, network=browser.network, now=now)

    # 2. The slow hash holds no connection. Nobody there costs the same.
    matches = await passwords.verify(person.password_hash if person else None, password)
    if person is None or not matches or person.state != "active":
        REFUSED.inc()
        if person is not None:
            note_refused_later(db, caisse, person.id, "wrong_password" if not matches else "suspended", now)
        raise WrongCredentials
    return person


async def begin(
    tx: Tx,
    mail: Mail,
    keys: KeyEncryption,
    person: Person,
    *,
    acr: str | None,
    browser: Browser,
    now: datetime,
) -> SignedIn | UnderWay:
    """After the password: a session at once, or the next stage with the cookie that continues it.

    Raises `WrongCredentials` when the password changed, or its person was suspended, while it was being verified;
    `MailLimitReached`.
    """
    if not await store.password_stands(tx, person):
        raise WrongCredentials
    proven = frozenset({PASSWORD_PROVEN})
    if owed(person, proven, acr) is Stage.DONE:
        return await finish(tx, mail, person, proven, browser=browser, now=now)
    return await await_second_step(tx, mail, keys, person, acr=acr, session_id=None, now=now)


def owed(person: Person, proven: frozenset[str], acr: str | None) -> Stage:
    """The proof this person still owes, to reach this level."""
    return next_stage(
        proven,
        has_totp=person.has_totp,
        is_vouched=person.totp_is_vouched,
        must_have_totp=person.must_have_totp,
        acr=acr,
    )


async def await_second_step(
    tx: Tx,
    mail: Mail,
    keys: KeyEncryption,
    person: Person,
    *,
    acr: str | None,
    session_id: UUID | None,
    now: datetime,
) -> UnderWay:
    """Write down that the password is proven, and mail the code when that is the second step.

    Raises `MailLimitReached`.
    """
    proof_id, cookie = new_id(), new_secret()
    stage = owed(person, frozenset({PASSWORD_PROVEN}), acr)
    await store.open_proof(
        tx,
        proof_id,
        hash_of(cookie),
        person_id=person.id,
        session_id=session_id,
        acr=acr or "pwd",
        now=now,
        expires_at=now + PROOF_LASTS,
    )
    if stage is Stage.MAILED_CODE:
        await mail_code(tx, mail, keys, proof_id, person, now=now)
    return UnderWay(stage, cookie)


async def mail_code(
    tx: Tx, mail: Mail, keys: KeyEncryption, proof_id: UUID, person: Person, *, now: datetime
) -> None:
    """Send a fresh six-digit code; the former one ends. Raises `MailLimitReached`."""
    code = f"{secrets.randbelow(1_000_000):06}"
    deadline = now + CODE_LASTS
    await mail.enqueue(
        tx,
        template="step_up_code",
        to=person.email,
        values={"code": code, "deadline": deadline.isoformat()},
        now=now,
        limited=True,
    )
    await store.set_code(tx, proof_id, code_mac(keys, proof_id, code), expires_at=deadline)


def code_mac(keys: KeyEncryption, proof_id: UUID, code: str) -> bytes:
    """Six digits are few: what is stored is keyed, and bound to this proof."""
    return keys.mac("mailed_code", proof_id.bytes + code.encode())


async def find_under_way(tx: Tx, cookie: str | None, now: datetime) -> tuple[Proof, Person]:
    """The proof this browser is giving, and whose. Raises `StartAgain`."""
    proof = None
    if cookie:
        proof = await store.find_proof(tx, hash_of(cookie), now=now, most_failures=MOST_FAILURES)
    if proof is None:
        raise StartAgain
    person = await store.find_person(tx, person_id=proof.person_id)
    if person is None or person.state != "active":
        raise StartAgain
    return proof, person


async def spend_a_try(
    db: Database, caisse: CaisseSlug, proof: Proof, device_cookie: str | None, now: datetime
) -> None:
    """Count one try before judging it, in a transaction of its own: a rolled back refusal still counts.

    Five a password, and as many for all strangers together: whoever has the password may type it again,
    and would guess six digits in days. Raises `StartAgain` when none is left of this password, `Throttled`.
    """
    async with db.transaction(caisse) as tx:
        device = await known_device(tx, proof.person_id, device_cookie)
        await throttle.spend_second_step(tx, proof.person_id, device, now=now)
        if not await store.count_failure(tx, proof.id, now=now, most_failures=MOST_FAILURES):
            raise StartAgain


async def finish(
    tx: Tx, mail: Mail, person: Person, proven: frozenset[str], *, browser: Browser, now: datetime
) -> SignedIn:
    """Open the session. One that this person has here goes on under another cookie; any other that this browser held
    ends, since it is not theirs.
    """
    opened = await open_session(
        tx,
        person_id=person.id,
        acr=level_of(proven),
        amr=sorted(proven),
        now=now,
        user_agent=browser.user_agent,
        second_factor_at=now if proven & {TOTP_PROVEN, MAILED_CODE_PROVEN} else None,
        over=await _theirs_here(tx, person, browser, now=now),
    )
    device_cookie = await _remember_device(tx, mail, person, browser, now=now)
    await journal.record(
        tx,
        Act(
            action="session.opened",
            subject_kind="session",
            subject_id=public_id("ses", opened.session.id),
            at=now,
            actor=Actor(person_id=person.id),
            details={"acr": opened.session.acr},
        ),
    )
    return SignedIn(opened, device_cookie)


async def _theirs_here(tx: Tx, person: Person, browser: Browser, *, now: datetime) -> Session | None:
    if not browser.session_cookie:
        return None
    held = await session_store.find(tx, *sought(browser.session_cookie, now))
    if held is not None and held.person_id == person.id:
        return held
    former = await session_store.find_by_cookie(tx, hash_of(browser.session_cookie))
    if former is not None:
        await end_session(tx, former, now=now)
    return None


async def _remember_device(
    tx: Tx, mail: Mail, person: Person, browser: Browser, *, now: datetime
) -> str | None:
    known = await known_device(tx, person.id, browser.device_cookie)
    if known is not None:
        await store.use_device(tx, known, now=now)
        return None
    is_first = not await store.devices_of(tx, person.id)
    cookie = await know_device(tx, person.id, browser.user_agent, now=now)
    if not is_first:
        values = {"at": now.isoformat(), "device": family_of(browser.user_agent) or "un appareil inconnu"}
        await mail.enqueue(tx, template="notice_new_device", to=person.email, values=values, now=now)
    return cookie
