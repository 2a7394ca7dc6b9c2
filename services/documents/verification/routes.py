"""The public page: anyone who holds a paper, without account, cookie or script."""

from typing import Any

from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.http.application import Clock
from libs.common.http.client_address import client_address, network_of
from libs.common.http.json_bodies import UnreadableBody
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.pages.brand import DEFAULT_COLOUR, Brand, ColourNotReadable, parse_colour
from libs.common.pages.environment import PLATFORM, Pages, language_of
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from services.documents.attestations.issue import Workshop
from services.documents.caisses.store import Caisse, find_caisse
from services.documents.verification.check_file import CheckBusy, Line, check_content
from services.documents.verification.look_up import Checked, look_up_code, look_up_digest, look_up_qr_code

PROBLEMS[CheckBusy] = Problem(
    503, "unavailable", "Trop de fichiers sont en cours de vérification. Réessayez."
)

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
LONGEST_TYPED = 64
LARGEST_UPLOAD = 4 * 1024 * 1024
"""A dropped PDF with its envelope; every other body of the service keeps the limit of all."""
AnyRequest = Request[Any, Any, Any]


async def provide_caisse_slug(caisse: FromPath[str]) -> CaisseSlug:
    """The dependency `caisse_slug`. Raises `InvalidCaisseSlug`, which answers like an unknown caisse."""
    return parse_caisse_slug(caisse)


@get("/{caisse:str}/verification", access="anyone")
async def show_verification(
    request: AnyRequest,
    caisse_slug: NamedDependency[CaisseSlug],
    shop: NamedDependency[Workshop],
    pages: NamedDependency[Pages],
) -> Response[Any]:
    """One field for the code, or a PDF to drop."""
    caisse = await _caisse(shop, caisse_slug)
    return _page(request, pages, "verification.html", caisse, action=_action(caisse_slug))


