"""Identity, adherent and documents as they are served, each in processes of its own, and the relay between them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
import pytest
from msgspec.structs import replace

from libs.common.access.service_client import DpopAuth
from libs.common.access.signatures import SigningKey
from libs.common.bus.connection import Bus
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import ServiceSettings, Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.delegation.mandate import Mandate
from services.identity.signing_keys import store as signing_keys
from services.identity.signing_keys.rotation import create_keys
from services.identity.signing_keys.sealing import open_key
from tests.access.tokens import IssuerAtHand
from tests.faults.database_proxy import DatabaseProxy, database_proxy
from tests.faults.serving import Serving, serving
from tests.identity.delegation.parties import ELSEWHERE, HERE, Scene
from tests.openid.party import add_row_of_caisse
from tests.relays import identity_relays


class Platform(NamedTuple):
    """Three services in their own processes, and the key of each caisse."""

    settings: Settings
    proxy: DatabaseProxy
    signers: dict[CaisseSlug, SigningKey]
    identity: Serving
    adherent: Serving
    documents: Serving

    async def revoke(self, scene: Scene, mandate: Mandate, **options: Any) -> httpx.Response:
        """As the firm's administrator, who has just proven itself anew; `at` is the caisse asked."""
        async with self.identity.http() as http:
            return await revoking(http, self.settings, self.signers, scene, mandate, **options)


async def signer_of(db: Database, keys: KeyEncryption, caisse: CaisseSlug) -> SigningKey:
    async with db.transaction(caisse) as tx:
        await create_keys(tx, keys, datetime.now(UTC))
        every = await signing_keys.published(tx)
    return open_key(
        keys, caisse, next(key for key in every if (key.algorithm, key.state) == ("ES256", "active"))
    )


@pytest.fixture(scope="module")
async def platform(
    settings: Settings,
    identity_db: Database,
    identity_relay: Database,
    keys: KeyEncryption,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Platform]:
    def on_loopback(section: ServiceSettings) -> ServiceSettings:
        port = free_port()
        return replace(section, port=port, base=f"http://127.0.0.1:{port}")

    folder = tmp_path_factory.mktemp("served")
    async with AsyncExitStack() as running:
        proxy = await running.enter_async_context(database_proxy(settings.identity.dsn))
        at_home = replace(
            settings,
            identity=on_loopback(replace(settings.identity, dsn=proxy.in_front_of(settings.identity.dsn))),
            adherent=on_loopback(settings.adherent),
            documents=on_loopback(settings.documents),
        )
        signers: dict[CaisseSlug, SigningKey] = {}
        for caisse in (HERE, ELSEWHERE):
            await add_row_of_caisse(identity_db, caisse, datetime.now(UTC))
            signers[caisse] = await signer_of(identity_db, keys, caisse)
        bus, stop = Bus.of(settings, "identity", name="relay"), asyncio.Event()
        bus.start()
        relaying = asyncio.create_task(identity_relays(bus, identity_relay, stop))
        served = [
            await running.enter_async_context(serving(name, at_home, folder))
            for name in ("identity", "adherent", "documents")
        ]
        yield Platform(at_home, proxy, signers, *served)
        stop.set()
        await relaying
        await bus.close()


async def revoking(
    http: httpx.AsyncClient,
    settings: Settings,
    signers: dict[CaisseSlug, SigningKey],
    scene: Scene,
    mandate: Mandate,
    *,
    wait: str = "all",
    at: CaisseSlug | None = None,
) -> httpx.Response:
    holder, url = IssuerAtHand(), f"{settings.identity.base}/{scene.caisse}"
    holder.key = signers[scene.caisse]
    token = holder.sign(
        holder.own_claims(
            iss=url, aud=url, caisse=scene.caisse, sub=public_id("per", scene.administrator),
            adherent=public_id("adh", scene.adherent_id), scope="mandate.manage", acr="mfa",
            auth_time=int(time.time()),
        )
    )  # fmt: skip
    path = f"/{at or scene.caisse}/api/mandates/{public_id('mdt', mandate.id)}?wait={wait}"
    return await http.request("DELETE", path, auth=DpopAuth(holder.holder, token))
