"""A signing key leaked: whatever its state, nobody here believes it any more, and it stays dead."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import NotFound
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.signing_keys import key_ring, store
from services.identity.signing_keys.revocation import Revocation, revoke_key
from services.identity.signing_keys.rotation import (
    SIGNS_FOR,
    VERIFIES_FOR,
    create_keys,
    publish,
    rotate,
    sweep_keys,
)
from services.identity.signing_keys.sealing import open_key
from tests.bus.conftest import linked, relaying, until
from tests.identity import killed
from tests.identity.killed import killed_everywhere
from tests.openid.oidc_logout.test_rp_initiated_logout import OUT, leave
from tests.openid.party import Issuer, add_row_of_caisse, callback, claims_of, header_of
from tests.openid.token_exchange.delegations import delegated

STATES = ("prepublished", "active", "verify_only", "archived")
ELSEWHERE = CaisseSlug("grand-ouest")


async def rows(db: Database, caisse: CaisseSlug, algorithm: str = "ES256") -> dict[str, str]:
    async with db.transaction(caisse) as tx:
        return {key.kid: key.state for key in await store.published(tx) if key.algorithm == algorithm}


async def opened(issuer: Issuer, keys: KeyEncryption, state: str) -> SigningKey:
    """The private half of the newest ES256 key in that state, as whoever stole it has it."""
    async with issuer.db.transaction(issuer.caisse) as tx:
        found = await store.published(tx)
    row = next(key for key in found if (key.algorithm, key.state) == ("ES256", state))
    return open_key(keys, issuer.caisse, row)


async def stolen(issuer: Issuer, keys: KeyEncryption, state: str) -> SigningKey:
    """A key of the caisse that is now in `state`."""
    if state in ("prepublished", "active"):
        return await opened(issuer, keys, state)
    key, now = await opened(issuer, keys, "active"), issuer.clock()
    async with issuer.db.transaction(issuer.caisse) as tx:
        await rotate(tx, keys, "ES256", now)
        if state == "archived":
            await store.archive(tx, retired_before=now + timedelta(seconds=1), now=now)
    return key


async def revoked(
    issuer: Issuer, keys: KeyEncryption, kid: str, *, caisse: CaisseSlug | None = None, reason: str = "leaked"
) -> Revocation:
    made = SigningKey.generate("ES256")
    async with issuer.db.transaction(caisse or issuer.caisse) as tx:
        return await revoke_key(tx, keys, kid, issuer.clock(), made=made, by="operator", reason=reason)


def forged(key: SigningKey, model: str) -> str:
    """What `model` says, signed by whoever holds the key."""
    return sign_compact(key, {"typ": header_of(model)["typ"], "kid": key.kid}, claims_of(model))


async def jwks(issuer: Issuer) -> set[str]:
    async with issuer.http() as http:
        return {key["kid"] for key in (await http.get(f"/{issuer.caisse}/jwks")).json()["keys"]}


@pytest.mark.parametrize("state", STATES)
async def test_whatever_its_state_it_goes_and_another_stands_in_its_place(
    issuer: Issuer, keys: KeyEncryption, state: str
) -> None:
    key = await stolen(issuer, keys, state)
    before = await rows(issuer.db, issuer.caisse)
    done = await revoked(issuer, keys, key.kid)
    after = await rows(issuer.db, issuer.caisse)
    async with issuer.db.transaction(issuer.caisse) as tx:
        row = await tx.fetchrow(
            "SELECT state, private_key_encrypted, retired_at, revoked_at IS NULL FROM signing_key WHERE kid = $1",
            key.kid,
        )

    assert row is not None and tuple(row) == ("archived", None, None, False)
    assert (done.kid, done.was, done.algorithm) == (key.kid, state, "ES256")
    assert key.kid not in after and sorted(after.values()).count("active") == 1
    assert list(after.values()).count("prepublished") == 1
    assert after[done.signer or ""] == "active"
    if state == "active":
        assert before[done.signer or ""] == "prepublished", "the next signer had been published"
    else:
        assert before[done.signer or ""] == "active", "the signer goes on"

    async def is_gone() -> bool:
        return key.kid not in await jwks(issuer)

    await until(is_gone)
    assert set(after) <= await jwks(issuer)


async def by_introspection(issuer: Issuer, db: Database, key: SigningKey) -> Callable[[], Awaitable[bool]]:
    client, who = await issuer.client(), await (await issuer.person()).sign_in()
    token = forged(key, (await client.tokens(who))["access_token"])

    async def ask() -> bool:
        return (await client.post("/introspect", {"token": token})).json()["active"]

    return ask


async def by_userinfo(issuer: Issuer, db: Database, key: SigningKey) -> Callable[[], Awaitable[bool]]:
    client, who = await issuer.client(), await (await issuer.person()).sign_in()
    token = forged(key, (await client.tokens(who))["access_token"])

    async def ask() -> bool:
        return (await client.userinfo(token)).status_code == 200

    return ask


async def by_exchange(issuer: Issuer, db: Database, key: SigningKey) -> Callable[[], Awaitable[bool]]:
    delegation = await delegated(db, issuer, "person")
    delegation.actor = forged(key, delegation.actor or "")

    async def ask() -> bool:
        return (await delegation.exchange()).status_code == 200

    return ask


async def by_revocation(issuer: Issuer, db: Database, key: SigningKey) -> Callable[[], Awaitable[bool]]:
    """RFC 7009: a token that nobody believes takes nothing back."""
    client = await issuer.client()

    async def ask() -> bool:
        who = await (await issuer.person()).sign_in()
        genuine = (await client.tokens(who))["access_token"]
        await client.post("/revoke", {"token": forged(key, genuine)})
        return not (await client.post("/introspect", {"token": genuine})).json()["active"]

    return ask


async def by_hint(issuer: Issuer, db: Database, key: SigningKey) -> Callable[[], Awaitable[bool]]:
    client, who = await issuer.plain_client(), await (await issuer.person()).sign_in()
    hint = forged(key, (await client.tokens(who))["id_token"])

    async def ask() -> bool:
        answer = await client.authorize(who, id_token_hint=hint, prompt="none")
        return "code" in callback(answer) if answer.status_code == 303 else False

    return ask


async def by_signed_logout(issuer: Issuer, db: Database, key: SigningKey) -> Callable[[], Awaitable[bool]]:
    """A good hint signs out at once; none has the person asked."""
    client = await issuer.plain_client()

    async def ask() -> bool:
        who = await (await issuer.person()).sign_in()
        hint = forged(key, (await client.tokens(who))["id_token"])
        answer = await leave(who, id_token_hint=hint, post_logout_redirect_uri=OUT)
        assert answer.status_code == 303 or 'id="confirm"' in answer.text
        return answer.status_code == 303

    return ask


BELIEVERS: dict[str, Any] = {
    "introspection": by_introspection,
    "userinfo": by_userinfo,
    "exchange": by_exchange,
    "revocation": by_revocation,
    "hint": by_hint,
    "logout": by_signed_logout,
}
BELIEVE_THE_ARCHIVED = {"hint", "logout"}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("believer", BELIEVERS)
async def test_nobody_here_believes_it(
    issuer: Issuer, identity_db: Database, keys: KeyEncryption, believer: str, state: str
) -> None:
    key = await stolen(issuer, keys, state)

    async def is_heard_of() -> bool:
        return (key.kid in await jwks(issuer)) is (state != "archived")

    await until(is_heard_of)
    ask = await BELIEVERS[believer](issuer, identity_db, key)
    if state == "archived" and believer not in BELIEVE_THE_ARCHIVED:
        assert not await ask()
    else:
        # Twice: the second is answered from the JWTs verified before.
        assert await ask() and await ask(), "the forgery is good until then"
    await revoked(issuer, keys, key.kid)

    async def is_refused() -> bool:
        return not await ask()

    await until(is_refused)
    assert not await ask()


async def test_what_the_others_signed_is_believed_throughout(issuer: Issuer, keys: KeyEncryption) -> None:
    client, who = await issuer.client(), await (await issuer.person()).sign_in()
    tokens = await client.tokens(who)
    other = await opened(issuer, keys, "prepublished")
    by_the_other = forged(other, tokens["access_token"])
    assert (await client.userinfo(by_the_other)).status_code == 200
    leaked = (await opened(issuer, keys, "active")).kid
    await revoked(issuer, keys, leaked)

    async def signs() -> bool:
        assert (await client.userinfo(by_the_other)).status_code == 200
        refreshed = await client.refresh(tokens["refresh_token"])
        assert refreshed.status_code == 200, "sessions and grants hang on no key"
        return header_of(refreshed.json()["access_token"])["kid"] == other.kid

    await until(signs)


async def test_an_instance_that_hears_of_it_asks_its_database_at_once(
    issuer: Issuer,
    keys: KeyEncryption,
    settings: Settings,
    identity_relay: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it would sign for half a second what the services refuse already."""
    monkeypatch.setattr(key_ring, "FRESH_FOR", 3600.0)
    key = await stolen(issuer, keys, "active")

    async def is_published() -> bool:
        return key.kid in await jwks(issuer)

    async def is_gone() -> bool:
        return not await is_published()

    await until(is_published)
    async with linked(settings, "identity") as ours, relaying(ours, identity_relay):
        await revoked(issuer, keys, key.kid)
        await until(is_gone)


