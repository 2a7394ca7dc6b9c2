"""The serving process is killed (SIGKILL, its whole group) at each write of an activation, and around its commit.

Started again on the same database and shown the same link, it ends with one account,
told once; at no moment are the letters dead without the account, nor alive beside it.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from litestar import Litestar
from msgspec.structs import replace

from libs.common.database.pool import Database
from libs.common.runtime.child_process import free_port
from libs.common.runtime.settings import Settings
from services.identity.letters.paper_secret import PaperSecrets
from tests.conftest import HeldClock
from tests.faults.database_proxy import DatabaseProxy, Held, Place, database_proxy, places_to_die
from tests.faults.serving import Serving, serving
from tests.identity.first_connection.activation import AFTER, BASE, BEFORE, mailed_link, state_of
from tests.identity.sign_in.visitors import Firm, Post, Visitor, a_firm

WRITES = [
    "UPDATE email_confirmation",
    "INSERT person",
    "UPDATE letter_pair",
    "INSERT journal",
    "INSERT account",
    "UPDATE first_connection",
    "INSERT journal",
    "INSERT outbox",
    "INSERT mail_queue",
    "COMMIT",
]
"""What pressing the button changes, in order; all of it stands in one transaction."""


@pytest.fixture(scope="module")
async def proxy(settings: Settings) -> AsyncIterator[DatabaseProxy]:
    async with database_proxy(settings.identity.dsn) as proxy:
        yield proxy


@pytest.fixture(scope="module")
async def identity(
    settings: Settings, proxy: DatabaseProxy, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Serving]:
    """The identity service, whose every word with PostgreSQL passes the proxy."""
    section = replace(settings.identity, dsn=proxy.in_front_of(settings.identity.dsn), port=free_port())
    folder = tmp_path_factory.mktemp("served")
    async with serving("identity", replace(settings, identity=section), folder) as identity:
        yield identity


class Browser:
    """Somebody before the button of the mail, in the browser that showed the letters."""

    def __init__(self, visitor: Visitor, firm: Firm, link: str) -> None:
        self.firm = firm
        self._form = {"csrf_token": visitor.token, "link": link}
        self._cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.http.cookies.jar)

    async def press(self, identity: Serving) -> httpx.Response:
        async with identity.http(cookie=self._cookies, accept="text/html") as http:
            return await http.post(f"{BASE}/confirm", data=self._form)


class Mailroom:
    """Brings somebody to the button; each has a firm and an address of its own."""

    def __init__(
        self, app: Litestar, db: Database, paper: PaperSecrets, post: Post, clock: HeldClock
    ) -> None:
        self._app, self._db, self._paper, self._post, self._clock = app, db, paper, post, clock

    async def somebody(self, name: str) -> Browser:
        firm, visitor = await a_firm(self._db, self._paper, self._clock), Visitor(self._app)
        link = await mailed_link(visitor, firm, f"{name}@exemple.fr", self._post)
        return Browser(visitor, firm, link)


@pytest.fixture
def mailroom(
    app: Litestar, identity_db: Database, paper: PaperSecrets, post: Post, clock: HeldClock
) -> Mailroom:
    return Mailroom(app, identity_db, paper, post, clock)


async def test_an_activation_writes_what_we_kill_it_at(
    identity: Serving, proxy: DatabaseProxy, identity_db: Database, mailroom: Mailroom
) -> None:
    browser = await mailroom.somebody("alive")
    proxy.arm()
    assert (await browser.press(identity)).status_code == 303
    assert proxy.writes == WRITES
    assert await state_of(identity_db, browser.firm) == AFTER


@pytest.mark.parametrize("place", places_to_die(WRITES), ids=lambda at: f"{at.nth}-{at.held.name}")
async def test_killed_at_a_write_then_started_again(
    identity: Serving, proxy: DatabaseProxy, identity_db: Database, mailroom: Mailroom, place: Place
) -> None:
    browser = await mailroom.somebody(f"killed-{place.nth}-{place.held.name}".lower())
    proxy.arm(place)
    await identity.killed_at(proxy, place, asyncio.create_task(browser.press(identity)))

    is_committed = place == Place(len(WRITES), Held.AFTER)
    assert await state_of(identity_db, browser.firm) == (AFTER if is_committed else BEFORE)

    await identity.start()
    # Committed without an answer: the page says that the link has served, and nothing is done twice.
    assert (await browser.press(identity)).status_code == (410 if is_committed else 303)
    assert await state_of(identity_db, browser.firm) == AFTER
    assert (await browser.press(identity)).status_code == 410
    assert await state_of(identity_db, browser.firm) == AFTER