@post("/{caisse:str}/verification", access="anyone", csrf=False, status_code=200)
async def check_code(
    request: AnyRequest,
    caisse_slug: NamedDependency[CaisseSlug],
    shop: NamedDependency[Workshop],
    pages: NamedDependency[Pages],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Somebody typed a code. Nothing is signed in, so there is nothing to forge and no cookie to set."""
    caisse = await _caisse(shop, caisse_slug)
    typed = await _typed_code(request)
    checked = await look_up_code(shop, caisse_slug, typed, now=clock())
    return _answer(request, pages, caisse, checked, action=_action(caisse_slug))


@post(
    "/{caisse:str}/verification/file",
    access="anyone",
    csrf=False,
    status_code=200,
    request_max_body_size=LARGEST_UPLOAD,
)
async def check_file(
    request: AnyRequest,
    caisse_slug: NamedDependency[CaisseSlug],
    shop: NamedDependency[Workshop],
    pages: NamedDependency[Pages],
    clock: NamedDependency[Clock],
    line: NamedDependency[Line],
) -> Response[Any]:
    """Somebody dropped a PDF: it is read in memory, judged, and forgotten.

    Without a place among those being read it is not even read; without one in the line, not opened.
    """
    caisse = await _caisse(shop, caisse_slug)
    network = _network_of(request)
    with line.reading.place(network):
        sent = (await request.form()).get("file")
    with line.waiting.place(network):
        content = await sent.read() if isinstance(sent, UploadFile) else b""
        examined = await check_content(shop, caisse_slug, content)
    checked = None
    if examined.verdict == "genuine":
        digest = bytes.fromhex(examined.byte_range_digest)
        checked = await look_up_digest(shop, caisse_slug, digest, now=clock())
    verdict = "unknown" if examined.verdict == "genuine" else examined.verdict
    return _answer(
        request, pages, caisse, checked, action=_action(caisse_slug), verdict=verdict, by_file=True
    )


@get("/a/{code:str}", access="anyone")
async def answer_of_qr_code(
    request: AnyRequest,
    code: FromPath[str],
    shop: NamedDependency[Workshop],
    pages: NamedDependency[Pages],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The address a QR code holds: the answer at once, whatever the caisse."""
    found = await look_up_qr_code(shop, code[:LONGEST_TYPED], now=clock())
    if found is None:
        return _answer(request, pages, None, None, action="")
    slug, checked = found
    return _answer(request, pages, await _caisse(shop, slug), checked, action=_action(slug))


def _network_of(request: AnyRequest) -> str:
    peer = request.client.host if request.client else None
    forwarded = request.headers.getall("x-forwarded-for", [])
    return network_of(client_address(peer, forwarded, request.app.state.proxies))


def _action(slug: CaisseSlug) -> str:
    return f"/{slug}/verification"


async def _caisse(shop: Workshop, slug: CaisseSlug) -> Caisse:
    async with shop.db.transaction(slug) as tx:
        caisse = await find_caisse(tx, slug)
    if caisse is None:
        raise NotFound
    return caisse


async def _typed_code(request: AnyRequest) -> str:
    """The code, from a form or a JSON object; anything else is a code nobody has."""
    if request.content_type[0] == "application/json":
        try:
            told = await request.json()
        except UnreadableBody:
            return ""
        typed = told.get("code") if isinstance(told, dict) else ""  # type: ignore[reportUnknownMemberType]
    else:
        typed = (await request.form()).get("code")
    return typed[:LONGEST_TYPED] if isinstance(typed, str) else ""


def _answer(
    request: AnyRequest,
    pages: Pages,
    caisse: Caisse | None,
    checked: Checked | None,
    *,
    action: str,
    verdict: str = "unknown",
    by_file: bool = False,
) -> Response[Any]:
    """The result for a person or a program: 200 with what is printed, or 404 with nothing but "unknown"."""
    status = 200 if checked is not None else 404
    if (
        "text/html" not in request.headers.get("accept", "text/html")
        and request.headers.get("accept") != "*/*"
    ):
        body = {"result": verdict} if checked is None else _as_told(checked)
        return Response(body, status_code=status, headers=HEADERS)
    return _page(
        request,
        pages,
        "result.html",
        caisse,
        status_code=status,
        checked=checked,
        verdict=verdict,
        by_file=by_file,
        action=action,
    )


def _as_told(checked: Checked) -> dict[str, Any]:
    payload = checked.payload
    return {
        "result": "known",
        "state": checked.state,
        "state_since": checked.state_since,
        "checked_at": checked.checked_at,
        "attestation": {
            "number": payload.id,
            "caisse": payload.caisse.nom,
            "legal_name": payload.adherent.raison_sociale,
            "adherent_number": payload.adherent.numero,
            "siren": payload.adherent.siren,
            "siret": payload.adherent.siret,
            "as_of": payload.a_jour_au,
            "issued_at": payload.emise_le,
            "valid_until": payload.valable_jusqu_au,
        },
    }


def _page(
    request: AnyRequest,
    pages: Pages,
    name: str,
    caisse: Caisse | None,
    *,
    status_code: int = 200,
    **values: Any,
) -> Response[str]:
    # Not `Pages.render`: that one names the browser with a cookie, and this page has none.
    language = language_of(request)
    text = pages.html(name, language=language, brand=brand_of(caisse), **values)
    headers = {**HEADERS, "Content-Language": language}
    return Response(text, status_code=status_code, media_type=MediaType.HTML, headers=headers)


def brand_of(caisse: Caisse | None) -> Brand:
    """The caisse's look, from what identity told of it; the platform's where no caisse is known."""
    if caisse is None:
        return PLATFORM
    try:
        colour = parse_colour(caisse.colour)
    except ColourNotReadable:
        colour = DEFAULT_COLOUR
    return Brand(
        slug=caisse.slug,
        name=caisse.name,
        colour=colour,
        phone=caisse.phone,
        email=caisse.email,
        website=caisse.website,
    )
