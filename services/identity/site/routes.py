"""What every page of identity stands on: its caisse, its session, its cookies, its ways out."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.routes import HTTPRoute

from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.client_address import client_address, network_of
from libs.common.pages.brand import Brand, brand_of
from libs.common.pages.environment import Pages
from libs.common.refusals import NotFound
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from libs.common.values.sentence import Sentence
from services.identity.caisses import store as caisses
from services.identity.caisses.caisse import Caisse
from services.identity.sign_in.destination import Destination, parse_destination
from services.identity.sign_in.session import Session, SignInRequired, cookie_name, current_session
from services.identity.sign_in.sign_in import Browser

AnyRequest = Request[Any, Any, Any]
AnyResponse = Response[Any]

SESSION = "espace.session"
"""Where the guard leaves the session it found, in the request's state."""

DEVICE_LASTS = 400 * 86400
"""Seconds; browsers keep no cookie longer."""


class Site(NamedTuple):
    """The pages and addresses of one caisse; links never come from a request's Host."""

    caisse: Caisse
    brand: Brand
    pages: Pages
    identity: str
    portal: str

    @property
    def slug(self) -> CaisseSlug:
        return self.caisse.slug

    @property
    def home(self) -> str:
        return f"{self.portal}/{self.slug}"

    def page(
        self,
        request: AnyRequest,
        name: str,
        *,
        status_code: int = 200,
        errors: Mapping[str, Sentence] | None = None,
        **values: Any,
    ) -> Response[str]:
        """A template as an answer, in the colours of the caisse. `site`, `base` and `home` are known to it.

        `errors` maps a field's id to what to mend, and marks the title.
        Where the address asks for a session, the head of the page says whose it is, and ends it.
        """
        base = f"/{self.slug}"
        session: Session | None = request.scope["state"].get(SESSION)
        if session is not None:
            values.setdefault("who", {"name": session.shown_as, "sign_out": f"{base}/sign-out"})
        return self.pages.render(
            name,
            request,
            brand=self.brand,
            status_code=status_code,
            base=base,
            home=self.home,
            errors=errors or {},
            **values,
        )

    def go(self, path: str) -> Redirect:
        """303 to a path of this caisse on identity: `/sign-in/second-factor`."""
        return Redirect(f"{self.identity}/{self.slug}{path}", status_code=303)

    def leave(self, destination: Destination) -> Redirect:
        """303 to where the sign-in was to lead."""
        return Redirect(
            destination.address(self.slug, identity=self.identity, portal=self.portal), status_code=303
        )

    def destination(self, flow: str, path: str) -> Destination:
        return parse_destination(self.slug, flow=flow, path=path)

    def asked(self, request: AnyRequest) -> Destination:
        """The destination in this request's address."""
        query = request.query_params
        return self.destination(query.get("flow", ""), query.get("continue", ""))


async def provide_caisse(slug: FromPath[str], db: NamedDependency[Database]) -> Caisse:
    """The caisse of the address. Raises `InvalidCaisseSlug` or `NotFound`: one answer."""
    key = parse_caisse_slug(slug)
    found = await caisses.find(db.one_statement(key), key)
    if found is None:
        raise NotFound
    return found


async def provide_brand(caisse: NamedDependency[Caisse]) -> Brand:
    return brand_of(caisse)


async def provide_site(
    caisse: NamedDependency[Caisse],
    brand: NamedDependency[Brand],
    pages: NamedDependency[Pages],
    settings: NamedDependency[Settings],
) -> Site:
    return Site(caisse, brand, pages, settings.identity.base, settings.portal.base)


async def provide_session(request: AnyRequest) -> Session:
    """The session that `require_session` found before the handler ran."""
    session = request.scope["state"].get(SESSION)
    if session is None:
        raise SignInRequired
    return session


async def require_session(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """What the guard asks of `access="session"`: a live session of this caisse. Raises `SignInRequired`."""
    db: Database = connection.app.state.db
    clock: Clock = connection.app.state.clock
    slug = parse_caisse_slug(str(connection.path_params.get("slug", "")))
    async with db.transaction(slug) as tx:
        session = await current_session(tx, connection.cookies.get(cookie_name(slug)), clock())
    if session is None:
        raise SignInRequired
    connection.scope["state"][SESSION] = session


NOTHING_DONE = "unsent"
"""In an address of sign-in or step-up: a form was posted on the way, and nothing was done of it."""


def to_sign_in(request: AnyRequest, _: SignInRequired) -> Response[Any]:
    """Sign in, then come back here. A form that was posted is shown again, empty: nothing is replayed."""
    return Redirect(f"/{request.path_params.get('slug', '')}/sign-in{_way_back(request)}", status_code=303)


def to_step_up(request: AnyRequest, _: Exception) -> Response[Any]:
    """Prove it is still you, then come back here."""
    return Redirect(f"/{request.path_params.get('slug', '')}/step-up{_way_back(request)}", status_code=303)


def _way_back(request: AnyRequest) -> str:
    """The query that leads back here; for a form that was posted, to the page above that can be shown."""
    if request.method == "GET":
        query = request.scope["query_string"].decode("latin-1")
        return f"?continue={quote(request.url.path + (f'?{query}' if query else ''), safe='')}"
    return f"?continue={quote(_page_at(request.app, request.url.path), safe='')}&{NOTHING_DONE}"


def _page_at(app: Litestar, path: str) -> str:
    """The page of that address, else the nearest above it: what only takes forms shows none."""
    shown = [
        route.path.split("/")
        for route in app.routes
        if isinstance(route, HTTPRoute) and "GET" in route.methods
    ]
    while path.count("/") > 1 and not any(_fits(path.split("/"), pattern) for pattern in shown):
        path = path.rpartition("/")[0]
    return path


def _fits(path: list[str], pattern: list[str]) -> bool:
    return len(path) == len(pattern) and all(
        wanted.startswith("{") or part == wanted for part, wanted in zip(path, pattern, strict=True)
    )


def browser_of(request: AnyRequest, slug: CaisseSlug) -> Browser:
    """What the request says of its browser: cookies, network, name. None of it is a proof."""
    return Browser(
        device_cookie=request.cookies.get(device_cookie_name(slug)),
        session_cookie=request.cookies.get(cookie_name(slug)),
        network=network_seen(request),
        user_agent=request.headers.get("user-agent", "")[:400],
    )


def network_seen(request: AnyRequest) -> str:
    """The neighbourhood that this request comes from, for the throttles."""
    return network_of(_address_of(request))


def _address_of(request: AnyRequest) -> str | None:
    """Behind our proxy every request has the proxy's address: one neighbour would spend everybody's allowance."""
    peer = request.client.host if request.client else None
    return client_address(peer, request.headers.getall("x-forwarded-for", []), request.app.state.proxies)


def device_cookie_name(slug: CaisseSlug) -> str:
    return f"__Host-espace-{slug}-device"


def proof_cookie_name(slug: CaisseSlug) -> str:
    """The browser's half of a sign-in or step-up under way."""
    return f"__Host-espace-{slug}-proof"


def keep_cookie(response: Response[Any], name: str, value: str, *, seconds: int | None = None) -> None:
    """Host-only, Secure, HttpOnly, Lax: no script reads it, no other site's form sends it."""
    response.set_cookie(
        key=name, value=value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax"
    )


def drop_cookie(response: Response[Any], name: str) -> None:
    keep_cookie(response, name, "", seconds=0)
