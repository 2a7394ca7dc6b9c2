"""A signed-in browser: one row, one cookie, renewed whenever its power grows.

The cookie holds 32 random bytes; the row keeps their SHA-256. The row's `id` is
the `sid` of tokens and lasts as long as the session; the cookie's value changes at
sign-in and step-up, so that a value planted or seen before is worth nothing after.
"""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id, public_id
from services.identity.floors.raise_floor import raise_floor
from services.identity.sign_in import session_store
from services.identity.sign_in.session_store import Session

Acr = Literal["pwd", "two_step", "mfa"]
"""Password alone; password and a mailed code (two steps, one factor); two factors."""

ACR_RANK: dict[str, int] = {"pwd": 0, "two_step": 1, "mfa": 2}

IDLE = timedelta(hours=2)
"""Without a request for this long, one signs in again."""

LONGEST = timedelta(hours=12)
"""A working day: nobody stays signed in overnight."""

ENDS_AT = (
    f"least(session.created_at + interval '{LONGEST.total_seconds():.0f} seconds', "
    f"session.last_seen_at + interval '{IDLE.total_seconds():.0f} seconds')"
)
"""When a session ends unless somebody uses it, in SQL: as `sought` judges the cookie's, for what it granted."""

STEP_UP_LASTS = timedelta(minutes=5)

SEEN_EVERY = timedelta(minutes=1)
"""`last_seen_at` is written at most this often: a read stays a read."""


class SignInRequired(DomainError):
    """No live session: whoever asks must first say who they are."""


class OpenedSession(NamedTuple):
    """A session and the cookie value only its browser will hold."""

    session: Session
    cookie: str


def cookie_name(caisse: CaisseSlug) -> str:
    """`__Host-`: the browser itself refuses it without Secure, or from another host."""
    return f"__Host-espace-{caisse}"


async def current_session(tx: Tx, cookie: str | None, now: datetime) -> Session | None:
    """The live session behind a cookie of this caisse; `None` when revoked, idle, too old or forged.

    A session whose person is suspended is no session.
    """
    if not cookie:
        return None
    session = await session_store.find(tx, *sought(cookie, now))
    if session is not None:
        await note_seen(tx, session.id, session.last_seen_at, now)
    return session


def sought(cookie: str, now: datetime) -> tuple[bytes, datetime, datetime]:
    """What `session_store.LIVE` asks of the session behind a cookie: hash, seen after, created after."""
    return hash_of(cookie), now - IDLE, now - LONGEST


def ends_at(created_at: datetime, last_seen_at: datetime) -> datetime:
    """`ENDS_AT`, of a session at hand."""
    return min(created_at + LONGEST, last_seen_at + IDLE)


def was_seen_long_ago(last_seen_at: datetime, now: datetime) -> bool:
    return last_seen_at <= now - SEEN_EVERY


async def note_seen(tx: Tx, session_id: UUID, last_seen_at: datetime, now: datetime) -> None:
    """The session's idle clock starts anew, at most once a minute."""
    if was_seen_long_ago(last_seen_at, now):
        await session_store.touch(tx, session_id, now=now)


async def open_session(
    tx: Tx,
    *,
    person_id: UUID,
    acr: Acr,
    amr: list[str],
    now: datetime,
    user_agent: str = "",
    second_factor_at: datetime | None = None,
    over: Session | None = None,
) -> OpenedSession:
    """The session of somebody who has just proven who they are. Whatever cookie they came with is not kept.

    `over` is one of theirs, alive in this browser: it goes on under the same `sid`, with what is proven now, no
    more and no less, and the clocks of a new one. Another tab, and the clients that live by it, lose nothing.
    """
    session = Session(
        id=new_id() if over is None else over.id,
        caisse=tx.the_caisse,
        person_id=person_id,
        auth_time=now,
        acr=acr,
        amr=amr,
        second_factor_at=second_factor_at,
        created_at=now,
        last_seen_at=now,
        user_agent_family=family_of(user_agent),
    )
    cookie = new_secret()
    if over is not None and not await session_store.begin_anew(tx, session, hash_of(cookie)):
        # Ended meanwhile, by another browser of theirs: it stays ended.
        over, session = None, session._replace(id=new_id())
    if over is None:
        await session_store.add(tx, session, hash_of(cookie))
    return OpenedSession(session, cookie)


