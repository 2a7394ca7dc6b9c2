"""Delegations for programs: who is told what, and that nobody else revokes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest

from libs.common.access.service_client import DpopAuth
from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id, public_id
from services.identity.app import create_app
from services.identity.delegation import store
from tests.access.test_issuer_keys import JwksServer
from tests.access.tokens import IssuerAtHand
from tests.conftest import HeldClock
from tests.identity.cabinets.software import a_machine
from tests.identity.delegation.parties import (
    HERE,
    Scene,
    a_person,
    a_scene,
    an_account,
    an_active_mandate,
    an_offer,
)

BASE = "https://id.example.test"


class Api:
    """Identity's API, and an issuer whose tokens it believes."""

    def __init__(self, transport: httpx.ASGITransport, issuer: IssuerAtHand, clock: HeldClock) -> None:
        self._transport = transport
        self._issuer = issuer
        self._clock = clock

    async def ask(self, method: str, path: str, **claims: Any) -> httpx.Response:
        now = int(self._clock().timestamp())
        known: dict[str, Any] = {
            "aud": f"{BASE}/{HERE}",
            "scope": "openid",
            "iat": now,
            "exp": now + 300,
            "auth_time": now,
        }
        token = self._issuer.sign(self._issuer.own_claims(**known | claims))
        auth = DpopAuth(self._issuer.holder, token)
        async with httpx.AsyncClient(transport=self._transport, base_url=BASE, auth=auth) as client:
            return await client.request(method, f"/{HERE}{path}")


def own(scene: Scene, **claims: Any) -> dict[str, Any]:
    """Claims of the firm's administrator, signed in for its firm."""
    firm = public_id("adh", scene.adherent_id)
    return {"sub": public_id("per", scene.administrator), "adherent": firm, **claims}


def colleague(scene: Scene, **claims: Any) -> dict[str, Any]:
    """Claims of the cabinet's member, with two factors."""
    return {"sub": public_id("per", scene.member), "adherent": ..., "acr": "mfa", **claims}


@pytest.fixture
async def api(settings: Settings, clock: HeldClock) -> AsyncIterator[Api]:
    issuer, jwks = IssuerAtHand(), JwksServer()
    jwks.keys = [issuer.key.published_jwk()]
    outside = httpx.AsyncClient(transport=httpx.ASGITransport(jwks))
    app = create_app(settings, clock=clock, http=outside)
    ready, stop = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        async with app.lifespan():
            ready.set()
            await stop.wait()

    serving = asyncio.create_task(serve())
    await ready.wait()
    yield Api(httpx.ASGITransport(cast(Any, app)), issuer, clock)
    stop.set()
    await serving
    await outside.aclose()


async def test_me_names_the_firms_and_the_cabinets(api: Api, identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock())
    firm = (await api.ask("GET", "/api/me", **own(scene))).json()
    cabinet = (await api.ask("GET", "/api/me", **colleague(scene))).json()

    assert firm["adherent"] == firm["accounts"][0]["adherent_id"] == public_id("adh", scene.adherent_id)
    assert firm["accounts"][0]["is_administrator"] is True
    assert firm["cabinets"] == []
    assert cabinet["accounts"] == []
    assert [(one["cabinet_id"], one["role"]) for one in cabinet["cabinets"]] == [
        (public_id("cab", scene.cabinet_id), "member")
    ]


async def test_the_firm_lists_its_delegations_and_nobody_elses(
    api: Api, identity_db: Database, clock: HeldClock
) -> None:
    scene, stranger = await a_scene(identity_db, clock()), await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    path = f"/api/adherents/{public_id('adh', scene.adherent_id)}/delegations"
    told = (await api.ask("GET", path, **own(scene))).json()["delegations"]

    assert [(one["id"], one["state"], one["cabinet_name"]) for one in told] == [
        (public_id("mdt", mandate.id), "active", "Cabinet Ferrand")
    ]
    assert (await api.ask("GET", path, **own(stranger))).status_code == 404
    assert (
        await api.ask("GET", path, **own(scene, adherent=public_id("adh", stranger.adherent_id)))
    ).status_code == 404


