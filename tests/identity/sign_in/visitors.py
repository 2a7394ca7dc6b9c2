"""Browsers and firms for the tests of people: real pages, real rows, valid SIRETs."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from html import unescape
from typing import Any, cast
from uuid import UUID

import httpx
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.mail_catcher.mailbox import Mailbox, Message
from libs.common.runtime.mail_catcher.smtp import Catcher, catching
from libs.common.runtime.settings import MailSettings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.crockford import CheckedCode
from libs.common.values.identifiers import new_id
from libs.common.values.siret import luhn_digit
from services.identity.caisses import store as caisses
from services.identity.caisses.caisse import Caisse, CaisseSettings
from services.identity.letters.paper_secret import Half, PaperSecrets
from services.identity.mail.courier import send_what_is_due
from services.identity.mail.enqueue import Mail
from services.identity.sign_in.password import Passwords
from tests.conftest import HeldClock, no_cache_keeps_a_redirect

CAISSE = CaisseSlug("mediterranee")
OTHER_CAISSE = CaisseSlug("grand-ouest")
BASE = "https://id.example.test"
GOOD_PASSWORD = "marteau nuage velours trombone"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"


@dataclass
class Firm:
    """A member with two letters in its hand."""

    adherent_id: UUID
    adherent_number: str
    siret: str
    pair_id: UUID
    identifiant: CheckedCode
    code_confidentiel: CheckedCode


class Visitor:
    """One browser: keeps its cookies, posts the forms it was shown, follows no redirect by itself."""

    def __init__(self, app: Litestar, *, agent: str = CHROME, address: str = "203.0.113.9") -> None:
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(cast(Any, app), client=(address, 4242)),
            base_url=BASE,
            headers={"user-agent": agent, "accept": "text/html"},
            timeout=30,
            event_hooks={"response": [no_cache_keeps_a_redirect]},
        )
        self.token = ""

    async def get(self, path: str) -> httpx.Response:
        answer = await self.http.get(self._path(path))
        self._learn(answer)
        return answer

    async def post(self, path: str, **fields: str) -> httpx.Response:
        """Post a form with the token of the last page shown; a name's `_` stands for `-`."""
        if not self.token:
            await self.get(f"/{CAISSE}/sign-in")
        data = {name.replace("_", "-"): value for name, value in fields.items()}
        answer = await self.http.post(self._path(path), data={"csrf_token": self.token, **data})
        self._learn(answer)
        return answer

    async def follow(self, answer: httpx.Response) -> httpx.Response:
        assert answer.status_code == 303, (answer.status_code, told(answer))
        return await self.get(answer.headers["location"])

    def cookie(self, name: str) -> str | None:
        return self.http.cookies.get(name)

    def _path(self, path: str) -> str:
        return path.removeprefix(BASE)

    def _learn(self, answer: httpx.Response) -> None:
        if found := re.search('name="csrf_token" value="([^"]+)"', answer.text):
            self.token = found[1]


def told(answer: httpx.Response) -> str:
    """The words of a page, without its markup."""
    text = re.sub(r"(?s)<(style|script|head).*?</\1>", " ", answer.text).replace("<wbr>", "")
    return " ".join(unescape(re.sub("<[^>]+>", " ", text)).split())


def title(answer: httpx.Response) -> str:
    found = re.search("(?s)<title>(.*?)</title>", answer.text)
    return unescape(found[1]) if found else ""


@dataclass
class Post:
    """The mail server of a test, and the courier that writes to it."""

    mailbox: Mailbox
    catcher: Catcher
    settings: MailSettings
    relay: Database
    mail: Mail
    clock: HeldClock

    async def deliver(self) -> None:
        """Send everything that is due."""
        while await send_what_is_due(self.relay, self.mail, self.settings, self.clock):
            pass

    async def newest(self, to: str) -> Message:
        await self.deliver()
        found = self.mailbox.newest(to)
        assert found, f"no mail to {to}"
        return found[0]


@asynccontextmanager
async def living(app: Litestar) -> AsyncIterator[Litestar]:
    """The lifespan, held by one task: fixtures are set up and torn down in two."""
    ready, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        try:
            async with app.lifespan():
                ready.set()
                await over.wait()
        finally:
            ready.set()

    task = asyncio.create_task(live())
    await ready.wait()
    try:
        yield app
    finally:
        over.set()
        await task


@asynccontextmanager
async def a_post(
    folder: Any, relay: Database, keys: KeyEncryption, clock: HeldClock, port: int
) -> AsyncIterator[Post]:
    catcher = Catcher(Mailbox(folder))
    async with catching(catcher, "127.0.0.1", port):
        yield Post(catcher.mailbox, catcher, MailSettings(port=port), relay, Mail(keys), clock)


async def add_caisses(db: Database, clock: HeldClock) -> None:
    for slug, name in ((CAISSE, "Caisse Méditerranée"), (OTHER_CAISSE, "Caisse Grand-Ouest")):
        async with db.transaction(slug) as tx:
            await caisses.add(
                tx,
                Caisse(
                    slug=slug,
                    name=name,
                    network_number="10",
                    siren="732829320",
                    address=["1 RUE DU PORT", "13002 MARSEILLE"],
                    phone="04 91 00 00 00",
                    email=f"contact@{slug}.example.test",
                    website=f"https://{slug}.example.test",
                    mail_from=f"ne-pas-repondre@{slug}.example.test",
                    settings=CaisseSettings(),
                    created_at=clock(),
                ),
            )


