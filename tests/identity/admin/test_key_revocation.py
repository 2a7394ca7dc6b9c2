"""`GET /admin/keys/revocations/{kid}`: which services refuse a key that was revoked, asked by a program."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from services.identity.signing_keys import store
from services.identity.signing_keys.revocation import revoke_key
from tests.bus.conftest import linked, relaying, until
from tests.identity.admin.machines import Machine, a_machine
from tests.openid.party import Issuer
from tests.openid.signing_keys.test_revoke_command import listening


async def leaked(issuer: Issuer, keys: KeyEncryption) -> store.RevokedKey:
    """A key of the caisse that nothing is signed with here."""
    async with issuer.db.transaction(issuer.caisse) as tx:
        kid = next(key.kid for key in await store.published(tx) if key.algorithm == "EdDSA")
        made = SigningKey.generate("EdDSA")
        await revoke_key(tx, keys, kid, datetime.now(UTC), made=made, by="operator", reason="leaked")
        return next(key for key in await store.revoked(tx) if key.kid == kid)


async def signer(issuer: Issuer) -> str | None:
    async with issuer.db.transaction(issuer.caisse) as tx:
        return await store.signer(tx, "EdDSA")


async def heard(machine: Machine, kid: str) -> dict[str, Any]:
    answer = await machine.ask("GET", f"/keys/revocations/{kid}")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    return answer.json()


async def test_each_service_that_refuses_it_is_named(
    machine: Machine, issuer: Issuer, keys: KeyEncryption, settings: Settings, identity_relay: Database
) -> None:
    key = await leaked(issuer, keys)
    async with (
        linked(settings, "identity") as ours,
        relaying(ours, identity_relay),
        listening(issuer, settings, identity_relay, "adherent"),
        listening(issuer, settings, identity_relay, "documents"),
    ):

        async def all_answer() -> bool:
            return (await heard(machine, key.kid))["silent"] == []

        await until(all_answer)
        told = await heard(machine, key.kid)

    assert told | {"acknowledged": [], "revoked_at": None} == {
        "kid": key.kid,
        "algorithm": "EdDSA",
        "revoked_at": None,
        "signer": await signer(issuer),
        "acknowledged": [],
        "silent": [],
    }
    assert datetime.fromisoformat(told["revoked_at"]) == key.revoked_at
    assert [one["service"] for one in told["acknowledged"]] == ["adherent", "documents"]


async def test_those_that_say_nothing_are_named(
    machine: Machine, issuer: Issuer, keys: KeyEncryption
) -> None:
    key = await leaked(issuer, keys)
    told = await heard(machine, key.kid)
    assert (told["acknowledged"], told["silent"]) == ([], ["adherent", "documents"])


async def test_many_who_ask_at_once_are_one_question(
    machine: Machine, issuer: Issuer, keys: KeyEncryption, identity_relay: Database
) -> None:
    key = await leaked(issuer, keys)
    before = await said(identity_relay, key.kid)
    answers = await asyncio.gather(*(heard(machine, key.kid) for _ in range(8)))
    assert {tuple(answer["silent"]) for answer in answers} == {("adherent", "documents")}
    assert await said(identity_relay, key.kid) - before < 4


async def said(relay: Database, kid: str) -> int:
    """How often it was told to every service."""
    async with relay.across_caisses() as tx:
        return await tx.fetchval(
            "SELECT count(*) FROM outbox WHERE convert_from(body, 'UTF8')::jsonb ->> 'kid' = $1", kid
        )


async def test_a_key_that_was_not_revoked_an_unknown_one_and_another_caisse_s_are_not_found(
    machine: Machine, issuer: Issuer, elsewhere: Issuer, keys: KeyEncryption
) -> None:
    theirs = await leaked(elsewhere, keys)
    good = next(key["kid"] for key in (await machine.ask("GET", "/keys")).json()["keys"])
    for kid in (good, "no-such-key", theirs.kid):
        assert (await machine.ask("GET", f"/keys/revocations/{kid}")).status_code == 404, kid


async def test_it_takes_the_right_over_keys(issuer: Issuer, keys: KeyEncryption) -> None:
    key = await leaked(issuer, keys)
    other = await a_machine(issuer, "client.manage caisse.read")
    assert (await other.ask("GET", f"/keys/revocations/{key.kid}")).status_code == 403