async def test_the_portfolio_holds_what_an_exchange_would_grant(
    api: Api, identity_db: Database, clock: HeldClock
) -> None:
    scene, stranger = await a_scene(identity_db, clock()), await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    waiting = await an_offer(identity_db, scene, clock(), "leave")
    path = f"/api/cabinets/{public_id('cab', scene.cabinet_id)}/portfolio"
    told = (await api.ask("GET", path, **colleague(scene))).json()["clients"]

    assert [(one["id"], one["state"]) for one in told] == [
        (public_id("mdt", waiting.id), "offered"),
        (public_id("mdt", mandate.id), "active"),
    ]
    assert set(told[1]["scopes"]) == set(mandate.scopes)
    assert (await api.ask("GET", path, **colleague(stranger))).status_code == 404
    weak = await api.ask("GET", path, **colleague(scene, acr="two_step"))
    assert weak.status_code == 401
    assert "insufficient_user_authentication" in weak.headers["www-authenticate"]


async def test_a_firms_software_revokes_with_its_right_and_a_fresh_step(
    api: Api, identity_db: Database, clock: HeldClock
) -> None:
    scene, stranger = await a_scene(identity_db, clock()), await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    path = f"/api/mandates/{public_id('mdt', mandate.id)}"
    right = {"scope": "openid mandate.manage", "acr": "two_step"}
    assert (await api.ask("DELETE", path, **own(scene, acr="two_step"))).status_code == 403
    assert (await api.ask("DELETE", path, **own(scene, **right, auth_time=1))).status_code == 401
    assert (await api.ask("DELETE", path, **own(stranger, **right))).status_code == 404
    unknown = f"/api/mandates/{public_id('mdt', new_id())}"
    assert (await api.ask("DELETE", unknown, **own(scene, **right))).status_code == 404

    for _ in range(2):
        done = await api.ask("DELETE", path, **own(scene, **right))
        assert (done.status_code, done.json()["state"], done.json()["version"]) == (200, "revoked", 3)
    async with identity_db.transaction(HERE) as tx:
        found = await store.find(tx, mandate.id)
    assert found is not None and found.state == "revoked"


async def test_revoked_is_revoked_whichever_administrator_asks(
    api: Api, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    async with identity_db.transaction(HERE) as tx:
        other = await a_person(tx, "Nadia Benali", clock())
        await an_account(tx, other, scene.adherent_id, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    path = f"/api/mandates/{public_id('mdt', mandate.id)}"
    right = {"scope": "openid mandate.manage", "acr": "two_step"}
    for asking in (scene, scene._replace(administrator=other)):
        done = await api.ask("DELETE", path, **own(asking, **right))
        assert (done.status_code, done.json()["state"], done.json()["version"]) == (200, "revoked", 3)


async def test_the_firm_is_told_the_name_of_its_cabinets_software_and_of_no_other(
    api: Api, identity_db: Database, clock: HeldClock
) -> None:
    scene, stranger = await a_scene(identity_db, clock()), await a_scene(identity_db, clock())
    await an_active_mandate(identity_db, scene, clock(), machine=True)
    mine, other = [
        public_id("mch", (await a_machine(identity_db, one, clock())).id) for one in (scene, stranger)
    ]
    path = f"/api/adherents/{public_id('adh', scene.adherent_id)}/names?ids={mine},{other},mch_x"

    assert (await api.ask("GET", path, **own(scene))).json() == {"names": {mine: "Paie & Co"}}
    assert (await api.ask("GET", path, **own(stranger))).status_code == 404


async def test_case_33_a_delegated_token_manages_no_mandate(
    api: Api, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    delegated = {
        "sub": public_id("adh", scene.adherent_id),
        "adherent": ...,
        "acr": "mfa",
        "scope": "mandate.manage",
        "act": {"sub": public_id("per", scene.member), "org": public_id("cab", scene.cabinet_id)},
        "authorization_details": [
            {
                "type": "mandate",
                "mandate": public_id("mdt", mandate.id),
                "ver": mandate.version,
                "family": "contributions",
                "role": "principal",
                "establishments": ["*"],
                "not_after": int(clock().timestamp()) + 86_400,
            }
        ],
    }
    answer = await api.ask("DELETE", f"/api/mandates/{public_id('mdt', mandate.id)}", **delegated)

    # 403 where the revocations are known, 503 where this lone service cannot know them: never done.
    assert answer.status_code in (403, 503)
    async with identity_db.transaction(HERE) as tx:
        found = await store.find(tx, mandate.id)
    assert found is not None and found.state == "active"
