"""Pages of "Gérer mon compte utilisateur et les droits d'accès"."""

from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency

from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.forms import Form, read_form
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.refusals import NotFound
from libs.common.values.one_line import is_one_line
from libs.common.values.sentence import Sentence
from services.identity.account import store
from services.identity.account.change_account import (
    FactorIsMandatory,
    add_factor,
    drop_factor,
    end_other_session,
    person_of,
    rename,
    replace_password,
)
from services.identity.account.told_apart import minute, numbers_of_alike
from services.identity.mail.enqueue import Mail
from services.identity.openid.consents import given_by, revoke
from services.identity.sign_in import session_store
from services.identity.sign_in import store as people
from services.identity.sign_in.destination import Destination
from services.identity.sign_in.forgotten_password.routes import sentence_for
from services.identity.sign_in.password import Passwords, TooManySignIns
from services.identity.sign_in.password_rules import (
    LEAST_ALONE,
    LEAST_WITH_SECOND_FACTOR,
    PasswordGuessable,
    PasswordTooLong,
    PasswordTooShort,
)
from services.identity.sign_in.prove_again import require_fresh_step_up
from services.identity.sign_in.qr import qr_svg
from services.identity.sign_in.session import IDLE, LONGEST, Session, cookie_name
from services.identity.sign_in.sign_in import WrongCode, WrongCredentials
from services.identity.sign_in.throttle import Throttled
from services.identity.sign_in.totp import propose_totp
from services.identity.site.routes import AnyRequest, Site, browser_of, keep_cookie

PROBLEMS[FactorIsMandatory] = Problem(
    403, "factor-is-mandatory", "Cette protection est obligatoire pour les personnes d’un cabinet comptable."
)

LANDING = "/account/me?done"


@get("/account", access="session")
async def show_account(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
) -> Response[Any]:
    """The landing page: my account, and the rights of access."""
    async with db.transaction(site.slug) as tx:
        works_in_cabinet = await store.works_in_a_cabinet(tx, session.person_id)
    return site.page(request, "account.html", works_in_cabinet=works_in_cabinet)


