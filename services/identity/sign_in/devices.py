"""The browsers that a person signed in from, each known by a cookie of its own: it proves nothing but that.

Strangers who try passwords wait together; a known device waits for none of them (`throttle.py`).
"""

from datetime import datetime
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.values.identifiers import new_id
from services.identity.sign_in import store
from services.identity.sign_in.session import family_of, hash_of, new_secret


async def known_device(tx: Tx, person_id: UUID, cookie: str | None) -> UUID | None:
    """The device of this person behind a cookie; `None` for nobody's, or somebody else's."""
    return await store.recognise_device(tx, hash_of(cookie), person_id) if cookie else None


async def know_device(tx: Tx, person_id: UUID, user_agent: str, *, now: datetime) -> str:
    """One more; the cookie that only its browser will hold."""
    cookie = new_secret()
    label = family_of(user_agent)
    await store.add_device(tx, new_id(), hash_of(cookie), person_id=person_id, label=label, now=now)
    return cookie
