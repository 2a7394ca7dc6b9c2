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
async def show_forgotten_password(request: AnyRequest, site: NamedDependency[Site]) -> Response[Any]:
    """One field: the address."""
    return site.page(request, "forgotten_password.html", email="")


@post("/forgotten-password", access="anyone", status_code=200)
async def forgotten_password(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    mail: NamedDependency[Mail],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The same page whoever has this address, and whether or not a mail left."""
    typed = (await read_form(request)).text("email")
    try:
        email = parse_email(typed)
    except InvalidEmail as error:
        wrong = {"email": error.reason}
        return site.page(request, "forgotten_password.html", status_code=422, email=typed, errors=wrong)
    device_cookie = request.cookies.get(device_cookie_name(site.slug))
    # Writing to somebody takes longer than finding nobody: both are answered at one pace.
    async with even_pace(ANSWERED_AFTER), db.transaction(site.slug) as tx:
        await ask_new_password(tx, mail, email, base=site.identity, device_cookie=device_cookie, now=clock())
    return site.page(request, "forgotten_password_sent.html", email=email)


@get("/new-password", access="anyone")
async def show_new_password(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """What the mailed link opens: two fields, nothing spent."""
    return await _page(request, site, db, clock, request.query_params.get("link", ""))


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
        return await _page(request, site, db, clock, link, wrong=sentence_for(refusal))
    except TooManySignIns as refusal:
        return await _page(
            request, site, db, clock, link, wrong=PROBLEMS[type(refusal)].sentence, status_code=503
        )
    except LinkNotUsable:
        return _dead_link(request, site)
    page = site.page(request, "password_changed.html")
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
    *,
    wrong: Sentence | None = None,
    status_code: int = 422,
) -> Response[Any]:
    try:
        async with db.transaction(site.slug) as tx:
            owners = await owner_of_link(tx, link, now=clock())
    except LinkNotUsable:
        return _dead_link(request, site)
    return site.page(
        request,
        "new_password.html",
        status_code=status_code if wrong else 200,
        link=link,
        email=owners.person.email,
        is_disavowal=owners.is_disavowal,
        drops_factor=owners.drops_factor,
        least=LEAST_WITH_SECOND_FACTOR if owners.keeps_factor else LEAST_ALONE,
        errors={"new-password": wrong} if wrong else {},
    )


def _dead_link(request: AnyRequest, site: Site) -> Response[Any]:
    return site.page(request, "reset_link_dead.html", status_code=410)
