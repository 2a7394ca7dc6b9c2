"""Pages of sign-in: password, second step, enrolment, sign-out."""

from datetime import datetime
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.forms import Form, read_form
from libs.common.http.pace import even_refusal
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.email import InvalidEmail, parse_email
from libs.common.values.sentence import Sentence
from services.identity.mail.enqueue import Mail, MailLimitReached
from services.identity.openid.flow import Requirements
from services.identity.sign_in import store
from services.identity.sign_in.client_behind import client_behind
from services.identity.sign_in.destination import Destination
from services.identity.sign_in.password import Passwords, TooManySignIns
from services.identity.sign_in.prove_again import StepUpRequired
from services.identity.sign_in.qr import qr_svg
from services.identity.sign_in.second_step import take_second_step, what_is_awaited
from services.identity.sign_in.session import (
    Session,
    SignInRequired,
    cookie_name,
    current_session,
    end_session,
    satisfies,
)
from services.identity.sign_in.sign_in import (
    SignedIn,
    StartAgain,
    UnderWay,
    WrongCode,
    WrongCredentials,
    begin,
    check_password,
    mail_code,
)
from services.identity.sign_in.stages import Stage
from services.identity.sign_in.throttle import Throttled
from services.identity.sign_in.totp import propose_totp
from services.identity.site.routes import (
    DEVICE_LASTS,
    NOTHING_DONE,
    AnyRequest,
    Site,
    browser_of,
    device_cookie_name,
    drop_cookie,
    keep_cookie,
    proof_cookie_name,
)

PROBLEMS[WrongCredentials] = Problem(
    422, "wrong-credentials", "Adresse électronique ou mot de passe incorrect."
)
PROBLEMS[WrongCode] = Problem(422, "wrong-code", "Ce code n’est pas le bon, ou il a déjà servi.")
PROBLEMS[StartAgain] = Problem(
    409, "start-again", "Cette connexion n’est plus en cours. Connectez-vous de nouveau."
)
PROBLEMS[Throttled] = Problem(429, "too-many-tries", "Trop d’essais. Patientez une minute, puis recommencez.")
PROBLEMS[SignInRequired] = Problem(401, "sign-in-required", "Connectez-vous pour continuer.")
PROBLEMS[StepUpRequired] = Problem(
    403, "step-up-required", "Prouvez de nouveau que c’est vous pour continuer."
)
PROBLEMS[TooManySignIns] = Problem(
    503,
    "too-many-sign-ins",
    "Beaucoup de personnes se connectent en ce moment. Réessayez dans quelques secondes.",
)
PROBLEMS[MailLimitReached] = Problem(
    429,
    "mail-limit-reached",
    "Nous venons de vous écrire. Patientez une minute avant de demander un autre message.",
)

PROOF_SECONDS = 15 * 60

BEGINS_AGAIN = "again"
"""In an address of sign-in: what was under way is over, and the page says so."""

WRONG_CODE = {
    Stage.TOTP: Sentence("Ce code n’est pas le bon, ou il a déjà servi. Attendez le suivant et tapez-le."),
    Stage.ENROL: Sentence("Ce code n’est pas le bon, ou il a déjà servi. Attendez le suivant et tapez-le."),
    Stage.MAILED_CODE: Sentence(
        "Ce code n’est pas le bon, ou il a déjà servi. Recopiez celui du dernier message, ou demandez-en un autre."
    ),
}
WRONG_RECOVERY_CODE = Sentence(
    "Ce code n’est pas l’un de vos codes de secours, ou il a déjà servi. Vérifiez-le, ou tapez-en un autre."
)

REFUSED_AT = 0.05
"""Seconds from one beat to the next at which a refused password is answered; a hash takes some twenty milliseconds."""

JUST_WRITTEN = {
    "code": Sentence("Nous venons de vous écrire. Attendez une minute avant de demander un autre code.")
}


