"""Pages of the mailed confirmation: mailbox, button, attachment, "C'est fait"."""

from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency

from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.forms import read_form
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.sentence import Sentence
from services.identity.first_connection import store
from services.identity.first_connection.ask_confirmation import ask_confirmation
from services.identity.first_connection.attach_firm import NotYourAddress, attach_firm
from services.identity.first_connection.confirm_email import (
    AccountFrozen,
    AddressAlreadyKnown,
    WrongConfirmation,
    confirm_by_code,
    confirm_email,
    knows_password,
    same_browser,
)
from services.identity.first_connection.routes import cookie_name, delay_of, first_of, page_of
from services.identity.first_connection.store import FirstConnection
from services.identity.letters.redeem import PairNotUsable
from services.identity.mail.enqueue import Mail, MailLimitReached
from services.identity.sign_in.new_password import LinkNotUsable
from services.identity.sign_in.password import Passwords, TooManySignIns
from services.identity.sign_in.session import Session, hash_of
from services.identity.sign_in.throttle import Throttled
from services.identity.site.routes import AnyRequest, Site, drop_cookie

PROBLEMS[AddressAlreadyKnown] = Problem(409, "address-already-known", "Cette adresse a déjà un compte.")
PROBLEMS[AccountFrozen] = Problem(409, "account-frozen", "Ce compte est gelé. Appelez votre caisse.")
PROBLEMS[WrongConfirmation] = Problem(
    422, "wrong-confirmation", "Ce code ou ce mot de passe n’est pas le bon."
)
PROBLEMS[NotYourAddress] = Problem(
    403, "not-your-address", "Ce lien a été envoyé à une autre adresse que la vôtre."
)


