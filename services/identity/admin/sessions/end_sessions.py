"""Where a person is signed in, and signing them out, as the caisse's desk asks it."""

from datetime import datetime
from uuid import UUID

from libs.common.access.access_token import AccessToken
from libs.common.database.journal import Actor
from libs.common.database.transaction import Tx
from libs.common.refusals import NotFound
from services.identity.admin import store
from services.identity.sign_in import session_store
from services.identity.sign_in.session import IDLE, LONGEST, Session, end_session


async def sessions_of(tx: Tx, person_id: UUID, now: datetime) -> list[Session]:
    """Newest first. Raises `NotFound` for a person this caisse does not know: people are platform-wide."""
    live = await session_store.live_sessions(
        tx, person_id, seen_after=now - IDLE, created_after=now - LONGEST
    )
    if not live and not await store.has_an_account(tx, person_id):
        raise NotFound
    return live


async def end_their_session(
    tx: Tx, token: AccessToken, person_id: UUID, session_id: UUID, *, now: datetime
) -> None:
    """Raises `NotFound` for a session of somebody else, one that is over, or none."""
    if session_id not in {session.id for session in await sessions_of(tx, person_id, now)}:
        raise NotFound
    by = Actor(token_jti=token.jti)
    await end_session(tx, session_id, now=now, by=by, client_id=token.client_id)
