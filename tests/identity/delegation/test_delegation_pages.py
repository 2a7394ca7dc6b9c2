"""The pages, as a browser without script meets them: forms, redirects, and what they say."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from html import unescape
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.pages.formats import instant
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id, public_id
from services.identity.app import create_app
from services.identity.cabinets.leave import remove_collaborator
from services.identity.delegation import store
from services.identity.delegation.former_store import note_cabinets
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.record_former import record_former
from services.identity.sign_in.session import cookie_name, open_session
from tests.conftest import HeldClock
from tests.identity.cabinets.software import a_machine
from tests.identity.delegation.parties import (
    ELSEWHERE,
    HERE,
    Scene,
    a_scene,
    a_siren,
    an_active_mandate,
    an_offer,
)

BASE = "https://id.example.test"
HTML = {"accept": "text/html"}


class Browser(NamedTuple):
    """A signed-in browser that follows no redirect by itself."""

    client: httpx.AsyncClient

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path, headers=HTML)

    async def press(self, page: httpx.Response, button: str, **typed: object) -> httpx.Response:
        """Send the form that holds the button `id`, with what it already carried and what is typed."""
        form = next(f for f in re.findall(r"<form.*?</form>", page.text, re.S) if f'id="{button}"' in f)
        fields: dict[str, object] = {}
        for tag in re.findall(r"<input[^>]*>", form):
            name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
            kind = re.search(r'type="([^"]*)"', tag)
            if name is None or (kind and kind[1] in ("radio", "checkbox") and " checked" not in tag):
                continue
            held = unescape(value[1]) if value else ""
            kept = fields.get(name[1])
            fields[name[1]] = (
                [*kept, held] if isinstance(kept, list) else held if kept is None else [kept, held]
            )
        fields |= typed
        action = re.search(r'action="([^"]*)"', form)
        assert action is not None
        if 'method="get"' in form:
            return await self.client.get(unescape(action[1]), params=fields, headers=HTML)  # type: ignore[arg-type]
        headers = {**HTML, "sec-fetch-site": "same-origin"}
        return await self.client.post(unescape(action[1]), data=fields, headers=headers)


def said(page: httpx.Response) -> str:
    """The page with plain spaces and quotes: where French typography breaks a line is not our matter here."""
    return re.sub(r"\s", " ", unescape(page.text))


def links_alike(page: httpx.Response) -> list[str]:
    """The names that two links bear which lead elsewhere (WCAG 2.2 §2.4.9)."""
    leads: dict[str, set[str]] = {}
    for address, name in re.findall(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', said(page), re.S):
        leads.setdefault(re.sub(r"<[^>]+>", "", name).strip(), set()).add(address)
    return [name for name, addresses in leads.items() if len(addresses) > 1]


def words(page: httpx.Response) -> str:
    """The page without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", said(page)).split())


@pytest.fixture
async def app(settings: Settings, clock: HeldClock) -> AsyncIterator[Litestar]:
    application = create_app(settings, clock=clock)
    ready, stop = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        # In a task of its own: a lifespan must end in the task where it began.
        async with application.lifespan():
            ready.set()
            await stop.wait()

    serving = asyncio.create_task(serve())
    await ready.wait()
    yield application
    stop.set()
    await serving


async def signed_in(
    app: Litestar,
    db: Database,
    person_id: UUID,
    now: datetime,
    *,
    stepped_up: bool = True,
    acr: str = "mfa",
    caisse: object = HERE,
) -> Browser:
    async with db.transaction(caisse) as tx:  # type: ignore[arg-type]
        opened = await open_session(
            tx,
            person_id=person_id,
            acr=acr,  # type: ignore[arg-type]
            amr=["pwd", "otp"],
            now=now,
            second_factor_at=now if stepped_up else None,
        )
    client = httpx.AsyncClient(transport=httpx.ASGITransport(cast(Any, app)), base_url=BASE)
    client.cookies.set(cookie_name(caisse), opened.cookie)  # type: ignore[arg-type]
    return Browser(client)


async def siren_of(db: Database, scene: Scene) -> str:
    async with db.transaction(HERE) as tx:
        return await store.siren_of_cabinet(tx, scene.cabinet_id)


async def mandates(db: Database, scene: Scene) -> list[Mandate]:
    async with db.transaction(scene.caisse) as tx:
        return await store.live_of_adherents(tx, [scene.adherent_id])


