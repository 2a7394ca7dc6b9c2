"""The right token for each call: the person's own, or a delegated one on a mandate.

Tokens stay here, sealed. One audience a token (RFC 8707), each bound to the session's DPoP key.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from libs.common.access.rights import DELEGABLE
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption, SealBroken
from services.portal.refusals import SessionOver
from services.portal.relying_party.client import IdentityClient, Tokens
from services.portal.session import store
from services.portal.session.session import Session

PURPOSE: Final = "portal.token"

MARGIN: Final = timedelta(seconds=20)
"""A token about to die is not used: it would expire on its way."""

DELEGATED_SCOPE: Final = " ".join(sorted(DELEGABLE))
"""All that could be delegated: identity answers with what this mandate and this collaborator have of it."""


class SessionTokens:
    """Gives the access token of a session for one audience, asking identity only when needed."""

    def __init__(self, db: Database, identity: IdentityClient, keys: KeyEncryption) -> None:
        self._db = db
        self._identity = identity
        self._keys = keys
        self._asking: dict[tuple[UUID, str, str], asyncio.Task[str]] = {}

    async def own(self, session: Session, audience: str, now: datetime) -> str:
        """The person's own token. Raises `SessionOver` once identity ended the session, `ServiceDown`."""
        return await self._one_at_a_time(session, audience, "", now)

    async def delegated(self, session: Session, audience: str, mandate: str, now: datetime) -> str:
        """A token to act on `mandate` (`mdt_…`). Raises `MandateOver`, `SessionOver`, `ServiceDown`."""
        return await self._one_at_a_time(session, audience, mandate, now)

    async def _one_at_a_time(self, session: Session, audience: str, mandate: str, now: datetime) -> str:
        # A page calls several services at once: its calls wait together for one token. Another process may ask
        # at the same moment, which costs a token more and breaks nothing.
        name = (session.id, audience, mandate)
        asking = self._asking.get(name)
        if asking is None:
            asking = asyncio.create_task(self._ask(session, audience, mandate, now))
            self._asking[name] = asking
            asking.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(asking)

    async def _ask(self, session: Session, audience: str, mandate: str, now: datetime) -> str:
        kept = await self._kept(session, audience, mandate, now)
        if kept is not None:
            return kept
        if mandate:
            actor_token = await self.own(session, self._identity.providers.issuer(session.caisse), now)
            tokens = await self._identity.exchange(
                session.caisse, mandate, actor_token, session.key, audience, DELEGATED_SCOPE
            )
        else:
            tokens = await self._refreshed(session, audience)
        return await self._keep(session, audience, mandate, tokens, now)

    async def _refreshed(self, session: Session, audience: str) -> Tokens:
        try:
            return await self._identity.refresh(
                session.caisse, session.secrets.refresh_token, session.key, audience
            )
        except SessionOver:
            async with self._db.transaction(session.caisse) as tx:
                await store.delete_session(tx, session.id)
            raise

    async def forget(self, session: Session, audience: str, mandate: str) -> None:
        """Drop a token that a service refused."""
        async with self._db.transaction(session.caisse) as tx:
            await store.drop_token(tx, session.id, audience, mandate)

    async def _kept(self, session: Session, audience: str, mandate: str, now: datetime) -> str | None:
        async with self._db.transaction(session.caisse) as tx:
            sealed = await store.find_token(tx, session.id, audience, mandate, now + MARGIN)
        if sealed is None:
            return None
        try:
            return self._keys.open(PURPOSE, sealed, context=_context(session, audience, mandate)).decode()
        except SealBroken:
            return None

    async def _keep(
        self, session: Session, audience: str, mandate: str, tokens: Tokens, now: datetime
    ) -> str:
        sealed = self._keys.seal(
            PURPOSE, tokens.access_token.encode(), context=_context(session, audience, mandate)
        )
        expires_at = now + timedelta(seconds=tokens.expires_in)
        async with self._db.transaction(session.caisse) as tx:
            await store.keep_token(tx, session.id, audience, mandate, sealed, expires_at)
        return tokens.access_token


def _context(session: Session, audience: str, mandate: str) -> bytes:
    return msgspec.json.encode([session.id, audience, mandate])
