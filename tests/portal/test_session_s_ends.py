"""How a session of the portal ends: by the next sign-in, and by a logout that was heard before it began."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest

from libs.common.access.signatures import SigningKey
from libs.common.runtime.settings import Settings
from services.portal.app import KEYS_BELIEVED, create_app
from tests.portal.conftest import Visitor
from tests.portal.far_side import IDENTITY, FarSide
from tests.portal.test_sign_in import COOKIE


async def test_signing_in_again_ends_the_former_session(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)
    former = visitor.cookies[COOKIE]
    await visitor.sign_in(far_side)

    thief = Visitor(visitor.app, {COOKIE: former})

    assert "Maçonnerie" not in (await thief.get("/mediterranee")).text
    assert "Maçonnerie" in (await visitor.get("/mediterranee")).text


async def test_a_sign_in_that_fails_ends_nothing(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)
    far_side.claims = lambda claims: {**claims, "nonce": "another"}
    await visitor.sign_in(far_side)

    assert "Maçonnerie" in (await visitor.get("/mediterranee")).text


@pytest.mark.parametrize("named", [{}, {"sub": None}, {"sid": None}])
async def test_a_logout_heard_while_the_code_is_redeemed_opens_nothing(
    visitor: Visitor, far_side: FarSide, named: dict[str, Any]
) -> None:
    begun = await visitor.get("/mediterranee/sign-in")
    query = urlencode(far_side.sign_in(begun.headers["location"]))
    # The ID token is of a moment before: `sub` alone names the sessions there were.
    far_side.claims = lambda claims: {**claims, "iat": claims["iat"] - 2}
    told = await visitor.post(
        "/mediterranee/backchannel-logout", {"logout_token": far_side.logout_token(**named)}
    )
    assert told.status_code == 200

    answer = await visitor.get(f"/mediterranee/callback?{query}")

    assert (answer.status_code, "pris fin" in answer.text) == (401, True)
    assert COOKIE not in visitor.cookies


async def test_who_signs_in_again_after_a_logout_is_signed_in(visitor: Visitor, far_side: FarSide) -> None:
    for named in ({}, {"sid": None}):
        heard = far_side.logout_token(iat=int(time.time()) - 5, **named)
        await visitor.post("/mediterranee/backchannel-logout", {"logout_token": heard})
        far_side.claims = lambda claims: {**claims, "sid": "ses_another"}

        await visitor.sign_in(far_side)

        assert "Maçonnerie" in (await visitor.get("/mediterranee")).text


async def test_a_logout_at_the_very_moment_leaves_no_session(visitor: Visitor, far_side: FarSide) -> None:
    """Whichever of the two transactions is first, the other sees it."""
    far_side.claims = lambda claims: {**claims, "sid": sid}
    for turn in range(12):
        sid = f"s_race_{turn}"
        begun = await visitor.get("/mediterranee/sign-in")
        query = urlencode(far_side.sign_in(begun.headers["location"]))
        told = far_side.logout_token(sid=sid)

        await asyncio.gather(
            visitor.get(f"/mediterranee/callback?{query}"),
            Visitor(visitor.app).post("/mediterranee/backchannel-logout", {"logout_token": told}),
        )

        assert "Maçonnerie" not in (await visitor.get("/mediterranee")).text


async def test_the_goodbye_says_of_what_and_offers_to_come_back(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)
    await visitor.press(await visitor.get("/mediterranee"), "/mediterranee/sign-out")

    told = await visitor.get("/mediterranee/signed-out")

    assert "<h1>Vous êtes déconnecté</h1>" in told.text
    assert "Caisse de la Méditerranée" in told.text.partition("<main")[2].partition("</main>")[0]
    assert "ni à votre compte utilisateur" in told.text
    assert 'href="/mediterranee/sign-in" id="enter"' in told.text


async def says_what_may_be_open(visitor: Visitor) -> None:
    left = await visitor.press(await visitor.get("/mediterranee/sign-out"), "/mediterranee/sign-out")
    told = await visitor.get(left.headers["location"])

    assert "Vous êtes déconnecté" in told.text and "ni à votre compte utilisateur" not in told.text
    assert f'href="{IDENTITY}/mediterranee/sign-out" id="close-account"' in told.text


async def test_what_may_still_be_open_at_identity_is_said(visitor: Visitor, far_side: FarSide) -> None:
    """The session here was over: nothing names the one that identity may hold."""
    await visitor.sign_in(far_side)
    await visitor.post("/mediterranee/backchannel-logout", {"logout_token": far_side.logout_token()})
    await says_what_may_be_open(visitor)


async def test_and_when_identity_is_away_too(
    visitor: Visitor, far_side: FarSide, portal_settings: Settings
) -> None:
    """Another process of the portal, which knows the caisse and has never heard where identity ends a session."""
    await visitor.sign_in(far_side)
    another = create_app(portal_settings, http=far_side.client())
    async with another.lifespan():
        await Visitor(another).get("/mediterranee")
        far_side.down.add("identity")
        await says_what_may_be_open(Visitor(another, visitor.cookies))


@asynccontextmanager
async def never_reached(
    visitor: Visitor, far_side: FarSide, settings: Settings
) -> AsyncGenerator[Visitor, None]:
    """The same browser, answered by a process of the portal that never reached identity."""
    await visitor.sign_in(far_side)
    far_side.down.add("identity")
    another = create_app(settings, http=far_side.client())
    async with another.lifespan():
        yield Visitor(another, dict(visitor.cookies))


async def test_who_wants_to_leave_can_though_identity_was_never_reached(
    visitor: Visitor, far_side: FarSide, portal_settings: Settings
) -> None:
    async with never_reached(visitor, far_side, portal_settings) as leaving:
        asked = await leaving.get("/mediterranee/sign-out")
        assert asked.status_code == 200 and "cet espace sécurisé" in asked.text
        await says_what_may_be_open(leaving)

    far_side.down.clear()
    # Not only forgotten by the browser: over.
    assert "Maçonnerie" not in (await visitor.get("/mediterranee")).text


async def test_an_outage_shows_the_way_out_to_who_is_signed_in(
    visitor: Visitor, far_side: FarSide, portal_settings: Settings
) -> None:
    way_out = 'href="/mediterranee/sign-out" id="sign-out"'
    async with never_reached(visitor, far_side, portal_settings) as signed_in:
        told = await signed_in.get("/mediterranee")
        assert told.status_code == 503 and way_out in told.text
        told = await Visitor(signed_in.app).get("/mediterranee")
        assert told.status_code == 503 and way_out not in told.text


async def test_a_caisse_that_does_not_exist_has_no_way_out(visitor: Visitor) -> None:
    for page in ("sign-out", "signed-out"):
        assert (await visitor.get(f"/atlantide/{page}")).status_code == 404


async def test_who_is_signed_in_reads_no_goodbye(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)

    told = await visitor.get("/mediterranee/signed-out")

    assert (told.status_code, told.headers["location"]) == (303, "/mediterranee")


async def revoke_the_key(far_side: FarSide) -> None:
    """Identity publishes its successor alone; longer ago than the portal believes what it read."""
    far_side.published = [SigningKey.generate()]
    await asyncio.sleep(KEYS_BELIEVED + 0.1)


async def test_a_logout_under_a_revoked_key_ends_nothing(visitor: Visitor, far_side: FarSide) -> None:
    """Its key was read a moment ago: the portal, which hears no revocations, asks again before it believes."""
    await visitor.sign_in(far_side)
    await revoke_the_key(far_side)
    forged = await Visitor(visitor.app).post(
        "/mediterranee/backchannel-logout", {"logout_token": far_side.logout_token()}
    )
    assert forged.status_code == 400
    assert "Maçonnerie" in (await visitor.get("/mediterranee")).text
    (far_side.key,) = far_side.published
    told = await visitor.post("/mediterranee/backchannel-logout", {"logout_token": far_side.logout_token()})
    assert told.status_code == 200
    assert "Maçonnerie" not in (await visitor.get("/mediterranee")).text


async def test_nobody_signs_in_by_an_id_token_under_a_revoked_key(
    visitor: Visitor, far_side: FarSide
) -> None:
    await visitor.sign_in(far_side)
    await revoke_the_key(far_side)
    another = Visitor(visitor.app)
    await another.sign_in(far_side)
    assert COOKIE not in another.cookies
    (far_side.key,) = far_side.published
    await another.sign_in(far_side)
    assert COOKIE in another.cookies