async def test_a_delegation_takes_three_clicks_and_gives_nothing_before_the_last(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    browser = await signed_in(app, identity_db, scene.administrator, clock())
    start = await browser.get(f"/{HERE}/delegations")
    assert start.status_code == 200
    assert "Déléguer à mon cabinet comptable" in said(start)

    rights = await browser.press(start, "delegate", cabinet=await siren_of(identity_db, scene))
    assert "Cabinet Ferrand" in said(rights)
    chosen = await browser.press(rights, "continue")
    assert chosen.status_code == 303, chosen.text
    check = await browser.get(chosen.headers["location"])
    assert "déposer et corriger vos déclarations" in said(check)
    assert "changer votre IBAN" in said(check)
    assert await mandates(identity_db, scene) == []

    done = await browser.press(check, "confirm")
    receipt = await browser.get(done.headers["location"])
    assert "Délégation proposée à Cabinet Ferrand" in said(receipt)
    [offered] = await mandates(identity_db, scene)
    assert (offered.state, offered.family, offered.role) == ("offered", "contributions", "principal")


async def test_the_step_up_comes_before_the_page_with_the_last_button(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    browser = await signed_in(app, identity_db, scene.administrator, clock(), stepped_up=False)
    start = await browser.get(f"/{HERE}/delegations")
    rights = await browser.press(start, "delegate", cabinet=await siren_of(identity_db, scene))
    chosen = await browser.press(rights, "continue", bundle="full", amount_cap="1 500")
    asked = await browser.get(chosen.headers["location"])
    path = urlsplit(chosen.headers["location"]).path
    assert parse_qs(urlsplit(asked.headers["location"]).query) == {"continue": [path]}

    after = await signed_in(app, identity_db, scene.administrator, clock())
    check = await after.get(chosen.headers["location"])
    assert await mandates(identity_db, scene) == [], "nothing is given by an address"
    for _ in range(2):
        done = await after.press(check, "confirm")
        assert "/delegations/receipts/" in done.headers["location"]
    assert sorted(mandate.family for mandate in await mandates(identity_db, scene)) == [
        "contributions",
        "time_off",
    ]


async def test_a_proof_that_has_aged_is_asked_again_and_nothing_is_given(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    browser = await signed_in(app, identity_db, scene.administrator, clock())
    start = await browser.get(f"/{HERE}/delegations")
    rights = await browser.press(start, "delegate", cabinet=await siren_of(identity_db, scene))
    chosen = await browser.press(rights, "continue")
    check = await browser.get(chosen.headers["location"])
    clock.forward(minutes=6)
    asked = await browser.press(check, "confirm")

    assert "/step-up?continue=" in asked.headers["location"]
    assert await mandates(identity_db, scene) == []


async def test_a_link_that_names_no_cabinet_leads_to_the_field_and_reproaches_nothing(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    """As the account's page and the end of the first connection have it."""
    scene = await a_scene(identity_db, clock())
    browser = await signed_in(app, identity_db, scene.administrator, clock())
    page = await browser.get(f"/{HERE}/delegations/new")
    assert page.status_code == 200 and 'id="cabinet"' in page.text
    assert "Un point est à corriger" not in said(page)
    empty = await browser.press(page, "delegate", cabinet="")
    assert empty.status_code == 422 and "Indiquez le SIREN" in said(empty)


async def test_an_unknown_cabinet_is_told_beside_its_field(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    browser = await signed_in(app, identity_db, scene.administrator, clock())
    start = await browser.get(f"/{HERE}/delegations")
    for typed in ("", "123", "356000000", "732 829 321"):
        answer = await browser.press(start, "delegate", cabinet=typed)
        assert answer.status_code == 422
        assert "<title>Erreur" in answer.text
        assert 'href="#cabinet"' in answer.text


async def test_terms_that_are_wrong_are_shown_again_as_typed(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    browser = await signed_in(app, identity_db, scene.administrator, clock())
    start = await browser.get(f"/{HERE}/delegations")
    rights = await browser.press(start, "delegate", cabinet=await siren_of(identity_db, scene))
    wrong = await browser.press(rights, "continue", bundle="declare_and_pay", **{"ends_on-year": "20"})

    assert wrong.status_code == 422
    assert 'href="#ends_on"' in wrong.text
    assert 'value="declare_and_pay" checked' in wrong.text
    nothing = await browser.press(rights, "continue", bundle="custom")
    assert 'href="#scopes"' in nothing.text


async def test_a_former_authorisation_is_renewed_from_a_filled_page(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    async with identity_db.transaction(HERE) as tx:
        former_id = await record_former(
            tx,
            scene.adherent_id,
            scene.cabinet_id,
            reference=str(new_id()),
            label="Accès complet",
            family="contributions",
            now=clock(),
        )
    assert former_id is not None
    browser = await signed_in(app, identity_db, scene.administrator, clock())
    start = await browser.get(f"/{HERE}/delegations")
    assert "Ancienne autorisation, sans effet" in said(start)
    filled = await browser.get(f"/{HERE}/delegations/{public_id('mdt', former_id)}/renew")
    clock.forward(minutes=2)
    done, again = [await browser.press(filled, "confirm") for _ in range(2)]
    assert "/delegations/receipts/" in done.headers["location"]
    assert again.headers["location"] == done.headers["location"]
    receipt = await browser.get(done.headers["location"])
    assert instant(clock()) in receipt.text, "proposed now, not when it was imported"
    assert [(mandate.id, mandate.state) for mandate in await mandates(identity_db, scene)] == [
        (former_id, "offered")
    ]


async def test_renewing_for_a_cabinet_where_nobody_can_accept_is_told_before_the_button(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    noted = new_id()
    async with identity_db.transaction(HERE) as tx:
        await note_cabinets(tx, [(noted, a_siren(), "Cabinet d’avant")], clock())
        renewable = [
            await record_former(
                tx,
                scene.adherent_id,
                cabinet_id,
                reference=str(new_id()),
                label="",
                family="contributions",
                now=clock(),
            )
            for cabinet_id in (noted, scene.cabinet_id)
        ]
    browser = await signed_in(app, identity_db, scene.administrator, clock())
    unknown, known = [
        said(await browser.get(f"/{HERE}/delegations/{public_id('mdt', former)}/renew"))
        for former in renewable
        if former
    ]

    assert "Cabinet non inscrit" in unknown
    assert "Cabinet non inscrit" not in known


async def test_the_cabinet_s_page_lists_its_software_and_nobody_elses(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene, other = await a_scene(identity_db, clock()), await a_scene(identity_db, clock())
    await a_machine(identity_db, scene, clock(), "Paie & Co")
    await a_machine(identity_db, scene, clock(), "Compta", sponsor_id=scene.owner)
    await a_machine(identity_db, other, clock(), "Ailleurs")
    browser = await signed_in(app, identity_db, scene.owner, clock())

    page = await browser.get(f"/{HERE}/cabinet")
    assert 'id="machines"' in page.text and "Ailleurs" not in page.text
    assert "Paie & Co répondant : Hugo Petit – 1 clé En service jamais utilisé" in words(page)
    async with identity_db.transaction(HERE) as tx:
        await remove_collaborator(tx, scene.cabinet, scene.member, now=clock())
    after = words(await browser.get(f"/{HERE}/cabinet"))
    assert "Compta répondant : Line Ferrand – 1 clé En service" in after
    assert "Paie & Co répondant : Hugo Petit – 1 clé Arrêté : sans répondant" in after


async def test_the_cabinet_accepts_then_the_firm_revokes_with_a_receipt(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    offered = await an_offer(identity_db, scene, clock())
    cabinet = await signed_in(app, identity_db, scene.owner, clock())
    workspace = await cabinet.get(f"/{HERE}/cabinet")
    assert "L’Équerre" in said(workspace)
    page = await cabinet.get(f"/{HERE}/cabinet/mandates/{public_id('mdt', offered.id)}")
    accepted = await cabinet.press(page, "accept")
    assert "En vigueur" in said(await cabinet.get(accepted.headers["location"]))
    assert 'id="clients"' in (await cabinet.get(f"/{HERE}/cabinet?search=équerre")).text

    firm = await signed_in(app, identity_db, scene.administrator, clock())
    address = f"/{HERE}/delegations/{public_id('mdt', offered.id)}"
    assert "Qui a fait quoi" in said(await firm.get(address))
    revoked = await firm.press(await firm.get(address + "/revoke"), "confirm-revoke")
    assert "Reçu de révocation" in said(await firm.get(revoked.headers["location"]))
    assert await mandates(identity_db, scene) == []


async def test_narrowing_takes_rights_away_and_refuses_more(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    firm = await signed_in(app, identity_db, scene.administrator, clock())
    address = f"/{HERE}/delegations/{public_id('mdt', mandate.id)}"
    page = await firm.get(address + "/narrow")
    same = await firm.press(page, "confirm-narrow")
    assert same.status_code == 422
    more = await firm.press(page, "confirm-narrow", scopes=["declaration.read", "payment.order"])
    assert more.status_code == 422

    less = await firm.press(page, "confirm-narrow", scopes=["declaration.read", "attestation.request"])
    assert less.headers["location"].endswith("notice=narrowed")
    [after] = await mandates(identity_db, scene)
    assert set(after.scopes) == {"declaration.read", "attestation.request"}


async def test_suspend_resume_withdraw_and_resign_by_their_buttons(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    firm = await signed_in(app, identity_db, scene.administrator, clock())
    address = f"/{HERE}/delegations/{public_id('mdt', mandate.id)}"
    await firm.press(await firm.get(address), "suspend")
    await firm.press(await firm.get(address), "resume")
    [after] = await mandates(identity_db, scene)
    assert (after.state, after.version) == ("active", mandate.version + 2)

    offered = await an_offer(identity_db, scene, clock(), "leave")
    await firm.press(await firm.get(f"/{HERE}/delegations/{public_id('mdt', offered.id)}"), "withdraw")
    cabinet = await signed_in(app, identity_db, scene.owner, clock())
    page = await cabinet.get(f"/{HERE}/cabinet/mandates/{public_id('mdt', mandate.id)}/resign")
    await cabinet.press(page, "confirm-resign")
    assert await mandates(identity_db, scene) == []


async def test_delegations_of_one_cabinet_and_clients_of_one_name_are_told_apart(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    firm = await signed_in(app, identity_db, scene.administrator, clock())
    for _ in range(2):
        offered = await an_offer(identity_db, scene, clock())
        await firm.press(await firm.get(f"/{HERE}/delegations/{public_id('mdt', offered.id)}"), "withdraw")
        clock.forward(minutes=1)
    await an_active_mandate(identity_db, scene, clock(), "full")
    assert links_alike(await firm.get(f"/{HERE}/delegations")) == []

    # Every firm of these tests has one legal name.
    homonym = await a_scene(identity_db, clock())
    for bundle in ("declare", "leave"):
        await an_active_mandate(
            identity_db, homonym._replace(cabinet_id=scene.cabinet_id, owner=scene.owner), clock(), bundle
        )
    await an_offer(
        identity_db, (await a_scene(identity_db, clock()))._replace(cabinet_id=scene.cabinet_id), clock()
    )
    await an_offer(
        identity_db, (await a_scene(identity_db, clock()))._replace(cabinet_id=scene.cabinet_id), clock()
    )
    cabinet = await signed_in(app, identity_db, scene.owner, clock())
    assert links_alike(await cabinet.get(f"/{HERE}/cabinet")) == []


async def test_a_delegation_that_is_over_no_longer_promises(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    active = await an_active_mandate(identity_db, scene, clock())
    offered = await an_offer(identity_db, scene, clock(), "leave")
    browser = await signed_in(app, identity_db, scene.administrator, clock())
    pages = {one.id: f"/{HERE}/delegations/{public_id('mdt', one.id)}" for one in (active, offered)}
    for path in pages.values():
        assert "pourra faire" in said(await browser.get(path))
    await browser.press(await browser.get(f"{pages[active.id]}/revoke"), "confirm-revoke")
    await browser.press(await browser.get(pages[offered.id]), "withdraw")
    revoked, withdrawn = [said(await browser.get(path)) for path in pages.values()]

    assert "pouvait faire" in revoked
    assert "pourra faire" not in revoked
    assert "pouvait faire" not in withdrawn, "an offer nobody accepted never gave anything"
    assert "pourra faire" not in withdrawn


async def test_strangers_meet_the_same_page_for_a_foreign_and_an_unknown_mandate(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    """Case 9 and case 32, on the pages."""
    scene, stranger = await a_scene(identity_db, clock()), await a_scene(identity_db, clock())
    await a_scene(identity_db, clock(), caisse=ELSEWHERE)
    mandate = await an_active_mandate(identity_db, scene, clock())
    for person in (stranger.administrator, stranger.owner):
        browser = await signed_in(app, identity_db, person, clock())
        for kind in ("delegations", "cabinet/mandates"):
            foreign = await browser.get(f"/{HERE}/{kind}/{public_id('mdt', mandate.id)}")
            unknown = await browser.get(f"/{HERE}/{kind}/{public_id('mdt', new_id())}")
            malformed = await browser.get(f"/{HERE}/{kind}/mdt_nonsense")
            assert (foreign.status_code, unknown.status_code, malformed.status_code) == (404, 404, 404)
            assert foreign.text == unknown.text


async def test_a_cabinet_without_two_factors_is_sent_to_prove_them(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    browser = await signed_in(app, identity_db, scene.owner, clock(), acr="pwd", stepped_up=False)
    answer = await browser.get(f"/{HERE}/cabinet")

    assert answer.status_code == 303
    assert "/step-up?continue=" in answer.headers["location"]


async def test_a_member_of_the_cabinet_sees_the_offer_but_cannot_answer(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    offered = await an_offer(identity_db, scene, clock())
    member = await signed_in(app, identity_db, scene.member, clock())
    address = f"/{HERE}/cabinet/mandates/{public_id('mdt', offered.id)}"
    assert 'id="not-admin"' in (await member.get(address)).text

    owner = await signed_in(app, identity_db, scene.owner, clock())
    page = await owner.get(address)
    member.client.cookies.update({"__Host-espace-browser": owner.client.cookies["__Host-espace-browser"]})
    assert (await member.press(page, "accept")).status_code == 403


async def test_nobody_signed_in_is_sent_to_sign_in(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    await a_scene(identity_db, clock())
    client = httpx.AsyncClient(transport=httpx.ASGITransport(cast(Any, app)), base_url=BASE)
    answer = await client.get(f"/{HERE}/delegations", headers=HTML)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"/{HERE}/sign-in?continue=")
