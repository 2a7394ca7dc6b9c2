"""A refusal met by a person: a page of their caisse, announced, that says when to come back."""

import asyncio
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.http import deadlines
from libs.common.pages.environment import Pages
from services.identity.sign_in import routes as sign_in_routes
from services.identity.sign_in.throttle import PER_STRANGE_ACCOUNT
from tests.conftest import HeldClock
from tests.identity.sign_in.test_sign_in import SECOND, enrolled
from tests.identity.sign_in.visitors import (
    BASE,
    CAISSE,
    GOOD_PASSWORD,
    OTHER_CAISSE,
    Post,
    Visitor,
    a_person,
    sign_in,
    title,
    told,
)


@pytest.mark.parametrize("path", ["nowhere", "sign-in/nowhere"])
async def test_a_lost_address_keeps_its_caisse(visitor: Visitor, path: str) -> None:
    """The first page that this process shows of that caisse, at that."""
    page = await visitor.get(f"/{OTHER_CAISSE}/{path}")
    assert page.status_code == 404
    assert title(page) == "Cette page n’existe pas – Caisse Grand-Ouest"
    assert "04 91 00 00 00" in told(page).replace("\u00a0", " ")
    assert f'href="https://portal.example.test/{OTHER_CAISSE}"' in page.text


async def test_what_only_takes_forms_says_how_it_is_reached(visitor: Visitor) -> None:
    page = await visitor.get(f"/{CAISSE}/account/consents/withdraw")
    assert page.status_code == 405
    assert "Elle ne s’ouvre que par le bouton d’une autre page." in told(page)


async def test_a_forged_form_and_an_unknown_caisse(visitor: Visitor) -> None:
    forged = await visitor.http.post(f"/{CAISSE}/sign-in", data={})
    assert forged.status_code == 403 and title(forged).endswith("Caisse Méditerranée")
    assert told(forged).count("Ce formulaire n’est plus valable") == 1
    nobody = await visitor.get("/no-such-caisse/sign-in")
    assert nobody.status_code == 404 and title(nobody).endswith("Espace sécurisé")


async def slow_answer(app: Any, accept: str) -> tuple[int, dict[str, str], str]:
    """What somebody gets whose handler hangs."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as http:
        answer = await http.get(f"/{CAISSE}/sign-in", headers={"accept": accept})
    return answer.status_code, dict(answer.headers), answer.text


async def test_an_answer_that_hangs_is_a_page_for_a_person(
    app: Litestar, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(self: Pages, *_: Any, **__: Any) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(sign_in_routes, "client_behind", hangs)
    for accept, kind in (("text/html", "text/html"), ("application/json", "application/problem+json")):
        status, headers, text = await slow_answer(cast(Any, app), accept)
        assert status == 503 and headers["content-type"].startswith(kind)
        assert headers["connection"] == "close" and int(headers["retry-after"]) > 0
        assert "content-security-policy" in headers
        assert "La réponse se fait trop attendre" in text


async def test_too_many_tries_are_announced_and_dated(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "tries@exemple.fr")
    for _ in range(PER_STRANGE_ACCOUNT.burst):
        await sign_in(visitor, "tries@exemple.fr", "wrong wrong wrong")
    page = await sign_in(visitor, "tries@exemple.fr")
    assert page.status_code == 429 and int(page.headers["retry-after"]) > 0
    assert title(page).startswith("Erreur\u00a0:")
    assert 'id="throttled" role="alert" tabindex="-1" autofocus' in page.text


async def test_another_mail_too_soon_says_when(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "too-soon@exemple.fr", collaborator=True)
    await sign_in(visitor, "too-soon@exemple.fr")
    page = await visitor.post(f"{SECOND}/resend")
    assert page.status_code == 429 and int(page.headers["retry-after"]) > 0
    assert title(page).startswith("Erreur\u00a0:")


async def test_the_second_step_has_its_ways_out(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock, post: Post
) -> None:
    codes: list[str] = []
    await enrolled(app, identity_db, clock, post, "ways@cabinet.fr", codes)
    way = f"?continue=%2F{CAISSE}%2Faccount%2Fme"
    await visitor.get(f"/{CAISSE}/sign-in{way}")
    answer = await visitor.post(
        f"/{CAISSE}/sign-in",
        email="ways@cabinet.fr",
        password=GOOD_PASSWORD,
        **{"continue": f"/{CAISSE}/account/me"},
    )
    page = await visitor.follow(answer)
    assert 'inputmode="numeric"' in page.text
    assert f'id="other" href="/{CAISSE}/sign-in{way}"' in page.text
    recovery = f"{SECOND}{way}&recovery=yes"
    assert f'id="recovery" href="{recovery.replace("&", "&amp;")}"' in page.text
    page = await visitor.get(recovery)
    assert 'inputmode="numeric"' not in page.text and "Code de secours" in told(page)
    assert "Appelez votre caisse" in told(page) and 'href="tel:0491000000"' in page.text
    wrong = await visitor.post(SECOND, code="K7M2", recovery="yes", **{"continue": f"/{CAISSE}/account/me"})
    assert wrong.status_code == 422 and "Code de secours" in told(wrong)
    signed = await visitor.post(
        SECOND, code=codes[0], recovery="yes", **{"continue": f"/{CAISSE}/account/me"}
    )
    me = await visitor.follow(signed)
    # A protection that the cabinet requires is not offered for removal.
    assert "Active, obligatoire dans un cabinet comptable" in told(me)
    assert f'href="/{CAISSE}/account/factor"' not in me.text


async def test_repeated_buttons_say_what_they_act_on(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    await a_person(identity_db, clock, "buttons@exemple.fr")
    await sign_in(Visitor(app), "buttons@exemple.fr")
    await sign_in(visitor, "buttons@exemple.fr")
    page = await visitor.get(f"/{CAISSE}/account/me")
    assert 'Déconnecter<span class="unseen"> – Chrome' in page.text
    assert 'Oublier<span class="unseen"> – Chrome' in page.text