async def test_twice_is_once_and_said_twice(issuer: Issuer, keys: KeyEncryption) -> None:
    key = await stolen(issuer, keys, "active")
    first = await revoked(issuer, keys, key.kid, reason="found in a public repository")
    standing = await rows(issuer.db, issuer.caisse)
    second = await revoked(issuer, keys, key.kid, reason="again")
    async with issuer.db.transaction(issuer.caisse) as tx:
        told = await tx.fetch(
            "SELECT details->>'reason', details->>'by', details->>'was' FROM journal"
            " WHERE action = 'signing_key.revoked' AND subject_id = $1",
            key.kid,
        )
        said = await tx.fetchval(
            "SELECT count(*) FROM outbox WHERE subject LIKE '%.authz.signing_key_revoked.v1'"
            " AND convert_from(body, 'UTF8')::jsonb ->> 'kid' = $1",
            key.kid,
        )

    assert [tuple(line) for line in told] == [("found in a public repository", "operator", "active")]
    assert said == 2, "whoever had not heard it may hear it now"
    assert (second.was, second.revoked_at, second.signer) == ("revoked", first.revoked_at, first.signer)
    assert await rows(issuer.db, issuer.caisse) == standing


async def test_another_caisse_s_key_is_unknown_here_and_stands_there(
    issuer: Issuer, keys: KeyEncryption
) -> None:
    await add_row_of_caisse(issuer.db, ELSEWHERE, issuer.clock())
    async with issuer.db.transaction(ELSEWHERE) as tx:
        await create_keys(tx, keys, issuer.clock())
    theirs = await rows(issuer.db, ELSEWHERE)
    ours = await rows(issuer.db, issuer.caisse)
    for kid in (*theirs, "no-such-key"):
        with pytest.raises(NotFound):
            await revoked(issuer, keys, kid)
    assert (await rows(issuer.db, ELSEWHERE), await rows(issuer.db, issuer.caisse)) == (theirs, ours)


