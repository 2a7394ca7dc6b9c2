"""Signing out: here at once, then at identity; and hearing that identity ended a session.

OpenID Connect RP-Initiated Logout 1.0, Back-Channel Logout 1.0 §2.6–2.8.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from libs.common.access.issuer_keys import IssuerKeys
from libs.common.database.pool import Database
from libs.common.values.caisse_slug import CaisseSlug
from services.portal.refusals import ServiceDown
from services.portal.relying_party.client import IdentityClient
from services.portal.relying_party.id_token import InvalidIdToken, verify_logout_token
from services.portal.session import store
from services.portal.session.session import Session

REMEMBERED: Final = timedelta(minutes=15)
"""Longer than a logout token lives, and than a code takes to become a session here."""


async def sign_out(db: Database, identity: IdentityClient, session: Session) -> str | None:
    """End the session here; the address where identity ends its own, or `None` while it is away."""
    async with db.transaction(session.caisse) as tx:
        await store.delete_session(tx, session.id)
    try:
        return await identity.end_session_url(session.caisse, session.secrets.id_token)
    except ServiceDown:
        return None


async def hear_logout(
    db: Database,
    issuer_keys: IssuerKeys,
    identity: IdentityClient,
    caisse: CaisseSlug,
    logout_token: str,
    *,
    now: datetime,
) -> None:
    """End what identity says is over. Twice the same token changes nothing. Raises `InvalidIdToken`."""
    try:
        token = await verify_logout_token(
            issuer_keys,
            logout_token,
            caisse=caisse,
            issuer=identity.providers.issuer(caisse),
            client_id=identity.client_id,
            now=now,
        )
    except msgspec.ValidationError as error:
        raise InvalidIdToken("claims") from error
    async with db.transaction(caisse) as tx:
        await store.one_at_a_time(tx, token.sid or token.sub or "")
        if await store.hear_logout(
            tx,
            token.jti,
            sid=token.sid,
            subject=token.sub,
            issued_at=datetime.fromtimestamp(token.iat, UTC),
            expires_at=now + REMEMBERED,
        ):
            await store.delete_named_by_logout(tx, token.sid, token.sub)
