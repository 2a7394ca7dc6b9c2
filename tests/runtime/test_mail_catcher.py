"""The demonstration's mailboxes and post office, as a script and as a phone see them."""

import asyncio
import json
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import httpx
import pypdfium2 as pdfium
import pytest

from libs.common.runtime.child_process import free_port
from libs.common.runtime.mail_catcher.app import create_app
from libs.common.runtime.settings import CatcherSettings, MailSettings, Settings

LINK = "http://localhost:8401/mediterranee/first-connection/confirmation?t=abc"


class Catcher:
    def __init__(self, client: httpx.AsyncClient, settings: Settings) -> None:
        self.client, self.settings = client, settings

    async def send(self, to: str, subject: str = "Confirmez votre adresse") -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "Caisse <no-reply@caisse.example>", to, subject
        mail["Message-ID"] = "<0198f0f0@caisse.example>"
        mail.set_content(f"Bonjour,\n\nOuvrez {LINK}.\n")
        mail.add_alternative(
            f'<p><a href="{LINK}&amp;b=1">Confirmer</a> <script>alert(1)</script>', subtype="html"
        )
        await aiosmtplib.send(mail, hostname="127.0.0.1", port=self.settings.catcher.smtp_port, timeout=10)

    async def messages(self, to: str = "") -> list[dict[str, Any]]:
        return (await self.client.get("/messages", params={"to": to} if to else {})).json()

    async def fault(self, **fault: Any) -> None:
        assert (await self.client.put("/faults", json=fault)).status_code == 200

    async def page(self, path: str) -> httpx.Response:
        return await self.client.get(path, headers={"Accept": "text/html"})


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("catcher")
    post = folder / "post"
    post.mkdir()
    return Settings(
        mail=MailSettings(web="http://localhost:8404"),
        catcher=CatcherSettings(smtp_port=free_port(), folder=folder / "mail"),
        allowed_hosts=("localhost",),
        post_office=post,
    )


@pytest.fixture(scope="module")
async def catcher(settings: Settings) -> AsyncIterator[Catcher]:
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    listening, done = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        # One task enters and leaves the lifespan; a fixture's two halves are not one.
        async with app.lifespan():
            listening.set()
            await done.wait()

    living = asyncio.create_task(live())
    await asyncio.wait({living, asyncio.create_task(listening.wait())}, return_when=asyncio.FIRST_COMPLETED)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8404") as client:
        yield Catcher(client, settings)
    done.set()
    await living


@pytest.fixture
def lot(settings: Settings) -> str:
    assert settings.post_office is not None
    document: Any = pdfium.PdfDocument.new()
    for _ in range(2):
        document.new_page(595, 842)
    document.save(settings.post_office / "lot_01.pdf")
    pages = [
        {
            "page": 1,
            "adherent_number": "1000001",
            "kind": "identifiant",
            "recipient": "SAS Plomberie Jounadès",
        },
        {"page": 2, "adherent_number": "1000002", "kind": "identifiant", "recipient": "<b>EURL</b> Héguedès"},
    ]
    manifest = {"lot": "lot_01", "caisse": "mediterranee", "kind": "identifiant", "pages": pages}
    (settings.post_office / "lot_01.json").write_text(json.dumps(manifest), "utf-8")
    return "lot_01"


async def test_a_mail_is_given_back_whole(catcher: Catcher):
    await catcher.send("jean@example.fr")
    (message,) = await catcher.messages("JEAN@example.fr")
    assert message["from"] == "Caisse <no-reply@caisse.example>"
    assert message["to"] == ["jean@example.fr"]
    assert message["subject"] == "Confirmez votre adresse"
    assert message["links"] == [f"{LINK}&b=1", LINK]
    assert message["text"].startswith("Bonjour,\n\nOuvrez")
    assert message["message_id"] == "<0198f0f0@caisse.example>"
    assert message["received_at"].endswith("Z")


async def test_the_newest_comes_first_and_others_stay_out(catcher: Catcher):
    for subject in ("un", "deux"):
        await catcher.send("ordre@example.fr", subject)
    await catcher.send("autre@example.fr", "trois")
    assert [message["subject"] for message in await catcher.messages("ordre@example.fr")] == ["deux", "un"]
    assert (await catcher.messages())[0]["subject"] == "trois"


