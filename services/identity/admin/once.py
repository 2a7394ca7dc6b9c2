"""A command of the administration API sent twice is carried out once and answered twice.

The answer is kept a day, sealed: it may hold a secret that is shown once, and a
program whose connection broke has no other way to learn it.
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import Unavailable
from services.identity.admin import store
from services.identity.delegation.once import KeyReused

KEPT_FOR = timedelta(days=1)
PURPOSE = "admin-receipt"

Answer = TypeVar("Answer", bound=msgspec.Struct)


async def once(
    tx: Tx,
    keys: KeyEncryption,
    client_id: str,
    request_key: str,
    command: str,
    body: object,
    act: Callable[[], Awaitable[Answer]],
    kind: type[Answer],
    *,
    now: datetime,
) -> Answer:
    """Carry `act` out, or answer what it answered under this key, within the transaction of its effects.

    `request_key` is drawn by the client `client_id` and is its own: two clients may draw the same.
    Raises `KeyReused` when the key served for another command or body.
    """
    await store.forget(tx, now - KEPT_FOR)
    asked = hashlib.sha256(msgspec.json.encode([command, body])).digest()
    context = f"{tx.the_caisse}/{client_id}/{request_key}".encode()
    if await store.claim(tx, client_id, request_key, asked, now):
        answer = await act()
        sealed = keys.seal(PURPOSE, msgspec.json.encode(answer), context=context)
        await store.keep_answer(tx, client_id, request_key, sealed)
        return answer
    done = await store.find(tx, client_id, request_key)
    if done is None or done.answer_encrypted is None:
        # Forgotten between the two statements: to be asked again.
        raise Unavailable("the receipt has just been forgotten")
    if done.request_hash != asked:
        raise KeyReused
    return msgspec.json.decode(keys.open(PURPOSE, done.answer_encrypted, context=context), type=kind)
