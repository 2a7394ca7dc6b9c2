"""What the mail catcher answers: JSON for scripts, pages for people."""

from typing import Any

import msgspec
from litestar import Request, Response, delete, get, put
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery, JSONBody

from libs.common.pages.environment import Pages
from libs.common.runtime.mail_catcher.letters import LetterPage, Lot, NoSuchLetter, PostOffice
from libs.common.runtime.mail_catcher.mailbox import Message
from libs.common.runtime.mail_catcher.smtp import Catcher, Fault

LETTERS_A_PAGE = 60
AnyRequest = Request[Any, Any, Any]


@get("/", access="anyone", sync_to_thread=False)
def message_list(request: AnyRequest, to: FromQuery[str | None] = None) -> Response[str]:
    """The caught mails, newest first."""
    catcher: Catcher = request.app.state.catcher
    return _page(request, "messages.html", messages=catcher.mailbox.newest(to)[:200], to=to or "")


@get("/messages", access="anyone", sync_to_thread=False)
def messages(request: AnyRequest, to: FromQuery[str | None] = None) -> Response[bytes]:
    """The caught mails as JSON, newest first; `to` keeps those for one address."""
    catcher: Catcher = request.app.state.catcher
    return _json(catcher.mailbox.newest(to))


@delete("/messages", access="anyone", status_code=204, sync_to_thread=False)
def forget_messages(request: AnyRequest) -> None:
    """Throw every caught mail away."""
    catcher: Catcher = request.app.state.catcher
    catcher.mailbox.empty()


@get("/messages/{message_id:str}", access="anyone", sync_to_thread=False)
def message(request: AnyRequest, message_id: FromPath[str]) -> Response[Any]:
    """One mail to be read, its links to be followed; JSON for who asks for it."""
    found = _message(request, message_id)
    if _wants_json(request):
        return _json(found)
    return _page(request, "message.html", message=found)


@get("/messages/{message_id:str}/html", access="anyone", sync_to_thread=False)
def message_body(request: AnyRequest, message_id: FromPath[str]) -> Response[str]:
    """The mail as its sender laid it out; may run nothing and fetch nothing."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups allow-top-navigation"
    return Response(
        _message(request, message_id).html,
        media_type="text/html",
        headers={"Content-Security-Policy": policy},
    )


@get("/faults", access="anyone", sync_to_thread=False)
def fault(request: AnyRequest) -> Response[bytes]:
    """How the catcher misbehaves now."""
    catcher: Catcher = request.app.state.catcher
    return _json(catcher.fault)


@put("/faults", access="anyone", sync_to_thread=False)
def set_fault(request: AnyRequest, data: JSONBody[Fault]) -> Response[bytes]:
    """Misbehave from the next mail on."""
    catcher: Catcher = request.app.state.catcher
    catcher.fault = data
    return _json(data)


@get("/letters", access="anyone")
async def letters(
    request: AnyRequest,
    adherent_number: FromQuery[str | None] = None,
    search: FromQuery[str | None] = None,
    page: FromQuery[int] = 1,
) -> Response[Any]:
    """The print lots, newest first: JSON, or a page for a browser."""
    office: PostOffice = request.app.state.post_office
    lots = office.lots()
    if "text/html" not in request.headers.get("accept", ""):
        return _json([_shown(lot, adherent_number) for lot in lots])
    wanted = (search or adherent_number or "").strip().lower()
    found = [(lot, letter) for lot in lots for letter in lot.pages if _matches(letter, wanted)]
    first = (max(page, 1) - 1) * LETTERS_A_PAGE
    return _page(
        request,
        "letters.html",
        letters=found[first : first + LETTERS_A_PAGE],
        count=len(found),
        search=search or adherent_number or "",
        page=max(page, 1),
        pages=-(-len(found) // LETTERS_A_PAGE),
    )


@get("/letters/{lot:str}/{page:str}", access="anyone", sync_to_thread=True)
def letter(request: AnyRequest, lot: FromPath[str], page: FromPath[str]) -> Response[Any]:
    """One letter: `3.pdf`, `3.png`, or `3` (a page for a browser, else the PDF)."""
    office: PostOffice = request.app.state.post_office
    number, _, form = page.partition(".")
    accepts = request.headers.get("accept", "")
    try:
        if form == "png" or (not form and accepts.startswith("image/")):
            return Response(office.png(lot, _number(number)), media_type="image/png")
        if form == "pdf" or "text/html" not in accepts:
            return Response(office.pdf(lot, _number(number)), media_type="application/pdf")
        return _page(
            request, "letter.html", lot=lot, page=_number(number), text=office.text(lot, _number(number))
        )
    except NoSuchLetter as error:
        raise NotFoundException from error


@get("/letters/{lot:str}/{page:int}/text", access="anyone", sync_to_thread=True)
def letter_text(request: AnyRequest, lot: FromPath[str], page: FromPath[int]) -> Response[bytes]:
    """What one letter says: `{"text": "…"}`."""
    office: PostOffice = request.app.state.post_office
    try:
        return _json({"lot": lot, "page": page, "text": office.text(lot, page)})
    except NoSuchLetter as error:
        raise NotFoundException from error


def _message(request: AnyRequest, message_id: str) -> Message:
    catcher: Catcher = request.app.state.catcher
    found = catcher.mailbox.find(message_id)
    if found is None:
        raise NotFoundException
    return found


def _shown(lot: Lot, adherent_number: str | None) -> dict[str, Any]:
    base = f"/letters/{lot.lot}"
    return {
        "lot": lot.lot,
        "caisse": lot.caisse,
        "kind": lot.kind,
        "post_on": lot.post_on,
        "arrived_at": lot.arrived_at,
        "pages": [
            msgspec.structs.asdict(letter)
            | {
                "pdf": f"{base}/{letter.page}.pdf",
                "png": f"{base}/{letter.page}.png",
                "text": f"{base}/{letter.page}/text",
            }
            for letter in lot.pages
            if adherent_number is None or letter.adherent_number == adherent_number
        ],
    }


def _matches(letter: LetterPage, wanted: str) -> bool:
    return not wanted or wanted in letter.adherent_number.lower() or wanted in letter.recipient.lower()


def _number(typed: str) -> int:
    if not typed.isdecimal() or len(typed) > 9:
        raise NoSuchLetter(typed)
    return int(typed)


def _wants_json(request: AnyRequest) -> bool:
    return "text/html" not in request.headers.get("accept", "")


def _json(answer: object) -> Response[bytes]:
    return Response(
        msgspec.json.encode(answer), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _page(request: AnyRequest, name: str, **values: Any) -> Response[str]:
    pages: Pages = request.app.state.pages
    return Response(pages.html(name, **values), media_type="text/html", headers={"Cache-Control": "no-store"})
