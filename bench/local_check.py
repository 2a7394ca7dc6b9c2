"""What a service spends to believe an access token, in process: with the cache of verified tokens, and without."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from bench.espace_installation import CAISSE, Installation
from bench.figures import spread
from bench.http_load import ask_once
from bench.oauth_party import Party
from bench.operations import token_exchange
from libs.common.access.access_token import TokenVerifier
from libs.common.access.dpop import dpop_proof, verify_proof
from libs.common.access.revocations import Floors
from libs.common.access.signatures import VerifyingKey, verifying_key
from libs.common.events.identity import FloorRaised
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id, public_id

CHECKS = 2_000
FLOORS = 1_000


class _Published:
    """The caisse's keys, read once from its JWK Set."""

    def __init__(self, jwks: bytes) -> None:
        keys: list[dict[str, str]] = msgspec.json.decode(jwks)["keys"]
        self._keys = {key["kid"]: verifying_key(key, key["alg"], kid=key["kid"]) for key in keys}

    async def find(self, caisse: CaisseSlug, kid: str) -> VerifyingKey | None:
        return self._keys.get(kid)

    def edition(self, caisse: CaisseSlug) -> int:
        return 0


async def local_check(inst: Installation, party: Party, *, rounds: int, quick: bool) -> dict[str, Any]:
    """A delegated token for the adherent service, the largest of ours; a thousand revocations in memory."""
    (exchange,) = await token_exchange(party, 1)
    token = str((await ask_once(party.host, exchange.raw)).json()["access_token"])
    keys = _Published((await ask_once(party.host, party.get("/jwks"))).body)
    issuer, audience = inst.settings.identity.base, inst.settings.adherent.base
    caching = TokenVerifier(keys, issuer_base=issuer, audience_base=audience)
    forgetting = TokenVerifier(keys, issuer_base=issuer, audience_base=audience, capacity=0)
    floors = _some_floors()
    key = party.clients["bound"].dpop
    assert key is not None
    url = f"{inst.settings.adherent.base}/{CAISSE}/adherents/x/standing"
    proof = dpop_proof(key, "GET", url, access_token=token)

    async def cached() -> None:
        floors.judge(await caching.verify(token, CAISSE))

    async def uncached() -> None:
        floors.judge(await forgetting.verify(token, CAISSE))

    async def possession() -> None:
        verify_proof([proof], method="GET", url=url, now=datetime.now(UTC), access_token=token, jkt=key.kid)

    checks = {"cached_us": cached, "uncached_us": uncached, "dpop_proof_us": possession}
    count = CHECKS // 10 if quick else CHECKS
    seen: dict[str, list[float]] = {name: [] for name in checks}
    for _ in range(rounds):
        for name, check in checks.items():
            seen[name].append(await _mean_us(check, count))
    return {"token_characters": len(token), **{name: spread(values, 1) for name, values in seen.items()}}


async def _mean_us(check: Callable[[], Awaitable[None]], count: int) -> float:
    """CPU of this thread, in microseconds a check."""
    await check()
    began = time.thread_time_ns()
    for _ in range(count):
        await check()
    return (time.thread_time_ns() - began) / 1000 / count


def _some_floors() -> Floors:
    floors, now = Floors(), datetime.now(UTC)
    for _ in range(FLOORS):
        gone = FloorRaised(
            event_id=new_id(), at=now, kind="sid", key=public_id("ses", new_id()), not_before=now
        )
        floors.raise_floor(CAISSE, gone)
    floors.caught_up = True
    floors.measured(now, asked=floors.monotonic())
    floors.heartbeat(now)
    return floors
