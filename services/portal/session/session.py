"""Who is signed in at the portal: a random cookie in the browser, everything else in a sealed row."""

import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from libs.common.access.signatures import SigningKey
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption, SealBroken
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.portal.refusals import SessionOver
from services.portal.relying_party.client import Tokens
from services.portal.relying_party.id_token import IdToken
from services.portal.session import store

LIFE: Final = timedelta(hours=10)
"""A working day. Identity may end it sooner."""

PURPOSE: Final = "portal.session"


class Secrets(Struct, frozen=True):
    """What the row keeps sealed: the session's DPoP key (PEM), its refresh token and its ID token."""

    dpop_pem: str
    refresh_token: str
    id_token: str


class Session(Struct, frozen=True):
    """A signed-in person, as the pages need it."""

    id: UUID
    caisse: CaisseSlug
    sid: str
    subject: str
    full_name: str
    adherent: str | None
    """The firm chosen at sign-in (`adh_…`), if any."""
    secrets: Secrets

    @property
    def key(self) -> SigningKey:
        return SigningKey.from_pem(self.secrets.dpop_pem)


def cookie_name(caisse: CaisseSlug) -> str:
    return f"__Host-espace-portal-{caisse}"


async def open_session(
    tx: Tx,
    keys: KeyEncryption,
    caisse: CaisseSlug,
    token: IdToken,
    tokens: Tokens,
    dpop_pem: str,
    now: datetime,
    *,
    former: str | None = None,
) -> str:
    """A new session for a verified ID token; the cookie's value, which is stored nowhere.

    That of the browser's `former` cookie ends with it. Raises `SessionOver` when identity has ended it already.
    """
    session_id = new_id()
    kept = Secrets(
        dpop_pem=dpop_pem, refresh_token=tokens.refresh_token or "", id_token=tokens.id_token or ""
    )
    row = store.SessionRow(
        id=session_id,
        sid=token.sid,
        subject=token.sub,
        full_name=token.name or token.email,
        adherent=token.adherent,
        sealed=keys.seal(PURPOSE, msgspec.json.encode(kept), context=session_id.bytes),
    )
    cookie = secrets.token_urlsafe(32)
    proven_at = datetime.fromtimestamp(token.iat, UTC)
    for name in (token.sid, token.sub):
        await store.one_at_a_time(tx, name)
    if not await store.insert_session(tx, row, _hash(cookie), now, now + LIFE, proven_at=proven_at):
        raise SessionOver("ended while it began")
    if former:
        await store.delete_by_cookie(tx, _hash(former))
    return cookie


async def current_session(
    tx: Tx, keys: KeyEncryption, caisse: CaisseSlug, cookie: str | None, now: datetime
) -> Session | None:
    """The session of this cookie. `None` when unknown or over, or when our sealing key has changed."""
    if not cookie or not re.fullmatch("[A-Za-z0-9_-]{43}", cookie):
        return None
    row = await store.find_session(tx, _hash(cookie), now)
    if row is None:
        return None
    try:
        opened = keys.open(PURPOSE, row.sealed, context=row.id.bytes)
    except SealBroken:
        return None
    return Session(
        id=row.id,
        caisse=caisse,
        sid=row.sid,
        subject=row.subject,
        full_name=row.full_name,
        adherent=row.adherent,
        secrets=msgspec.json.decode(opened, type=Secrets),
    )


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