_drawn = itertools.count(10_000_000)


def a_siret() -> str:
    """A valid SIRET that no other test uses."""
    siren = str(next(_drawn))
    siren += luhn_digit(siren)
    return siren + "0001" + luhn_digit(siren + "0001")


async def a_firm(
    db: Database,
    paper: PaperSecrets,
    clock: HeldClock,
    *,
    caisse: CaisseSlug = CAISSE,
    name: str = "Maçonnerie Fabre",
) -> Firm:
    """A member whose two letters were posted today."""
    siret = a_siret()
    firm = Firm(
        adherent_id=new_id(),
        adherent_number=f"A{siret[:9]}",
        siret=siret,
        pair_id=new_id(),
        identifiant=Half.IDENTIFIANT.draw(),
        code_confidentiel=Half.CODE_CONFIDENTIEL.draw(),
    )
    salt = paper.identifiant_salt(caisse, siret)
    now, lots = clock(), (new_id(), new_id())
    async with db.transaction(caisse) as tx:
        await tx.execute(
            "INSERT INTO adherent (id, caisse, adherent_number, siren, siret, legal_name, address, imported_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            firm.adherent_id, caisse, firm.adherent_number, siret[:9], siret, name, ["1 RUE X"], now,
        )  # fmt: skip
        for lot, kind in zip(lots, Half, strict=True):
            await tx.execute(
                "INSERT INTO print_lot (id, caisse, kind, letters, pages, sha256, sealed, post_on, made_at)"
                " VALUES ($1, $2, $3, 1, 1, $4, $5, $6, $7)",
                lot, caisse, kind.value, b"0" * 32, b"x", date(2026, 1, 1), now,
            )  # fmt: skip
        await tx.execute(
            "INSERT INTO letter_pair (id, caisse, adherent_id, state, identifiant_salt, identifiant_hash, code_salt,"
            " code_hash, identifiant_lot_id, identifiant_page, code_lot_id, code_page, made_at, valid_until)"
            " VALUES ($1, $2, $3, 'mailed', $4, $5, $6, $7, $8, 1, $9, 1, $10, $11)",
            firm.pair_id, caisse, firm.adherent_id, salt,
            paper.hash_now(Half.IDENTIFIANT, firm.identifiant, salt), b"c" * 16,
            paper.hash_now(Half.CODE_CONFIDENTIEL, firm.code_confidentiel, b"c" * 16),
            lots[0], lots[1], now, now + timedelta(days=60),
        )  # fmt: skip
    return firm


async def a_person(
    db: Database,
    clock: HeldClock,
    email: str,
    *,
    password: str = GOOD_PASSWORD,
    collaborator: bool = False,
    name: str = "Rose Fabre",
) -> UUID:
    """Somebody with a password; a collaborator of a cabinet must have a second factor."""
    passwords = Passwords()
    person_id, encoded = new_id(), await passwords.hash(password)
    passwords.close()
    async with db.transaction(CAISSE) as tx:
        await tx.execute(
            "INSERT INTO person (id, email, email_key, full_name, password_hash, created_at)"
            " VALUES ($1, $2, lower($2), $3, $4, $5)",
            person_id, email, name, encoded, clock(),
        )  # fmt: skip
        if collaborator:
            cabinet_id = new_id()
            await tx.execute(
                "INSERT INTO cabinet (id, siren, name, created_at) VALUES ($1, $2, 'Cabinet Comptes', $3)",
                cabinet_id, a_siret()[:9], clock(),
            )  # fmt: skip
            await tx.execute(
                "INSERT INTO collaborator (id, cabinet_id, person_id, role, created_at)"
                " VALUES ($1, $2, $3, 'member', $4)",
                new_id(), cabinet_id, person_id, clock(),
            )  # fmt: skip
    return person_id


async def to_the_mailbox(
    visitor: Visitor, firm: Firm, email: str, *, password: str = GOOD_PASSWORD, caisse: CaisseSlug = CAISSE
) -> httpx.Response:
    """The journey from the letters to "Consultez votre messagerie"."""
    base = f"/{caisse}/first-connection"
    await visitor.get(base)
    answer = await visitor.post(
        f"{base}/letters",
        number=firm.siret,
        identifiant=firm.identifiant,
        code_confidentiel=firm.code_confidentiel,
    )
    await visitor.follow(answer)
    await visitor.follow(await visitor.post(f"{base}/email", email=email))
    return await visitor.follow(await visitor.post(f"{base}/password", password=password))


async def sign_in(visitor: Visitor, email: str, password: str = GOOD_PASSWORD, **more: str) -> httpx.Response:
    await visitor.get(f"/{CAISSE}/sign-in")
    return await visitor.post(f"/{CAISSE}/sign-in", email=email, password=password, **more)


async def mailed_code(post: Post, email: str) -> str:
    """The six digits of the newest mail that holds some."""
    await post.deliver()
    for message in post.mailbox.newest(email):
        for line in message.text.splitlines():
            if line.strip().isdigit():
                return line.strip()
    raise AssertionError(f"no code was mailed to {email}")


def link_in(message: Message, mark: str) -> str:
    """The one link of a mail that holds `mark`."""
    found = {link for link in message.links if mark in link}
    assert len(found) == 1, message.links
    return found.pop()
