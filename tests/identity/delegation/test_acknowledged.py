"""`DELETE …/mandates/{id}?wait=all`: who has applied a revocation, in the caisse's own hand (case 28).

Identity, adherent and documents run as they are served; what dies here is a process.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from libs.common.access.signatures import SigningKey, split_compact, verifying_key
from libs.common.database.pool import Database
from libs.common.runtime.child_process import free_port
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.app import create_app
from services.identity.delegation.mandate import Mandate
from tests.bus.conftest import until
from tests.faults.database_proxy import places_to_die
from tests.identity.delegation.parties import ELSEWHERE, HERE, Scene, a_scene, an_active_mandate, current
from tests.identity.delegation.platform import Platform, platform, revoking
from tests.identity.sign_in.visitors import living

__all__ = ["platform"]


@pytest.fixture
async def scene(identity_db: Database) -> Scene:
    return await a_scene(identity_db, datetime.now(UTC))


@pytest.fixture
async def mandate(identity_db: Database, scene: Scene) -> Mandate:
    return await an_active_mandate(identity_db, scene, datetime.now(UTC))


async def receipt_of(platform: Platform, answer: httpx.Response, caisse: CaisseSlug = HERE) -> dict[str, Any]:
    """The claims of the signed receipt, verified with what the caisse publishes."""
    parts = split_compact(answer.json()["receipt"], limit=8000)
    header = msgspec.json.decode(parts.header)
    async with platform.identity.http() as http:
        told = (await http.get(f"/{caisse}/.well-known/openid-configuration")).json()
        published = (await http.get(told["jwks_uri"])).json()["keys"]
    (key,) = [key for key in published if key["kid"] == header["kid"]]
    assert header["typ"] == "espace-revocation+jwt"
    assert verifying_key(key, key["alg"]).verifies(parts.signature, parts.signed)
    return msgspec.json.decode(parts.payload, type=dict[str, Any])


async def test_every_service_answers_and_the_caisse_signs(
    platform: Platform, scene: Scene, mandate: Mandate
) -> None:
    answer = await platform.revoke(scene, mandate)
    assert answer.status_code == 200, answer.text
    body, receipt = answer.json(), await receipt_of(platform, answer)

    assert (body["state"], body["version"], body["silent"]) == ("revoked", mandate.version + 1, [])
    assert [one["service"] for one in body["acknowledged"]] == ["adherent", "documents"]
    assert receipt["iss"] == f"{platform.settings.identity.base}/{HERE}"
    assert (receipt["mandate"], receipt["ver"], receipt["state"]) == (body["id"], body["version"], "revoked")
    assert (receipt["acknowledged"], receipt["silent"]) == (body["acknowledged"], [])


async def test_each_acknowledgement_is_in_its_service_s_own_hand(
    platform: Platform, scene: Scene, mandate: Mandate
) -> None:
    for one in (await platform.revoke(scene, mandate)).json()["acknowledged"]:
        key = SigningKey.from_pem(platform.settings.service(one["service"]).client_key).verifying()
        parts = split_compact(one["signature"], limit=4000)
        assert key.verifies(parts.signature, parts.signed)
        signed = msgspec.json.decode(parts.payload)
        assert (signed["event_id"], signed["service"]) == (one["event_id"], one["service"])


async def test_asked_twice_nothing_changes_and_everybody_answers_again(
    platform: Platform, scene: Scene, mandate: Mandate
) -> None:
    first, second = [(await platform.revoke(scene, mandate)).json() for _ in range(2)]
    for name in ("id", "state", "version", "at", "silent"):
        assert first[name] == second[name]
    assert [one["service"] for one in second["acknowledged"]] == ["adherent", "documents"]
    assert first["receipt"] != second["receipt"]


async def test_asked_at_once_by_two_everybody_answers_both(
    platform: Platform, scene: Scene, mandate: Mandate
) -> None:
    answers = await asyncio.gather(*(platform.revoke(scene, mandate) for _ in range(2)))
    assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
    assert [answer.json()["silent"] for answer in answers] == [[], []]


async def test_asked_at_once_by_many_every_service_is_asked_once(
    platform: Platform, scene: Scene, mandate: Mandate, identity_relay: Database
) -> None:
    await platform.revoke(scene, mandate)
    before = await floors_of(identity_relay, mandate)
    answers = await asyncio.gather(*(platform.revoke(scene, mandate) for _ in range(12)))
    assert {tuple(answer.json()["silent"]) for answer in answers} == {()}
    assert await floors_of(identity_relay, mandate) - before < 6


async def floors_of(relay: Database, mandate: Mandate) -> int:
    """How often it was said to every service."""
    async with relay.across_caisses() as tx:
        return await tx.fetchval(
            "SELECT count(*) FROM outbox WHERE convert_from(body, 'UTF8')::jsonb ->> 'key' = $1",
            public_id("mdt", mandate.id),
        )


async def test_case_28_a_service_that_is_down_is_named(
    platform: Platform, scene: Scene, mandate: Mandate, identity_db: Database
) -> None:
    await platform.documents.kill()
    try:
        asked = time.monotonic()
        answer = await platform.revoke(scene, mandate)
        waited = time.monotonic() - asked
    finally:
        await platform.documents.start()
    receipt = await receipt_of(platform, answer)

    assert answer.json()["state"] == "revoked" and waited < 5
    assert answer.json()["silent"] == receipt["silent"] == ["documents"]
    assert [one["service"] for one in receipt["acknowledged"]] == ["adherent"]
    assert (await current(identity_db, scene, mandate)).state == "revoked"

    async def all_answer() -> bool:
        return (await platform.revoke(scene, mandate)).json()["silent"] == []

    await until(all_answer)


async def test_with_nats_down_it_is_revoked_all_the_same_and_everybody_is_named(
    platform: Platform, scene: Scene, mandate: Mandate, identity_db: Database
) -> None:
    settings = replace(
        platform.settings, nats=replace(platform.settings.nats, url=f"nats://127.0.0.1:{free_port()}")
    )
    async with platform.identity.http() as to_identity:
        app = create_app(settings, http=to_identity)
        transport = httpx.ASGITransport(cast(Any, app))
        async with (
            living(app),
            httpx.AsyncClient(transport=transport, base_url=settings.identity.base) as http,
        ):
            answer = await revoking(http, settings, platform.signers, scene, mandate)
    receipt = await receipt_of(platform, answer)

    assert (receipt["acknowledged"], receipt["silent"]) == ([], ["adherent", "documents"])
    assert (await current(identity_db, scene, mandate)).state == "revoked"


async def test_killed_while_it_waits_the_revocation_stands_and_asking_again_is_enough(
    platform: Platform, scene: Scene, identity_db: Database
) -> None:
    """Around the commit of the revocation, and of the question that follows it."""
    platform.proxy.arm()
    await platform.revoke(scene, await an_active_mandate(identity_db, scene, datetime.now(UTC)))
    places = [place for place in places_to_die(platform.proxy.writes) if place.nth > 4][-5:]
    for place in places:
        mandate = await an_active_mandate(identity_db, scene, datetime.now(UTC))
        platform.proxy.arm(place)
        await platform.identity.killed_at(
            platform.proxy, place, asyncio.create_task(platform.revoke(scene, mandate))
        )
        await platform.identity.start()
        answer = await platform.revoke(scene, mandate)
        assert (answer.status_code, answer.json()["state"]) == (200, "revoked"), answer.text
        assert (await current(identity_db, scene, mandate)).version == mandate.version + 1


async def test_another_caisse_s_mandate_is_not_there(
    platform: Platform, scene: Scene, mandate: Mandate, identity_db: Database
) -> None:
    now = datetime.now(UTC)
    far = await a_scene(identity_db, now, caisse=ELSEWHERE)
    theirs = await an_active_mandate(identity_db, far, now)

    assert (await platform.revoke(scene, theirs)).status_code == 404
    assert (await platform.revoke(scene, mandate, at=ELSEWHERE)).status_code == 401
    assert (await current(identity_db, far, theirs)).state == "active"
    assert (await current(identity_db, scene, mandate)).state == "active"

    receipt = await receipt_of(platform, await platform.revoke(far, theirs), ELSEWHERE)
    assert (receipt["caisse"], receipt["silent"]) == (ELSEWHERE, [])


async def test_another_wait_is_refused_and_nothing_is_done(
    platform: Platform, scene: Scene, mandate: Mandate, identity_db: Database
) -> None:
    assert (await platform.revoke(scene, mandate, wait="some")).status_code == 400
    assert (await current(identity_db, scene, mandate)).state == "active"
