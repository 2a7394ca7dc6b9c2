"""`espace serve identity` is killed (SIGKILL) before each write of an activation, started again, asked again."""

import copy
from pathlib import Path

import httpx
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from services.identity.letters.paper_secret import PaperSecrets
from tests.conftest import HeldClock, Servers
from tests.identity.first_connection.activation import AFTER, BEFORE, mailed_link, press, state_of
from tests.identity.sign_in.visitors import BASE, Post, Visitor, a_firm
from tests.runtime.database_proxy import database_proxy
from tests.runtime.serving import Serving, killed_when_held


def over_the_wire(visitor: Visitor, serving: Serving) -> Visitor:
    """The same browser, its cookies and its last page, before the real process."""
    same = copy.copy(visitor)
    same.http = httpx.AsyncClient(
        transport=serving.transport(),
        base_url=BASE,
        headers={name: visitor.http.headers[name] for name in ("user-agent", "accept")},
        cookies=visitor.http.cookies,
        timeout=30,
    )
    return same


async def test_killed_before_any_write_it_opens_the_account_once_or_not_yet(
    app: Litestar,
    identity_db: Database,
    paper: PaperSecrets,
    post: Post,
    clock: HeldClock,
    settings: Settings,
    servers: Servers,
    tmp_path: Path,
) -> None:
    async with database_proxy(servers.postgres.port) as proxy:
        serving = Serving("identity", settings, proxy.address(settings.identity.dsn), tmp_path)

        async def pressed(name: str) -> tuple[bool, bool]:
            """Press the button of a new e-mail; whether the process was killed, and the account open after that."""
            firm, visitor = await a_firm(identity_db, paper, clock), Visitor(app)
            link = await mailed_link(visitor, firm, f"{name}@exemple.fr", post)
            visitor = over_the_wire(visitor, serving)
            if answer := await killed_when_held(serving, proxy, press(visitor, link)):
                assert answer.status_code == 303
                assert await state_of(identity_db, firm) == AFTER
                return False, True

            left = await state_of(identity_db, firm)
            assert left in (BEFORE, AFTER), proxy.sent
            # The letters are dead if and only if the account is open: the same link opens it, or says that it has.
            assert (await press(visitor, link)).status_code == (303 if left == BEFORE else 410), proxy.sent
            assert await state_of(identity_db, firm) == AFTER
            return True, left == AFTER

        await serving.start()
        try:
            proxy.counting()
            assert await pressed("whole") == (False, True)
            places = proxy.writes()
            assert len(places) > 10
            for nth in places:
                proxy.hold_before(nth)
                assert await pressed(f"before-{nth}") == (True, False), proxy.sent
            # Committed, and nobody was told.
            proxy.hold_answer(places[-1])
            assert await pressed("unanswered") == (True, True), proxy.sent
        finally:
            await serving.kill()