@get("/first-connection/mailbox", access="anyone")
async def show_mailbox(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Consultez votre messagerie: the address, the deadline, the way to ask again or correct."""
    first = await first_of(request, site, db, clock)
    if isinstance(first, Response):
        return first
    if first.email is None or not first.has_password:
        return site.go(page_of(first))
    sent_again = "sent" in request.query_params
    return site.page(request, "first_connection_mailbox.html", first=first, sent_again=sent_again)


@post("/first-connection/resend", access="anyone", status_code=303)
async def resend(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Another mail; the former link ends."""
    first = await first_of(request, site, db, clock)
    if isinstance(first, Response):
        return first
    if first.email is None or not first.has_password:
        return site.go(page_of(first))
    try:
        async with db.transaction(site.slug) as tx:
            await ask_confirmation(
                tx, mail, keys, first, base=site.identity, valid_for=delay_of(site), now=clock()
            )
    except MailLimitReached:
        wait = {"resend": PROBLEMS[MailLimitReached].sentence}
        return _mailbox_page(request, site, first, wait, status_code=429)
    return site.go("/first-connection/mailbox?sent")


@post("/first-connection/code", access="anyone", status_code=303)
async def code(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The code of the mail, typed here because the mail was read elsewhere."""
    first = await first_of(request, site, db, clock)
    if isinstance(first, Response):
        return first
    typed = (await read_form(request)).text("code")
    try:
        await confirm_by_code(db, mail, keys, site.slug, first, typed, home=site.home, now=clock())
    except WrongConfirmation:
        wrong = {"code": Sentence("Ce code n’est pas celui du dernier message. Vérifiez ses huit chiffres.")}
        return _mailbox_page(request, site, first, wrong)
    except (LinkNotUsable, PairNotUsable, AddressAlreadyKnown):
        return _dead_link(request, site)
    return site.go("/first-connection/done")


@get("/first-connection/confirm", access="anyone")
async def show_confirmation(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """What the mailed link opens: a button. Mail gateways open links too, so nothing changes here."""
    return await _confirmation_page(request, site, db, clock, request.query_params.get("link", ""))


@post("/first-connection/confirm", access="anyone", status_code=303)
async def confirm(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    mail: NamedDependency[Mail],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The button: same browser, or the password just chosen."""
    form = await read_form(request)
    link_token = form.text("link")
    now = clock()
    async with db.transaction(site.slug) as tx:
        link = await store.find_link(tx, hash_of(link_token), now=now)
        here = await store.find(tx, hash_of(request.cookies.get(cookie_name(site), "")), now=now)
    if link is None:
        return _dead_link(request, site)
    try:
        by = same_browser(here, link)
        if by is None:
            typed = form.secret("password")
            by = await knows_password(db, passwords, site.slug, link, typed, now=now)
        async with db.transaction(site.slug) as tx:
            await confirm_email(tx, mail, link_token, by, home=site.home, now=now)
    except WrongConfirmation:
        wrong = {"password": Sentence("Ce mot de passe n’est pas celui que vous venez de choisir.")}
        return await _confirmation_page(request, site, db, clock, link_token, wrong)
    except (Throttled, TooManySignIns) as refusal:
        problem = PROBLEMS[type(refusal)]
        wrong = {"password": problem.sentence}
        return await _confirmation_page(
            request, site, db, clock, link_token, wrong, status_code=problem.status
        )
    except AddressAlreadyKnown:
        return site.go(f"/first-connection/attach?link={link_token}")
    except (LinkNotUsable, PairNotUsable):
        return _dead_link(request, site)
    return site.go("/first-connection/done")


@get("/first-connection/attach", access="session")
async def show_attach(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """For an address already known: signed in first, then a button."""
    link_token = request.query_params.get("link", "")
    async with db.transaction(site.slug) as tx:
        link = await store.find_link(tx, hash_of(link_token), now=clock())
    if link is None:
        return _dead_link(request, site)
    return site.page(
        request, "first_connection_attach.html", link=link_token, firm=link.legal_name, email=link.email
    )


@post("/first-connection/attach", access="session", status_code=303)
async def attach(
    request: AnyRequest,
    site: NamedDependency[Site],
    session: NamedDependency[Session],
    db: NamedDependency[Database],
    mail: NamedDependency[Mail],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Attach the firm to the account of whoever is signed in and received the mail."""
    link_token = (await read_form(request)).text("link")
    try:
        async with db.transaction(site.slug) as tx:
            await attach_firm(tx, mail, link_token, session, home=site.home, now=clock())
    except (LinkNotUsable, PairNotUsable):
        return _dead_link(request, site)
    return site.go("/first-connection/done")


@get("/first-connection/done", access="anyone")
async def show_done(request: AnyRequest, site: NamedDependency[Site]) -> Response[Any]:
    """C'est fait: sign in, then delegate. It tells nothing of whom."""
    page = site.page(request, "first_connection_done.html")
    drop_cookie(page, cookie_name(site))
    return page


ROUTES = [
    show_mailbox,
    resend,
    code,
    show_confirmation,
    confirm,
    show_attach,
    attach,
    show_done,
]


def _mailbox_page(
    request: AnyRequest,
    site: Site,
    first: FirstConnection,
    errors: dict[str, Sentence],
    *,
    status_code: int = 422,
) -> Response[Any]:
    return site.page(
        request,
        "first_connection_mailbox.html",
        status_code=status_code,
        first=first,
        sent_again=False,
        errors=errors,
    )


async def _confirmation_page(
    request: AnyRequest,
    site: Site,
    db: Database,
    clock: Clock,
    link_token: str,
    errors: dict[str, Sentence] | None = None,
    *,
    status_code: int = 422,
) -> Response[Any]:
    now = clock()
    async with db.transaction(site.slug) as tx:
        link = await store.find_link(tx, hash_of(link_token), now=now)
        here = await store.find(tx, hash_of(request.cookies.get(cookie_name(site), "")), now=now)
    if link is None:
        return _dead_link(request, site)
    return site.page(
        request,
        "first_connection_confirm.html",
        status_code=status_code if errors else 200,
        link=link_token,
        firm=link.legal_name,
        email=link.email,
        needs_password=same_browser(here, link) is None,
        errors=errors or {},
    )


def _dead_link(request: AnyRequest, site: Site) -> Response[Any]:
    """One page for unknown, spent, superseded and expired."""
    return site.page(request, "first_connection_dead_link.html", status_code=410)