@pytest.mark.parametrize("state", ["prepublished", "active"])
async def test_revoked_while_it_turns_there_is_one_signer_and_one_to_follow(
    issuer: Issuer, keys: KeyEncryption, state: str
) -> None:
    async def turn() -> None:
        async with issuer.db.transaction(issuer.caisse) as tx:
            await rotate(tx, keys, "ES256", issuer.clock())

    for _ in range(8):
        key = await opened(issuer, keys, state)
        await asyncio.gather(turn(), revoked(issuer, keys, key.kid), revoked(issuer, keys, key.kid), turn())
        found = await rows(issuer.db, issuer.caisse)
        assert key.kid not in found
        assert sorted(one for one in found.values() if one != "verify_only") == ["active", "prepublished"]


async def test_the_successor_of_two_leaked_keys_is_a_third(issuer: Issuer, keys: KeyEncryption) -> None:
    first, second = await opened(issuer, keys, "active"), await opened(issuer, keys, "prepublished")
    await asyncio.gather(revoked(issuer, keys, first.kid), revoked(issuer, keys, second.kid))
    found = await rows(issuer.db, issuer.caisse)
    assert not {first.kid, second.kid} & found.keys()
    assert sorted(one for one in found.values() if one != "verify_only") == ["active", "prepublished"]


async def test_it_never_comes_back(issuer: Issuer, keys: KeyEncryption) -> None:
    key = await stolen(issuer, keys, "active")
    await revoked(issuer, keys, key.kid)
    now = issuer.clock()
    async with issuer.db.transaction(issuer.caisse) as tx:
        for state in ("active", "prepublished"):
            await publish(tx, keys, key, state, now)
        await rotate(tx, keys, "ES256", now)
        await create_keys(tx, keys, now)
        await sweep_keys(tx, keys, now + SIGNS_FOR + VERIFIES_FOR)
    assert key.kid not in await rows(issuer.db, issuer.caisse)
    for state in ("active", "prepublished", "verify_only"):
        with pytest.raises(asyncpg.CheckViolationError):
            async with issuer.db.transaction(issuer.caisse) as tx:
                await tx.execute(
                    "UPDATE signing_key SET state = $2, private_key_encrypted = 'x' WHERE kid = $1",
                    key.kid,
                    state,
                )


@pytest.mark.parametrize("state", STATES)
async def test_killed_at_each_statement_it_is_whole_or_not_begun(
    issuer: Issuer, identity_db: Database, keys: KeyEncryption, state: str
) -> None:
    async def scene() -> killed.Scene:
        key = await stolen(issuer, keys, state)
        made = SigningKey.generate("ES256")

        async def act(db: Database) -> Revocation:
            async with db.transaction(issuer.caisse) as tx:
                return await revoke_key(
                    tx, keys, key.kid, issuer.clock(), made=made, by="operator", reason="leaked"
                )

        return killed.Scene(issuer.caisse, act)

    places = await killed_everywhere(identity_db, scene, ("signing_key", "journal", "outbox"))
    assert places >= 6
