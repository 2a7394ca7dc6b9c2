"""A key is revoked while its tokens are being checked: from the services' word on none passes, and no other fails.

Identity, adherent and documents run as they are served.
"""

import asyncio
import json
import time

import httpx

from libs.common.access.service_client import DpopAuth
from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.identifiers import new_id, public_id
from services.identity.signing_keys import store
from services.identity.signing_keys.sealing import open_key
from tests.access.tokens import IssuerAtHand
from tests.bus.conftest import until
from tests.identity.delegation.parties import HERE
from tests.identity.delegation.platform import Platform, platform
from tests.openid.signing_keys.commanded import commanded

__all__ = ["platform"]

TOKENS = 100
AT_ONCE = 4


class Shown:
    """One token, shown to one service as often as wanted."""

    def __init__(self, platform: Platform, service: str, key: SigningKey) -> None:
        self._holder, base = IssuerAtHand(), platform.settings.service(service).base
        self._holder.key = key
        adherent = public_id("adh", new_id())
        claims = self._holder.own_claims(
            iss=f"{platform.settings.identity.base}/{HERE}", aud=f"{base}/{HERE}", caisse=HERE, adherent=adherent,
            scope="openid declaration.read attestation.read standing.read",
        )  # fmt: skip
        self._auth = DpopAuth(self._holder.holder, self._holder.sign(claims))
        self._path = f"/{HERE}/api/me" if service == "identity" else f"/{HERE}/adherents/{adherent}/acts"

    async def is_believed(self, http: httpx.AsyncClient) -> bool:
        answer = await http.get(self._path, auth=self._auth)
        assert answer.status_code < 500, answer.text
        return answer.status_code != 401


async def key_of(platform: Platform, db: Database, keys: KeyEncryption, state: str) -> SigningKey:
    async with db.transaction(HERE) as tx:
        found = await store.published(tx)
    row = next(key for key in found if (key.algorithm, key.state) == ("ES256", state))
    return open_key(keys, HERE, row)


async def test_of_a_hundred_tokens_none_passes_after_the_promise_and_no_other_fails(
    platform: Platform, identity_db: Database, keys: KeyEncryption
) -> None:
    leaked = await key_of(platform, identity_db, keys, "active")
    other = await key_of(platform, identity_db, keys, "prepublished")
    services = {"adherent": platform.adherent, "documents": platform.documents, "identity": platform.identity}
    over = asyncio.Event()
    passed: dict[str, float] = {}
    checks = {"leaked": 0, "other": 0}

    async def show(name: str, http: httpx.AsyncClient, shown: list[Shown]) -> None:
        while not over.is_set():
            for one in shown:
                began = time.monotonic()
                checks["leaked"] += 1
                if await one.is_believed(http):
                    passed[name] = max(began, passed.get(name, 0.0))

    async def others(http: httpx.AsyncClient, shown: list[Shown]) -> None:
        while not over.is_set():
            for one in shown:
                checks["other"] += 1
                assert await one.is_believed(http), "a token of another key was refused"

    clients = {name: serving.http() for name, serving in services.items()}
    shown = {name: [Shown(platform, name, leaked) for _ in range(TOKENS // 3 + 1)] for name in services}
    standing = {name: [Shown(platform, name, other) for _ in range(10)] for name in services}
    async with asyncio.TaskGroup() as group:
        for name, http in clients.items():
            for part in range(AT_ONCE):
                group.create_task(show(name, http, shown[name][part::AT_ONCE]))
            group.create_task(others(http, standing[name]))

        async def all_believe() -> bool:
            return passed.keys() == services.keys()

        await until(all_believe)
        told = await commanded(platform.settings, "revoke", HERE, leaked.kid, "--json", "--yes")
        acknowledged = time.monotonic()
        assert told.returncode == 0, told.stderr
        seen = checks.copy()

        async def all_were_asked_again() -> bool:
            return checks["leaked"] > seen["leaked"] + TOKENS and checks["other"] > seen["other"] + 30

        await until(all_were_asked_again)
        over.set()
    for http in clients.values():
        await http.aclose()

    assert json.loads(told.stdout)["silent"] == []
    assert {name for name, last in passed.items() if last > acknowledged} == set()