async def renew(
    tx: Tx, session: Session, *, acr: Acr, amr: list[str], second_factor_at: datetime | None, now: datetime
) -> OpenedSession:
    """The same session after a step-up: same `sid`, another cookie; the former value opens nothing.

    A password alone leaves the level as high and as old as it was (`session_store.LEVEL_AT`). A second step says
    the level of this moment: a mailed code, after two factors of which one was taken away since, is no two factors.
    Raises `SignInRequired` when the session ended meanwhile.
    """
    sinks = second_factor_at is not None and ACR_RANK[acr] < ACR_RANK[session.acr]
    level = acr if sinks else max(session.acr, acr, key=ACR_RANK.__getitem__)
    proven = sorted(amr) if sinks else sorted({*session.amr, *amr})
    cookie = new_secret()
    renewed = await session_store.renew(
        tx,
        session.id,
        hash_of(cookie),
        acr=level,
        amr=proven,
        second_factor_at=second_factor_at,
        auth_time=now,
    )
    if renewed is None:
        raise SignInRequired
    return OpenedSession(renewed, cookie)


async def end_session(
    tx: Tx, session_id: UUID, *, now: datetime, by: Actor | None = None, client_id: str | None = None
) -> bool:
    """Sign out: the cookie opens nothing any more, and the services hear that this `sid` is over.

    `by` is somebody else than its person, with the program they use. False when it was over already.
    """
    person_id = await session_store.revoke(tx, session_id, now=now)
    if person_id is None:
        return False
    act = Act(
        action="session.ended",
        subject_kind="session",
        subject_id=sid_of(session_id),
        at=now,
        actor=Actor(person_id=person_id) if by is None else by,
        details={} if by is None else {"by": client_id, "person": public_id("per", person_id)},
    )
    await journal.record(tx, act)
    await raise_floor(tx, "sid", sid_of(session_id), now)
    return True


async def end_all_sessions(
    tx: Tx, person_id: UUID, *, by: Actor, why: dict[str, str], kept: UUID | None = None, now: datetime
) -> None:
    """Sign somebody out of every browser and caisse, `kept` apart; their clients hear of it.

    Each session has its line in the journal of its caisse: `by` did it, and `why` names the act (`because`).

    Every access token dies within a second. Those of the kept session too: floors know people and sessions, and
    no exception; its clients are given others when they ask.
    """
    await session_store.end_sessions_everywhere(
        tx,
        person_id,
        kept=kept,
        now=now,
        seen_after=now - IDLE,
        created_after=now - LONGEST,
        actor=msgspec.json.encode(by).decode(),
        why=msgspec.json.encode(why).decode(),
    )
    await end_access_tokens(tx, person_id, now=now)


async def end_access_tokens(tx: Tx, person_id: UUID, *, now: datetime) -> None:
    """Every access token that names this person, or a machine they answer for, dies within a second in every caisse."""
    await raise_floor(tx, "actor", public_id("per", person_id), now)


def sid_of(session_id: UUID) -> str:
    """The session as tokens and revocation floors name it."""
    return public_id("ses", session_id)


def fresh_step_up(session: Session, now: datetime) -> bool:
    """Whether a second step was taken in the last five minutes (an act that matters asks for it)."""
    return session.second_factor_at is not None and session.second_factor_at > now - STEP_UP_LASTS


def satisfies(session: Session, *, acr: str | None, max_age: timedelta | None, now: datetime) -> bool:
    """Whether this session is what a client asks for: level reached, and recent enough (OIDC Core §3.1.2.1)."""
    if acr is not None and ACR_RANK[session.acr] < ACR_RANK[acr]:
        return False
    return max_age is None or now - session.level_at <= max_age


def new_secret() -> str:
    """32 random bytes as a cookie or a link carries them (base64url, 43 characters)."""
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> bytes:
    """What is stored of a cookie or a link: 256 random bits need no slow hash."""
    return sha256(secret.encode()).digest()


_FAMILIES = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("Chrome", "Chrome"),
    ("CriOS", "Chrome"),
    ("Safari", "Safari"),
)
_MACHINES = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)


def family_of(user_agent: str) -> str:
    """`Firefox, Windows`: enough to recognise one's own device, too little to follow anybody."""
    browser = next((name for mark, name in _FAMILIES if mark in user_agent), "")
    machine = next((name for mark, name in _MACHINES if mark in user_agent), "")
    return ", ".join(filter(None, (browser, machine)))
