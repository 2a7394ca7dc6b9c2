"""A person's own access token is worth the same wherever it is shown: what introspection calls inactive opens neither
UserInfo nor an exchange, whatever the cause (openid.md line 6, §4 "gate missing in a sibling grant").
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from libs.common.database.journal import Actor
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.values.identifiers import public_id
from services.identity.cabinets.leave import remove_collaborator
from services.identity.floors.raise_floor import raise_floor
from services.identity.openid import consent_store
from services.identity.openid import store as clients
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, disable_client, update_client
from services.identity.sign_in.session import end_access_tokens, end_all_sessions, end_session
from services.identity.sign_in.suspend import suspend
from tests.identity.delegation.parties import a_scene, an_active_mandate
from tests.openid.party import Issuer, claims_of
from tests.openid.token_exchange.delegations import CLIENT_CREDENTIALS, Delegation, by_a_person

Cause = Callable[[Tx, Delegation], Awaitable[Any]]


async def _described(tx: Tx, it: Delegation, **changes: Any) -> None:
    known = await clients.load_client(tx, it.client.client_id)
    assert known is not None
    said = msgspec.structs.replace(known.metadata, **changes)
    await update_client(tx, known, said, now=it.issuer.clock(), plain_http=True, by=AT_THE_COMMAND_LINE)


async def _session(tx: Tx, it: Delegation) -> Any:
    found = "SELECT id FROM session WHERE person_id = $1 ORDER BY created_at DESC LIMIT 1"
    return await tx.fetchval(found, it.scene.member)


async def _floor(tx: Tx, it: Delegation, kind: Any, key: str) -> None:
    await raise_floor(tx, kind, key, it.issuer.clock())


async def _session_ended(tx: Tx, it: Delegation) -> None:
    await end_session(tx, await _session(tx, it), now=it.issuer.clock())


async def _other_sessions_ended(tx: Tx, it: Delegation) -> None:
    kept = await _session(tx, it)
    await end_all_sessions(
        tx, it.scene.member, by=Actor(), why={"because": "password"}, kept=kept, now=it.issuer.clock()
    )


async def _consent_taken_back(tx: Tx, it: Delegation) -> None:
    await consent_store.revoke_grants(tx, it.scene.member, it.client.client_id, None, it.issuer.clock())


async def _left(tx: Tx, it: Delegation) -> None:
    await remove_collaborator(tx, it.scene.cabinet, it.scene.member, now=it.issuer.clock())


CAUSES: dict[str, Cause] = {
    "the client lost a scope": lambda tx, it: _described(tx, it, scope="openid declaration.read"),
    "the client lost an audience": lambda tx, it: _described(tx, it, resources=(it.issuer.adherent,)),
    "the client was disabled": lambda tx, it: disable_client(tx, it.client.client_id, now=it.issuer.clock()),
    "the session ended": _session_ended,
    "every other session ended": _other_sessions_ended,
    "every access token ended": lambda tx, it: end_access_tokens(tx, it.scene.member, now=it.issuer.clock()),
    "the person was suspended": lambda tx, it: suspend(
        tx, it.scene.member, by=Actor(), reason="vol", now=it.issuer.clock()
    ),
    "the person left the cabinet": _left,
    "the consent was taken back": _consent_taken_back,
    "the scope was withdrawn, and no floor raised": lambda tx, it: tx.execute(
        'UPDATE client SET metadata = metadata || \'{"scope": "declaration.read"}\' WHERE client_id = $1',
        it.client.client_id,
    ),
    "a floor of the client": lambda tx, it: _floor(tx, it, "client", it.client.client_id),
    "a floor of the person": lambda tx, it: _floor(tx, it, "actor", public_id("per", it.scene.member)),
    "a floor of the session": lambda tx, it: _floor(tx, it, "sid", claims_of(it.actor or "")["sid"]),
}


@pytest.mark.parametrize("cause", [*CAUSES, "the token was revoked", "its time was up"])
async def test_what_introspection_calls_inactive_opens_nothing(
    issuer: Issuer, identity_db: Database, cause: str
) -> None:
    scene = await a_scene(identity_db, issuer.clock(), caisse=issuer.caisse)
    mandate = await an_active_mandate(identity_db, scene, issuer.clock())
    it = await by_a_person(identity_db, issuer, scene, mandate)
    token = it.actor or ""
    service = await issuer.client(
        grant_types=(CLIENT_CREDENTIALS,), response_types=(), redirect_uris=(), introspects=(issuer.url,)
    )

    async def answers() -> tuple[bool, int, int]:
        told = await service.post("/introspect", {"token": token})
        about, exchanged = await it.client.userinfo(token), await it.exchange()
        return told.json()["active"], about.status_code, exchanged.status_code

    assert await answers() == (True, 200, 200)
    if cause == "the token was revoked":
        await it.client.post("/revoke", {"token": token})
    elif cause == "its time was up":
        issuer.clock.forward(minutes=11)
    else:
        async with identity_db.transaction(issuer.caisse) as tx:
            await CAUSES[cause](tx, it)

    proven = 401 if cause == "the client was disabled" else 400
    assert await answers() == (False, 401, proven)
