"""The sessions of a person at a caisse, for its desk's programs. Right: `session.manage`."""

from datetime import datetime
from typing import Literal, cast

from litestar import delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.documented import needs, refusals
from libs.common.values.identifiers import parse_public_id
from services.identity.admin.sessions.end_sessions import end_their_session, sessions_of
from services.identity.caisses.caisse import Caisse
from services.identity.sign_in.session import Acr, sid_of

SCOPE = "session.manage"
ACCESS = Scopes(SCOPE, delegable=False)


class SessionShown(Struct, frozen=True, kw_only=True):
    """One signed-in browser: `device` is a family (`Firefox, Windows`), never an address."""

    sid: str
    acr: Literal["pwd", "two_step", "mfa"]
    amr: list[str]
    device: str
    auth_time: datetime
    created_at: datetime
    last_seen_at: datetime


class Sessions(Struct, frozen=True):
    """Last seen first."""

    sessions: list[SessionShown]


@get(
    "/admin/persons/{person:str}/sessions",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(),
    tags=["sessions"],
)
async def list_sessions(
    person: FromPath[str],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Sessions:
    """Where this person (`per_…`) is signed in at this caisse."""
    person_id = parse_public_id("per", person)
    async with db.transaction(caisse.slug) as tx:
        live = await sessions_of(tx, person_id, clock())
    return Sessions(
        [
            SessionShown(
                sid=sid_of(one.id),
                acr=cast(Acr, one.acr),
                amr=list(one.amr),
                device=one.user_agent_family,
                auth_time=one.auth_time,
                created_at=one.created_at,
                last_seen_at=one.last_seen_at,
            )
            for one in live
        ]
    )


@delete(
    "/admin/persons/{person:str}/sessions/{sid:str}",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(),
    tags=["sessions"],
)
async def end_one_session(
    person: FromPath[str],
    sid: FromPath[str],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> None:
    """Sign this browser out (`ses_…`); the tokens of its session die within a second."""
    person_id, session_id = parse_public_id("per", person), parse_public_id("ses", sid)
    async with db.transaction(caisse.slug) as tx:
        await end_their_session(tx, token, person_id, session_id, now=clock())


ROUTES = [list_sessions, end_one_session]
