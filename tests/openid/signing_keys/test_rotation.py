"""Keys: published before they sign, verifying after; sealed at rest; rotated while tokens are checked."""

import asyncio
from datetime import timedelta

import httpx
import msgspec
import pytest

from libs.common.access.issuer_keys import JWKS_LIMIT, IssuerKeys
from libs.common.access.signatures import SIGNING_ALGORITHMS, SigningKey, thumbprint
from libs.common.keys.key_encryption import KeyEncryption, SealBroken
from services.identity.signing_keys import store
from services.identity.signing_keys.rotation import (
    MOST_VERIFYING,
    SIGNS_FOR,
    VERIFIES_FOR,
    RotatedTooOften,
    rotate,
    sweep_keys,
)
from services.identity.signing_keys.sealing import PURPOSE, context
from tests.openid.party import Issuer, header_of
from tests.openid.signing_keys.commanded import commanded


async def states(issuer: Issuer, algorithm: str = "ES256") -> dict[str, str]:
    async with issuer.db.transaction(issuer.caisse) as tx:
        return {key.kid: key.state for key in await store.published(tx) if key.algorithm == algorithm}


async def test_a_rotation_makes_the_published_successor_sign(issuer: Issuer, keys: KeyEncryption) -> None:
    before = await states(issuer)
    (successor,) = [kid for kid, state in before.items() if state == "prepublished"]
    (signer,) = [kid for kid, state in before.items() if state == "active"]
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert await rotate(tx, keys, "ES256", issuer.clock()) == successor
    after = await states(issuer)
    assert (after[successor], after[signer]) == ("active", "verify_only")
    assert list(after.values()).count("prepublished") == 1


async def published(issuer: Issuer) -> list[dict[str, str]]:
    async with issuer.http() as http:
        return (await http.get(f"/{issuer.caisse}/jwks")).json()["keys"]


async def test_two_rotations_at_once_are_one(issuer: Issuer, keys: KeyEncryption) -> None:
    await published(issuer)

    async def once() -> str | None:
        async with issuer.db.transaction(issuer.caisse) as tx:
            return await rotate(tx, keys, "PS256", issuer.clock())

    await asyncio.gather(once(), once(), return_exceptions=True)
    found = list((await states(issuer, "PS256")).values())
    assert found.count("active") == 1 and found.count("prepublished") == 1


async def test_a_set_of_keys_never_outgrows_what_a_service_reads(issuer: Issuer, keys: KeyEncryption) -> None:
    """A program that rotates without end would shut the caisse's services out for an hour."""
    # Those of the other algorithms are as many, and as large, at most.
    sizes = [len(msgspec.json.encode(SigningKey.generate(alg).published_jwk())) for alg in SIGNING_ALGORITHMS]
    assert sum(sizes) * (MOST_VERIFYING + 2) < JWKS_LIMIT

    already = list((await states(issuer)).values()).count("verify_only")
    async with issuer.db.transaction(issuer.caisse) as tx:
        for _ in range(MOST_VERIFYING - already):
            await rotate(tx, keys, "ES256", issuer.clock())
    before = await states(issuer)
    with pytest.raises(RotatedTooOften):
        async with issuer.db.transaction(issuer.caisse) as tx:
            await rotate(tx, keys, "ES256", issuer.clock())

    told = await commanded(issuer.settings, "rotate", issuer.caisse, "--algorithm", "ES256")
    assert told.returncode == 1 and "ES256" in told.stderr and "heure" in told.stderr
    assert await states(issuer) == before, "the signer stayed"
    later = issuer.clock() + VERIFIES_FOR + timedelta(seconds=1)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await store.archive(tx, retired_before=later - VERIFIES_FOR, now=later)
        assert await rotate(tx, keys, "ES256", later)


async def test_the_sweep_rotates_monthly_and_archives_what_nothing_needs(
    issuer: Issuer, keys: KeyEncryption
) -> None:
    (signer,) = [kid for kid, state in (await states(issuer, "EdDSA")).items() if state == "active"]
    now = issuer.clock()
    async with issuer.db.transaction(issuer.caisse) as tx:
        assert "EdDSA" not in await sweep_keys(tx, keys, now + SIGNS_FOR - timedelta(hours=1))
        assert "EdDSA" in await sweep_keys(tx, keys, now + SIGNS_FOR + timedelta(hours=1))
    assert (await states(issuer, "EdDSA"))[signer] == "verify_only"
    async with issuer.db.transaction(issuer.caisse) as tx:
        await sweep_keys(tx, keys, now + SIGNS_FOR + timedelta(hours=2) + VERIFIES_FOR)
        row = await tx.fetchrow("SELECT state, private_key_encrypted FROM signing_key WHERE kid = $1", signer)
    assert row is not None and tuple(row) == ("archived", None)


async def test_a_kid_is_its_thumbprint(issuer: Issuer) -> None:
    found = await published(issuer)
    assert all(key["kid"] == thumbprint(key) and "d" not in key and key["use"] == "sig" for key in found)
    assert {key["alg"] for key in found} == {"ES256", "EdDSA", "PS256", "RS256"}


async def test_a_sealed_key_moved_to_another_caisse_does_not_open(
    issuer: Issuer, keys: KeyEncryption
) -> None:
    key = SigningKey.generate("ES256")
    sealed = keys.seal(PURPOSE, key.pem().encode(), context=context(issuer.caisse, key.kid))
    with pytest.raises(SealBroken):
        keys.open(PURPOSE, sealed, context=b"grand-ouest/" + key.kid.encode())


async def test_rotation_under_load_fails_no_validation(issuer: Issuer, keys: KeyEncryption) -> None:
    """Tokens are issued and verified by an API's own cache while the keys turn: none is refused."""
    who = await (await issuer.person()).sign_in()
    client = await issuer.client()
    refresh = (await client.tokens(who))["refresh_token"]
    source = IssuerKeys(httpx.AsyncClient(transport=issuer.transport), issuer.settings.identity.base)
    over = asyncio.Event()
    seen: set[str] = set()

    async def turn() -> None:
        for _ in range(3):
            await asyncio.sleep(1.2)
            async with issuer.db.transaction(issuer.caisse) as tx:
                await rotate(tx, keys, "ES256", issuer.clock())
        await asyncio.sleep(1.2)
        over.set()

    async def use() -> int:
        failures = 0
        while not over.is_set():
            token = (await client.refresh(refresh)).json()["access_token"]
            kid = header_of(token)["kid"]
            seen.add(kid)
            failures += await source.find(issuer.caisse, kid) is None
        return failures

    _, *failures = await asyncio.gather(turn(), use(), use())
    assert failures == [0, 0] and len(seen) >= 3
