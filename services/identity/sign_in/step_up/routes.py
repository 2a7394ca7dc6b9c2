"""The page that asks again who you are, before an act that matters."""

from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency

from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.forms import read_form
from libs.common.http.problems import PROBLEMS
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.sentence import Sentence
from services.identity.mail.enqueue import Mail, MailLimitReached
from services.identity.sign_in.destination import Destination
from services.identity.sign_in.password import Passwords, TooManySignIns
from services.identity.sign_in.prove_again import begin_step_up
from services.identity.sign_in.routes import after_password
from services.identity.sign_in.session import Session
from services.identity.sign_in.sign_in import WrongCredentials
from services.identity.sign_in.throttle import Throttled
from services.identity.site.routes import NOTHING_DONE, AnyRequest, Site, browser_of


@get("/step-up", access="session")
async def show_step_up(
    request: AnyRequest, site: NamedDependency[Site], session: NamedDependency[Session]
) -> Response[Any]:
    """Why it is asked, and the password field."""
    return _page(request, site, site.asked(request), nothing_done=NOTHING_DONE in request.query_params)


@post("/step-up", access="session", status_code=303)
async def step_up(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The password; then the application's value, or the mailed code."""
    form = await read_form(request)
    destination = site.destination(form.text("flow"), form.text("continue"))
    browser = browser_of(request, site.slug)
    try:
        under_way = await begin_step_up(
            db,
            passwords,
            mail,
            keys,
            site.slug,
            session,
            form.secret("password"),
            browser=browser,
            now=clock(),
        )
    except WrongCredentials:
        return _page(
            request,
            site,
            destination,
            Sentence("Ce mot de passe n’est pas le bon. Vérifiez-le et recommencez."),
        )
    except (Throttled, TooManySignIns, MailLimitReached) as refusal:
        problem = PROBLEMS[type(refusal)]
        return _page(request, site, destination, problem.sentence, status_code=problem.status)
    return after_password(site, destination, under_way)


ROUTES = [show_step_up, step_up]


def _page(
    request: AnyRequest,
    site: Site,
    destination: Destination,
    wrong: Sentence | None = None,
    *,
    status_code: int = 422,
    nothing_done: bool = False,
) -> Response[Any]:
    errors = {"password": wrong} if wrong else {}
    return site.page(
        request,
        "step_up.html",
        status_code=status_code if wrong else 200,
        destination=destination,
        errors=errors,
        nothing_done=nothing_done,
    )
