"""Signing in: the request is pushed, the person goes to identity and comes back with a code.

Each tab has its own pending row, bound to the browser that began it, so that several tabs, the back button and
a mailed link in between all end well. OpenID Connect Core §3.1, RFC 9126, RFC 9207, RFC 9449.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from libs.common.access.issuer_keys import IssuerKeys
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug
from services.portal.refusals import SignInNotFinished, SignInRefused
from services.portal.relying_party.client import AuthorizationRequest, IdentityClient
from services.portal.relying_party.id_token import InvalidIdToken, verify_id_token
from services.portal.relying_party.registration import SCOPE
from services.portal.session import store
from services.portal.session.session import open_session

PENDING: Final = timedelta(hours=1)
"""How long a person may take to sign in: the time to look for a letter or a telephone."""

PURPOSE: Final = "portal.pending"


async def begin_sign_in(
    db: Database,
    identity: IdentityClient,
    keys: KeyEncryption,
    caisse: CaisseSlug,
    *,
    browser: str,
    return_to: str,
    extra: Mapping[str, str],
    now: datetime,
) -> str:
    """Push an authorization request; the address where the browser goes.

    `browser` is this browser's own random name, `return_to` a checked path of this caisse, `extra` what is asked
    beyond the ordinary (`prompt`, `ui_locales`, `acr_values`). Raises `ServiceDown`.
    """
    request = AuthorizationRequest.new()
    address = await identity.push(caisse, request, scope=SCOPE, extra=extra)
    state_hash = _hash(request.state)
    sealed = keys.seal(PURPOSE, msgspec.json.encode(request), context=state_hash)
    async with db.transaction(caisse) as tx:
        await store.forget_expired(tx, now)
        await store.open_pending(tx, state_hash, _hash(browser), sealed, return_to, now + PENDING)
    return address


async def finish_sign_in(
    db: Database,
    identity: IdentityClient,
    issuer_keys: IssuerKeys,
    keys: KeyEncryption,
    caisse: CaisseSlug,
    answer: Mapping[str, str],
    *,
    browser: str,
    former: str | None,
    now: datetime,
) -> tuple[str, str]:
    """Turn identity's answer into a session: the cookie's value, and the path to show next.

    `former` is the session cookie that the browser came with: what it opened ends. Raises `SignInNotFinished` (state
    unknown here, issuer mixed up, code refused), `SignInRefused`, `SessionOver` (signed out meanwhile), `ServiceDown`.
    """
    # 1. Spend the pending row: a state answers once, in the browser that began.
    state_hash = _hash(answer.get("state", ""))
    async with db.transaction(caisse) as tx:
        pending = await store.claim_pending(tx, state_hash, _hash(browser), now)
    if pending is None:
        raise SignInNotFinished("state")
    # RFC 9207 §2.4: before anything else, was it our issuer who answered?
    if answer.get("iss") != identity.providers.issuer(caisse):
        raise SignInNotFinished("iss")
    if "error" in answer:
        raise SignInRefused(answer["error"][:60])
    sealed = keys.open(PURPOSE, pending.sealed, context=state_hash)
    request = msgspec.json.decode(sealed, type=AuthorizationRequest)

    # 2. Redeem outside any transaction. If the machine dies here, the person signs in again.
    try:
        tokens = await identity.redeem(caisse, request, answer.get("code", ""))
        token = await verify_id_token(
            issuer_keys,
            tokens.id_token or "",
            caisse=caisse,
            issuer=identity.providers.issuer(caisse),
            client_id=identity.client_id,
            nonce=request.nonce,
            now=now,
        )
    except (InvalidIdToken, msgspec.ValidationError) as error:
        raise SignInNotFinished(str(error)) from error

    # 3. A new session, never a renewed one: its identifier was unknown before (fixation), and the
    #    former value opens nothing any more (ASVS 7.2.4).
    async with db.transaction(caisse) as tx:
        cookie = await open_session(tx, keys, caisse, token, tokens, request.dpop_pem, now, former=former)
    return cookie, pending.return_to


def checked_return(caisse: CaisseSlug, typed: str | None) -> str:
    """A path of this caisse on this portal, else its home: never another site's address."""
    home = f"/{caisse}"
    if typed and re.fullmatch(r"/[A-Za-z0-9_/.-]{1,200}(\?[A-Za-z0-9_=&%.+-]{0,300})?", typed):
        path = typed.partition("?")[0]
        if (path == home or path.startswith(home + "/")) and "//" not in path and ".." not in path:
            return typed
    return home


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