@get("/sign-in", access="anyone")
async def show_sign_in(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The page behind "Espace sécurisé Entreprise", with the blue banner. Already signed in: straight on."""
    destination = site.asked(request)
    now = clock()
    asked = await client_behind(request, site, db, destination, now)
    async with db.transaction(site.slug) as tx:
        session = await current_session(tx, request.cookies.get(cookie_name(site.slug)), now)
        known = await store.find_person(tx, person_id=session.person_id) if session is not None else None
    if session is not None and not destination.flow:
        return site.leave(destination)
    # Whoever is signed in and is asked for more types no address again (WCAG 2.2 §3.3.7).
    email = (asked.login_hint if asked is not None else None) or (known.email if known is not None else "")
    if session is not None and (asked is None or _does(session, asked, now)):
        # Also when nothing is asked any more: the page there says so.
        return site.leave(destination)
    return _sign_in_page(
        request, site, destination, asked, email=email, query=frozenset(request.query_params)
    )


@post("/sign-in", access="anyone", status_code=303)
async def sign_in(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """E-mail and password; unknown and wrong have one answer."""
    form = await read_form(request)
    destination = _destination(site, form)
    browser = browser_of(request, site.slug)
    now = clock()
    asked = await client_behind(request, site, db, destination, now)
    typed = form.text("email")
    try:
        email = parse_email(typed)
    except InvalidEmail as error:
        return _sign_in_page(request, site, destination, asked, email=typed, errors={"email": error.reason})
    try:
        # Somebody's row takes a tenth of a millisecond more to read than nobody's.
        async with even_refusal(REFUSED_AT):
            person = await check_password(
                db,
                passwords,
                site.slug,
                email=email,
                password=form.secret("password"),
                browser=browser,
                now=now,
            )
        async with db.transaction(site.slug) as tx:
            outcome = await begin(
                tx, mail, keys, person, acr=asked.acr if asked else None, browser=browser, now=now
            )
    except WrongCredentials:
        wrong = {
            "email": Sentence("L’adresse électronique ou le mot de passe est incorrect. Vérifiez les deux.")
        }
        return _sign_in_page(request, site, destination, asked, email=typed, errors=wrong)
    except (Throttled, TooManySignIns, MailLimitReached) as refusal:
        return _sign_in_page(request, site, destination, asked, email=typed, refusal=refusal)
    return after_password(site, destination, outcome)


@get("/sign-in/second-factor", access="anyone")
async def show_second_factor(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The second step this browser owes: application, mailed code, or enrolment."""
    recovery = "recovery" in request.query_params
    return await _second_step_page(request, site, db, keys, clock, site.asked(request), recovery=recovery)


@post("/sign-in/second-factor", access="anyone", status_code=303)
async def second_factor(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """One value of the second step."""
    form = await read_form(request)
    destination = _destination(site, form)
    proof_cookie = request.cookies.get(proof_cookie_name(site.slug))
    browser = browser_of(request, site.slug)
    try:
        taken = await take_second_step(
            db,
            mail,
            keys,
            site.slug,
            proof_cookie,
            form.text("code"),
            base=site.identity,
            browser=browser,
            now=clock(),
        )
    except WrongCode:
        recovery = form.text("recovery") != ""
        return await _second_step_page(
            request, site, db, keys, clock, destination, is_wrong=True, recovery=recovery
        )
    except MailLimitReached:
        return await _second_step_page(
            request, site, db, keys, clock, destination, errors=JUST_WRITTEN, status=429
        )
    except StartAgain:
        return _start_again(site, destination)
    if taken.signed_in is None:
        onward = site.go(f"/sign-in/second-factor{destination.query}")
        keep_cookie(onward, proof_cookie_name(site.slug), proof_cookie or "", seconds=PROOF_SECONDS)
        return onward
    if taken.recovery_codes:
        await client_behind(request, site, db, destination, clock())
        onward = destination.address(site.slug, identity=site.identity, portal=site.portal)
        page = site.page(request, "recovery_codes.html", codes=taken.recovery_codes, onward=onward)
        return _with_session(page, site, taken.signed_in)
    return _with_session(site.leave(destination), site, taken.signed_in)


@post("/sign-in/second-factor/resend", access="anyone", status_code=303)
async def resend_code(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Another mailed code; the former ends."""
    destination = _destination(site, await read_form(request))
    now = clock()
    try:
        async with db.transaction(site.slug) as tx:
            awaited = await what_is_awaited(tx, request.cookies.get(proof_cookie_name(site.slug)), now)
            if awaited.stage is Stage.MAILED_CODE:
                await mail_code(tx, mail, keys, awaited.proof.id, awaited.person, now=now)
    except MailLimitReached:
        return await _second_step_page(
            request, site, db, keys, clock, destination, errors=JUST_WRITTEN, status=429
        )
    except StartAgain:
        return _start_again(site, destination)
    return site.go(f"/sign-in/second-factor{destination.query}")


@get("/sign-out", access="anyone")
async def show_sign_out(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """A button: an address alone signs nobody out."""
    async with db.transaction(site.slug) as tx:
        session = await current_session(tx, request.cookies.get(cookie_name(site.slug)), clock())
    return site.page(request, "sign_out.html", account=session.shown_as if session else "")


@post("/sign-out", access="anyone", status_code=200)
async def sign_out(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """End this browser's session and say so; the button of every page's head asks no question."""
    if (await read_form(request)).text("choice") == "stay":
        return Redirect(site.home, status_code=303)
    now = clock()
    async with db.transaction(site.slug) as tx:
        session = await current_session(tx, request.cookies.get(cookie_name(site.slug)), now)
        if session is not None:
            await end_session(tx, session.id, now=now)
    page = site.page(request, "signed_out.html")
    drop_cookie(page, cookie_name(site.slug))
    drop_cookie(page, proof_cookie_name(site.slug))
    return page


def _does(session: Session, asked: Requirements, now: datetime) -> bool:
    """Whether the present session is already what the client asks for (another tab signed in)."""
    return asked.prompt != "login" and satisfies(session, acr=asked.acr, max_age=asked.max_age, now=now)


ROUTES = [show_sign_in, sign_in, show_second_factor, second_factor, resend_code, show_sign_out, sign_out]


def after_password(site: Site, destination: Destination, outcome: SignedIn | UnderWay) -> Response[Any]:
    """Straight on, or to the second step with the cookie that continues it."""
    if isinstance(outcome, SignedIn):
        return _with_session(site.leave(destination), site, outcome)
    response = site.go(f"/sign-in/second-factor{destination.query}")
    keep_cookie(response, proof_cookie_name(site.slug), outcome.cookie, seconds=PROOF_SECONDS)
    return response


def _with_session(response: Response[Any], site: Site, signed_in: SignedIn) -> Response[Any]:
    keep_cookie(response, cookie_name(site.slug), signed_in.opened.cookie)
    drop_cookie(response, proof_cookie_name(site.slug))
    if signed_in.device_cookie is not None:
        keep_cookie(response, device_cookie_name(site.slug), signed_in.device_cookie, seconds=DEVICE_LASTS)
    return response


def _destination(site: Site, form: Form) -> Destination:
    return site.destination(form.text("flow"), form.text("continue"))


def _start_again(site: Site, destination: Destination) -> Response[Any]:
    response = site.go(f"/sign-in{destination.with_(BEGINS_AGAIN)}")
    drop_cookie(response, proof_cookie_name(site.slug))
    return response


def _sign_in_page(
    request: AnyRequest,
    site: Site,
    destination: Destination,
    asked: Requirements | None,
    *,
    email: str,
    errors: dict[str, Sentence] | None = None,
    refusal: Throttled | TooManySignIns | MailLimitReached | None = None,
    query: frozenset[str] = frozenset(),
) -> Response[str]:
    if isinstance(refusal, MailLimitReached):
        errors = {"password": PROBLEMS[MailLimitReached].sentence}
    status = 422 if errors else 200
    if refusal is not None:
        status = PROBLEMS[type(refusal)].status
    lapsed = bool(destination.flow) and asked is None
    page = site.page(
        request,
        "sign_in.html",
        status_code=status,
        email=email,
        # Told before the password is typed, not after the code.
        destination=Destination() if lapsed else destination,
        lapsed=lapsed,
        nothing_done=NOTHING_DONE in query,
        begins_again=BEGINS_AGAIN in query,
        client_name=asked.client_name if asked else "",
        errors=errors,
        waiting=isinstance(refusal, TooManySignIns),
        throttled=isinstance(refusal, Throttled),
        alarm=isinstance(refusal, TooManySignIns | Throttled) or bool(query & {NOTHING_DONE, BEGINS_AGAIN}),
    )
    if status == 503:
        page.headers["Retry-After"] = "5"
    return page


async def _second_step_page(
    request: AnyRequest,
    site: Site,
    db: Database,
    keys: KeyEncryption,
    clock: Clock,
    destination: Destination,
    *,
    errors: dict[str, Sentence] | None = None,
    status: int = 422,
    is_wrong: bool = False,
    recovery: bool = False,
) -> Response[Any]:
    now = clock()
    enrolment = None
    await client_behind(request, site, db, destination, now)
    try:
        async with db.transaction(site.slug) as tx:
            awaited = await what_is_awaited(tx, request.cookies.get(proof_cookie_name(site.slug)), now)
            if awaited.stage is Stage.ENROL:
                enrolment = await propose_totp(
                    tx,
                    keys,
                    awaited.person,
                    shown_to=awaited.proof.id,
                    issuer=site.brand.name,
                    now=now,
                )
    except StartAgain:
        return _start_again(site, destination)
    recovery = recovery and awaited.stage is Stage.TOTP
    if is_wrong:
        errors = {"code": WRONG_RECOVERY_CODE if recovery else WRONG_CODE[awaited.stage]}
    return site.page(
        request,
        "enrol.html" if enrolment else "second_factor.html",
        status_code=status if errors else 200,
        destination=destination,
        errors=errors,
        email=awaited.person.email,
        is_step_up=awaited.proof.session_id is not None,
        recovery=recovery,
        by_mail=awaited.stage is Stage.MAILED_CODE,
        deadline=awaited.proof.code_expires_at,
        enrolment=enrolment,
        qr=qr_svg(enrolment.otpauth) if enrolment else "",
        action=f"/{site.slug}/sign-in/second-factor",
    )
