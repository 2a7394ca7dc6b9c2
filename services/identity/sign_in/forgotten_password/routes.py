"""Forgotten password: ask for a link, choose another password with it. Never a sign-in by itself."""

from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency

from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.forms import read_form
from libs.common.http.pace import even_pace
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.values.email import InvalidEmail, parse_email
from libs.common.values.sentence import Sentence
from services.identity.mail.enqueue import Mail
from services.identity.sign_in.client_behind import still_leading
from services.identity.sign_in.destination import Destination
from services.identity.sign_in.new_password import (
    LinkNotUsable,
    ask_new_password,
    owner_of_link,
    set_password_by_link,
)
from services.identity.sign_in.password import Passwords, TooManySignIns
from services.identity.sign_in.password_rules import (
    LEAST_ALONE,
    LEAST_WITH_SECOND_FACTOR,
    PasswordGuessable,
    PasswordTooLong,
    PasswordTooShort,
)
from services.identity.site.routes import (
    DEVICE_LASTS,
    AnyRequest,
    Site,
    browser_of,
    device_cookie_name,
    keep_cookie,
)

ANSWERED_AFTER = 0.25
"""Seconds; some thirty times what the work takes."""

PROBLEMS[LinkNotUsable] = Problem(410, "link-not-usable", "Ce lien n’est plus utilisable.")
PROBLEMS[PasswordTooShort] = Problem(422, "password-too-short", "Ce mot de passe est trop court.")
PROBLEMS[PasswordTooLong] = Problem(
    422, "password-too-long", "Ce mot de passe est trop long : 256 caractères au plus."
)
PROBLEMS[PasswordGuessable] = Problem(422, "password-guessable", "Ce mot de passe se devine trop facilement.")


def sentence_for(refusal: PasswordTooShort | PasswordTooLong | PasswordGuessable) -> Sentence:
    """How to mend a refused password."""
    if isinstance(refusal, PasswordTooShort):
        return Sentence(
            "Ce mot de passe est trop court. Choisissez au moins %(least)s caractères.", least=refusal.least
        )
    if isinstance(refusal, PasswordTooLong):
        return Sentence("Ce mot de passe est trop long. Choisissez au plus 256 caractères.")
    return Sentence(
        "Ce mot de passe se devine trop facilement. "
        "Choisissez par exemple quatre ou cinq mots sans rapport entre eux."
    )


@get("/forgotten-password", access="anyone")
async def show_forgotten_password(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """One field: the address. Whoever was on the way to a client still is."""
    destination, _ = await still_leading(request, site, db, site.asked(request), clock())
    return site.page(request, "forgotten_password.html", email="", destination=destination)


@post("/forgotten-password", access="anyone", status_code=200)
async def forgotten_password(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    mail: NamedDependency[Mail],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The same page whoever has this address, and whether or not a mail left."""
    form = await read_form(request)
    typed, now = form.text("email"), clock()
    asked = site.destination(form.text("flow"), form.text("continue"))
    destination, _ = await still_leading(request, site, db, asked, now)
    try:
        email = parse_email(typed)
    except InvalidEmail as error:
        wrong = {"email": error.reason}
        return site.page(
            request,
            "forgotten_password.html",
            status_code=422,
            email=typed,
            destination=destination,
            errors=wrong,
        )
    device_cookie = request.cookies.get(device_cookie_name(site.slug))
    # Writing to somebody takes longer than finding nobody: both are answered at one pace.
    async with even_pace(ANSWERED_AFTER), db.transaction(site.slug) as tx:
        await ask_new_password(
            tx,
            mail,
            email,
            base=site.identity,
            onward=destination,
            device_cookie=device_cookie,
            now=now,
        )
    return site.page(request, "forgotten_password_sent.html", email=email, destination=destination)


@get("/new-password", access="anyone")
async def show_new_password(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """What the mailed link opens: two fields, nothing spent."""
    return await _page(request, site, db, clock, request.query_params.get("link", ""), site.asked(request))


@post("/new-password", access="anyone", status_code=200)
async def new_password(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    mail: NamedDependency[Mail],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Spend the link on a password that holds."""
    form = await read_form(request)
    link = form.text("link")
    asked = site.destination(form.text("flow"), form.text("continue"))
    try:
        device_cookie = await set_password_by_link(
            db,
            passwords,
            mail,
            site.slug,
            link,
            form.secret("new-password"),
            browser=browser_of(request, site.slug),
            now=clock(),
        )
    except (PasswordTooShort, PasswordTooLong, PasswordGuessable) as refusal:
        return await _page(request, site, db, clock, link, asked, wrong=sentence_for(refusal))
    except TooManySignIns as refusal:
        return await _page(
            request, site, db, clock, link, asked, wrong=PROBLEMS[type(refusal)].sentence, status_code=503
        )
    except LinkNotUsable:
        destination, _ = await still_leading(request, site, db, asked, clock())
        return _dead_link(request, site, destination)
    destination, client_name = await still_leading(request, site, db, asked, clock())
    page = site.page(
        request, "password_changed.html", sign_in=_sign_in(site, destination), client_name=client_name
    )
    if device_cookie is not None:
        keep_cookie(page, device_cookie_name(site.slug), device_cookie, seconds=DEVICE_LASTS)
    return page


ROUTES = [show_forgotten_password, forgotten_password, show_new_password, new_password]


async def _page(
    request: AnyRequest,
    site: Site,
    db: Database,
    clock: Clock,
    link: str,
    asked: Destination,
    *,
    wrong: Sentence | None = None,
    status_code: int = 422,
) -> Response[Any]:
    destination, _ = await still_leading(request, site, db, asked, clock())
    try:
        async with db.transaction(site.slug) as tx:
            owners = await owner_of_link(tx, link, now=clock())
    except LinkNotUsable:
        return _dead_link(request, site, destination)
    return site.page(
        request,
        "new_password.html",
        status_code=status_code if wrong else 200,
        link=link,
        destination=destination,
        email=owners.person.email,
        is_disavowal=owners.is_disavowal,
        drops_factor=owners.drops_factor,
        least=LEAST_WITH_SECOND_FACTOR if owners.keeps_factor else LEAST_ALONE,
        errors={"new-password": wrong} if wrong else {},
    )


def _dead_link(request: AnyRequest, site: Site, destination: Destination) -> Response[Any]:
    return site.page(
        request,
        "reset_link_dead.html",
        status_code=410,
        destination=destination,
        sign_in=_sign_in(site, destination),
    )


def _sign_in(site: Site, destination: Destination) -> str:
    """Where to sign in: on the way to what was asked, else by the portal's own door."""
    return f"/{site.slug}/sign-in{destination.query}" if destination.query else f"{site.home}/sign-in"