@get("/account/me", access="session")
async def show_me(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Mon compte: who I am, what protects me, where I am signed in, whom I let in."""
    now = clock()
    async with db.transaction(site.slug) as tx:
        person = await person_of(tx, session)
        firms = await store.firms_of(tx, person.id)
        devices = await people.devices_of(tx, person.id)
        sessions = await session_store.live_sessions(
            tx, person.id, seen_after=now - IDLE, created_after=now - LONGEST
        )
        consents = await given_by(tx, person.id, now)
    return site.page(
        request,
        "account_me.html",
        consents=consents,
        person=person,
        firms=firms,
        devices=devices,
        sessions=sessions,
        session=session,
        numbers=numbers_of_alike(
            {
                one.id: (one.user_agent_family, minute(one.created_at), minute(one.last_seen_at))
                for one in sessions
            }
            | {device.id: (device.label, minute(device.created_at)) for device in devices}
        ),
        done="done" in request.query_params,
    )


@get("/account/name", access="session")
async def show_name(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
) -> Response[Any]:
    """One field."""
    async with db.transaction(site.slug) as tx:
        person = await person_of(tx, session)
    return site.page(request, "account_name.html", full_name=person.full_name)


@post("/account/name", access="session", status_code=303)
async def change_name(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Any name of at most 80 characters that can be read, as people write theirs."""
    typed = " ".join((await read_form(request)).text("name").split())
    if not is_one_line(typed, longest=80):
        wrong = {"name": Sentence("Indiquez vos prénom et nom, en 80 caractères au plus.")}
        return site.page(request, "account_name.html", status_code=422, full_name=typed, errors=wrong)
    async with db.transaction(site.slug) as tx:
        await rename(tx, await person_of(tx, session), typed, now=clock())
    return site.go(LANDING)


@get("/account/password", access="session")
async def show_change_password(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
) -> Response[Any]:
    """Present password, new password."""
    return await _password_page(request, site, session, db)


@post("/account/password", access="session", status_code=303)
async def change_password(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    mail: NamedDependency[Mail],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Every other browser signs out; this one gets another cookie."""
    form = await read_form(request)
    try:
        opened = await replace_password(
            db,
            passwords,
            mail,
            site.slug,
            session,
            present=form.secret("password"),
            chosen=form.secret("new-password"),
            browser=browser_of(request, site.slug),
            now=clock(),
        )
    except (PasswordTooShort, PasswordTooLong, PasswordGuessable) as refusal:
        return await _password_page(request, site, session, db, {"new-password": sentence_for(refusal)})
    except WrongCredentials:
        wrong = {"password": Sentence("Ce n’est pas votre mot de passe actuel. Vérifiez-le et recommencez.")}
        return await _password_page(request, site, session, db, wrong)
    except (Throttled, TooManySignIns) as refusal:
        problem = PROBLEMS[type(refusal)]
        wrong = {"password": problem.sentence}
        return await _password_page(request, site, session, db, wrong, status_code=problem.status)
    response = site.go(LANDING)
    keep_cookie(response, cookie_name(site.slug), opened.cookie)
    return response


@get("/account/factor", access="session")
async def show_factor(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Enrol an application, or remove it; either way after a step-up."""
    return await _factor_page(request, site, session, db, keys, clock)


@post("/account/factor", access="session", status_code=200)
async def enrol_factor(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The first value of the application; then the recovery codes, once."""
    typed = (await read_form(request)).text("code")
    try:
        async with db.transaction(site.slug) as tx:
            opened, codes = await add_factor(tx, keys, mail, session, typed, base=site.identity, now=clock())
    except WrongCode:
        async with db.transaction(site.slug) as tx:
            has_one_already = (await person_of(tx, session)).has_totp
        if has_one_already:
            # The page of its recovery codes was loaded again, and posts the value that has served.
            return site.go(LANDING)
        wrong = {
            "code": Sentence("Ce code n’est pas le bon, ou il a déjà servi. Attendez le suivant et tapez-le.")
        }
        return await _factor_page(request, site, session, db, keys, clock, wrong)
    page = site.page(
        request, "recovery_codes.html", codes=codes, onward=f"{site.identity}/{site.slug}{LANDING}"
    )
    keep_cookie(page, cookie_name(site.slug), opened.cookie)
    return page


@post("/account/factor/remove", access="session", status_code=303)
async def remove_factor(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Only with a password that may stand alone."""
    form = await read_form(request)
    browser = browser_of(request, site.slug)
    try:
        await drop_factor(
            db, passwords, mail, site.slug, session, form.secret("password"), browser=browser, now=clock()
        )
    except (PasswordTooShort, PasswordTooLong, PasswordGuessable):
        wrong = {"password": Sentence("Choisissez d’abord un mot de passe d’au moins 15 caractères.")}
        return await _factor_page(request, site, session, db, keys, clock, wrong)
    except WrongCredentials:
        wrong = {"password": Sentence("Ce mot de passe n’est pas le bon. Vérifiez-le et recommencez.")}
        return await _factor_page(request, site, session, db, keys, clock, wrong)
    return site.go(LANDING)


@post("/account/sessions/end", access="session", status_code=303)
async def end_one_session(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Sign another browser of one's own out."""
    key = _id(await read_form(request), "session")
    async with db.transaction(site.slug) as tx:
        await end_other_session(tx, session.person_id, key, now=clock())
    return site.go(LANDING)


@post("/account/devices/forget", access="session", status_code=303)
async def forget_one_device(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """It becomes a stranger again: its tries are throttled with everybody's."""
    key = _id(await read_form(request), "device")
    async with db.transaction(site.slug) as tx:
        if not await people.forget_device(tx, key, session.person_id, now=clock()):
            raise NotFound
    return site.go(LANDING)


@post("/account/consents/withdraw", access="session", status_code=303)
async def withdraw_consent(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Take back what that service was given for that firm."""
    key = _id(await read_form(request), "consent")
    async with db.transaction(site.slug) as tx:
        if not await revoke(tx, session.person_id, key, now=clock()):
            raise NotFound
    return site.go(LANDING)


ROUTES = [
    show_account,
    show_me,
    show_name,
    change_name,
    show_change_password,
    change_password,
    show_factor,
    enrol_factor,
    remove_factor,
    end_one_session,
    forget_one_device,
    withdraw_consent,
]


def _id(form: Form, name: str) -> UUID:
    try:
        return UUID(form.text(name))
    except ValueError as error:
        raise NotFound from error


async def _password_page(
    request: AnyRequest,
    site: Site,
    session: Session,
    db: Database,
    errors: dict[str, Sentence] | None = None,
    *,
    status_code: int = 422,
) -> Response[Any]:
    async with db.transaction(site.slug) as tx:
        person = await person_of(tx, session)
    return site.page(
        request,
        "account_password.html",
        status_code=status_code if errors else 200,
        email=person.email,
        least=LEAST_WITH_SECOND_FACTOR if person.has_totp else LEAST_ALONE,
        errors=errors or {},
    )


async def _factor_page(
    request: AnyRequest,
    site: Site,
    session: Session,
    db: Database,
    keys: KeyEncryption,
    clock: Clock,
    errors: dict[str, Sentence] | None = None,
) -> Response[Any]:
    now = clock()
    require_fresh_step_up(session, now)
    status_code = 422 if errors else 200
    async with db.transaction(site.slug) as tx:
        person = await person_of(tx, session)
        if not person.has_totp:
            enrolment = await propose_totp(
                tx, keys, person, shown_to=session.id, issuer=site.brand.name, now=now
            )
            return site.page(
                request,
                "enrol.html",
                status_code=status_code,
                destination=Destination(),
                errors=errors or {},
                enrolment=enrolment,
                qr=qr_svg(enrolment.otpauth),
                action=f"/{site.slug}/account/factor",
            )
    return site.page(
        request,
        "account_factor.html",
        status_code=status_code,
        email=person.email,
        must_keep=person.must_have_totp,
        errors=errors or {},
    )