async def test_what_was_caught_survives_a_restart(catcher: Catcher, settings: Settings):
    from libs.common.runtime.mail_catcher.mailbox import Mailbox

    await catcher.send("garde@example.fr")
    assert settings.catcher.folder is not None
    (settings.catcher.folder / "cut-short.json").write_text('{"id": "x"')
    again = Mailbox(settings.catcher.folder)
    assert [message.subject for message in again.newest("garde@example.fr")] == ["Confirmez votre adresse"]
    assert len(again.newest()) == len(await catcher.messages())


async def test_pages_show_the_mail_and_run_nothing_of_it(catcher: Catcher):
    await catcher.send("page@example.fr", "<script>alert(2)</script>")
    (message,) = await catcher.messages("page@example.fr")
    listed = await catcher.page("/?to=page@example.fr")
    shown = await catcher.page(f"/messages/{message['id']}")
    for page in (listed, shown):
        assert page.status_code == 200
        assert 'name="viewport"' in page.text
        assert "<script" not in page.text
    assert f'href="{LINK}"' in shown.text
    body = await catcher.page(f"/messages/{message['id']}/html")
    assert "sandbox" in body.headers["content-security-policy"]
    assert "script-src" not in body.headers["content-security-policy"]


@pytest.mark.parametrize(("mode", "code"), [("busy", 451), ("refused", 550)])
async def test_it_refuses_when_a_test_asks(catcher: Catcher, mode: str, code: int):
    to = f"{mode}@example.fr"
    await catcher.fault(mode=mode, times=1)
    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await catcher.send(to)
    assert refused.value.code == code
    assert await catcher.messages(to) == []
    await catcher.send(to)
    assert len(await catcher.messages(to)) == 1


async def test_the_answer_may_be_lost_after_the_mail_was_kept(catcher: Catcher):
    await catcher.fault(mode="answer_lost", times=1)
    with pytest.raises(aiosmtplib.SMTPException):
        await catcher.send("perdu@example.fr")
    assert len(await catcher.messages("perdu@example.fr")) == 1


async def test_a_fault_may_concern_one_address_only(catcher: Catcher):
    await catcher.fault(mode="silent", to="seul@example.fr")
    await catcher.send("libre@example.fr")
    with pytest.raises(aiosmtplib.SMTPException):
        await catcher.send("seul@example.fr")
    await catcher.fault(mode="none")
    assert await catcher.messages("seul@example.fr") == []


async def test_it_may_be_slow(catcher: Catcher):
    await catcher.fault(mode="slow", seconds=0.4, times=1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await catcher.send("lent@example.fr")
    assert loop.time() - began >= 0.4


async def test_letters_are_listed_and_found_by_their_adherent(catcher: Catcher, lot: str):
    (listed,) = (await catcher.client.get("/letters")).json()
    assert (listed["lot"], listed["caisse"], len(listed["pages"])) == (lot, "mediterranee", 2)
    (found,) = (await catcher.client.get("/letters", params={"adherent_number": "1000002"})).json()
    assert [page["page"] for page in found["pages"]] == [2]
    page = await catcher.page("/letters?search=jounad")
    assert "Jounadès" in page.text
    assert "Héguedès" not in page.text
    assert "<b>EURL" not in (await catcher.page("/letters")).text


async def test_each_letter_is_a_pdf_a_picture_a_text_and_a_page(catcher: Catcher, lot: str):
    pdf = await catcher.client.get(f"/letters/{lot}/2.pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert len(pdfium.PdfDocument(pdf.content)) == 1
    png = await catcher.client.get(f"/letters/{lot}/1.png")
    assert png.content.startswith(b"\x89PNG")
    assert (await catcher.client.get(f"/letters/{lot}/1/text")).json()["text"] == ""
    assert (await catcher.page(f"/letters/{lot}/1")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "lot_01/3.pdf",
        "lot_01/0.png",
        "none/1.pdf",
        "..%2Fmail/1.pdf",
        "lot_01/x.pdf",
        f"lot_01/{'9' * 4301}.pdf",
    ],
    ids=lambda path: path[:20],
)
async def test_a_letter_that_is_not_there_is_not_found(catcher: Catcher, lot: str, path: str):
    assert (await catcher.client.get(f"/letters/{path}")).status_code == 404


async def test_a_foreign_host_is_refused(catcher: Catcher):
    assert (await catcher.client.get("/messages", headers={"Host": "evil.example"})).status_code == 400
