"""Pages of first connection, in the order of the journey."""

from datetime import timedelta
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency

from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.forms import read_form
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.email import InvalidEmail, parse_email
from libs.common.values.one_line import is_one_line
from libs.common.values.sentence import Sentence
from services.identity.caisses import store as caisses
from services.identity.first_connection.ask_confirmation import (
    NothingUnderWay,
    ask_confirmation,
    choose_email,
    choose_password,
    current,
)
from services.identity.first_connection.show_letters import Slips, Typed, show_letters
from services.identity.first_connection.store import FirstConnection
from services.identity.letters.paper_secret import PaperSecrets
from services.identity.letters.redeem import PairNotUsable, digits_of
from services.identity.mail.enqueue import Mail, MailLimitReached
from services.identity.sign_in.forgotten_password.routes import sentence_for
from services.identity.sign_in.password import Passwords, TooManySignIns
from services.identity.sign_in.password_rules import (
    LEAST_ALONE,
    PasswordGuessable,
    PasswordTooLong,
    PasswordTooShort,
    check_password_choice,
)
from services.identity.site.routes import AnyRequest, Site, keep_cookie

PROBLEMS[Slips] = Problem(422, "slips", "Un caractère semble mal recopié.")
PROBLEMS[NothingUnderWay] = Problem(409, "nothing-under-way", "Aucune première connexion n’est en cours ici.")

COOKIE_SECONDS = 72 * 3600

NO_MATCH = Sentence(
    "Ces trois éléments ne vont pas ensemble, ou ces courriers ne servent plus. "
    "Vérifiez-les sur vos deux courriers, puis recommencez."
)
"""One answer for an unknown number, a wrong half, a dead or expired pair."""

SIREN_DIGITS, SIRET_DIGITS = 9, 14


def cookie_name(site: Site) -> str:
    return f"__Host-espace-{site.slug}-first"


def page_of(first: FirstConnection) -> str:
    """Where this first connection was left."""
    if first.completed_at is not None:
        return "/first-connection/done"
    if first.email is None:
        return "/first-connection/email"
    if not first.has_password:
        return "/first-connection/password"
    return "/first-connection/mailbox"


@get("/first-connection", access="anyone")
async def show_questions(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Quelques questions: they route, and ask no secret. Whoever left half-way is taken back there."""
    if "restart" not in request.query_params:
        try:
            async with db.transaction(site.slug) as tx:
                first = await current(tx, request.cookies.get(cookie_name(site)), clock())
            if first.completed_at is None:
                return site.go(page_of(first))
        except NothingUnderWay:
            pass
    return await _questions_page(request, site, db, {"kind": "", "letters": "", "caisse": site.slug})


@post("/first-connection", access="anyone", status_code=303)
async def answer_questions(
    request: AnyRequest, site: NamedDependency[Site], db: NamedDependency[Database]
) -> Response[Any]:
    """Send each visitor to the page that serves it."""
    form = await read_form(request)
    answers = {name: form.text(name) for name in ("kind", "letters", "caisse")}
    async with db.transaction(site.slug) as tx:
        slugs = {caisse.slug for caisse in await caisses.every(tx)}
    errors: dict[str, Sentence] = {}
    if answers["kind"] not in {"firm", "cabinet"}:
        errors["kind"] = Sentence("Dites si vous êtes une entreprise ou un cabinet comptable.")
    if answers["kind"] != "cabinet" and answers["letters"] not in {"both", "one", "none"}:
        errors["letters"] = Sentence("Dites quels courriers vous avez reçus.")
    if answers["caisse"] not in slugs:
        errors["caisse"] = Sentence("Choisissez votre caisse dans la liste.")
    if errors:
        return await _questions_page(request, site, db, answers, errors)
    page = "letters" if answers["letters"] == "both" else "missing-letter"
    path = "cabinet" if answers["kind"] == "cabinet" else page
    there = Site(
        site.caisse._replace(slug=answers["caisse"]), site.brand, site.pages, site.identity, site.portal
    )
    return there.go(f"/first-connection/{path}")


@get("/first-connection/cabinet", access="anyone")
async def show_for_cabinets(request: AnyRequest, site: NamedDependency[Site]) -> Response[Any]:
    """A cabinet has no letters: its clients delegate to it."""
    return site.page(request, "first_connection_cabinet.html")


@get("/first-connection/missing-letter", access="anyone")
async def show_missing_letter(request: AnyRequest, site: NamedDependency[Site]) -> Response[Any]:
    """One letter, or none: what to wait for, whom to call. Asking harms no letter in hand."""
    return site.page(request, "first_connection_missing_letter.html")


@get("/first-connection/letters", access="anyone")
async def show_letters_page(request: AnyRequest, site: NamedDependency[Site]) -> Response[Any]:
    """Vos deux courriers."""
    return _letters_page(request, site, Typed("", "", ""))


@post("/first-connection/letters", access="anyone", status_code=303)
async def letters(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    paper: NamedDependency[PaperSecrets],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """A slip is told field by field; every other failure has one page, one status, one duration."""
    form = await read_form(request)
    typed = Typed(form.text("number"), form.text("identifiant"), form.text("code-confidentiel"))
    try:
        cookie = await show_letters(db, paper, site.slug, typed, now=clock())
    except Slips as slips:
        return _letters_page(request, site, typed, slips.fields)
    except PairNotUsable:
        return _letters_page(request, site, typed, {"number": _no_match(typed)})
    response = site.go("/first-connection/email")
    keep_cookie(response, cookie_name(site), cookie, seconds=COOKIE_SECONDS)
    return response


@get("/first-connection/email", access="anyone")
async def show_email(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Votre adresse électronique; opened again to correct it."""
    first = await first_of(request, site, db, clock)
    if isinstance(first, Response):
        return first
    return site.page(
        request,
        "first_connection_email.html",
        first=first,
        email=first.email or "",
        full_name=first.full_name,
    )


@post("/first-connection/email", access="anyone", status_code=303)
async def email(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """The same page follows, whether or not the address is known."""
    first = await first_of(request, site, db, clock)
    if isinstance(first, Response):
        return first
    form = await read_form(request)
    typed, name = form.text("email"), " ".join(form.text("name").split())[:80].strip()
    if name and not is_one_line(name, longest=80):
        name = ""  # asked for, not needed: the account's page takes another
    try:
        address = parse_email(typed)
    except InvalidEmail as error:
        return _wrong(request, site, "email", error.reason, first=first, email=typed, full_name=name)
    now = clock()
    try:
        async with db.transaction(site.slug) as tx:
            await choose_email(tx, first, address, name, now=now)
            if first.has_password:
                await ask_confirmation(
                    tx,
                    mail,
                    keys,
                    first._replace(email=address),
                    base=site.identity,
                    valid_for=delay_of(site),
                    now=now,
                )
    except MailLimitReached:
        wait = PROBLEMS[MailLimitReached].sentence
        return _wrong(request, site, "email", wait, status_code=429, first=first, email=typed, full_name=name)
    return site.go("/first-connection/mailbox" if first.has_password else "/first-connection/password")


@get("/first-connection/password", access="anyone")
async def show_password(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Votre mot de passe, with its rules told beforehand."""
    first = await first_of(request, site, db, clock)
    if isinstance(first, Response):
        return first
    if first.email is None:
        return site.go("/first-connection/email")
    return site.page(request, "first_connection_password.html", first=first, least=LEAST_ALONE)


@post("/first-connection/password", access="anyone", status_code=303)
async def password(
    request: AnyRequest,
    site: NamedDependency[Site],
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    mail: NamedDependency[Mail],
    keys: NamedDependency[KeyEncryption],
    clock: NamedDependency[Clock],
) -> Response[Any]:
    """Keep the choice and send the mail."""
    first = await first_of(request, site, db, clock)
    if isinstance(first, Response):
        return first
    if first.email is None:
        return site.go("/first-connection/email")
    chosen = (await read_form(request)).secret("password")
    known = [first.email, first.legal_name, first.adherent_number, first.siret or "", first.full_name]
    try:
        check_password_choice(chosen, known=known)
        encoded = await passwords.hash(chosen)
    except (PasswordTooShort, PasswordTooLong, PasswordGuessable) as refusal:
        return _wrong(request, site, "password", sentence_for(refusal), first=first, least=LEAST_ALONE)
    except TooManySignIns:
        busy = PROBLEMS[TooManySignIns].sentence
        return _wrong(request, site, "password", busy, status_code=503, first=first, least=LEAST_ALONE)
    try:
        async with db.transaction(site.slug) as tx:
            await choose_password(tx, first, encoded)
            await ask_confirmation(
                tx, mail, keys, first, base=site.identity, valid_for=delay_of(site), now=clock()
            )
    except MailLimitReached:
        wait = PROBLEMS[MailLimitReached].sentence
        return _wrong(request, site, "password", wait, status_code=429, first=first, least=LEAST_ALONE)
    return site.go("/first-connection/mailbox")


ROUTES = [
    show_questions,
    answer_questions,
    show_for_cabinets,
    show_missing_letter,
    show_letters_page,
    letters,
    show_email,
    email,
    show_password,
    password,
]


def delay_of(site: Site) -> timedelta:
    return timedelta(hours=site.caisse.settings.confirmation_hours)


async def first_of(
    request: AnyRequest, site: Site, db: Database, clock: Clock
) -> FirstConnection | Response[Any]:
    """What this browser has under way, or the page to go to."""
    try:
        async with db.transaction(site.slug) as tx:
            first = await current(tx, request.cookies.get(cookie_name(site)), clock())
    except NothingUnderWay:
        return site.go("/first-connection/letters")
    return site.go("/first-connection/done") if first.completed_at else first


async def _questions_page(
    request: AnyRequest,
    site: Site,
    db: Database,
    answers: dict[str, str],
    errors: dict[str, Sentence] | None = None,
) -> Response[Any]:
    async with db.transaction(site.slug) as tx:
        choices = [(caisse.slug, caisse.name) for caisse in await caisses.every(tx)]
    return site.page(
        request,
        "first_connection_questions.html",
        status_code=422 if errors else 200,
        answers=answers,
        caisses=choices,
        errors=errors or {},
    )


def _letters_page(
    request: AnyRequest, site: Site, typed: Typed, errors: dict[str, Sentence] | None = None
) -> Response[Any]:
    return site.page(
        request,
        "first_connection_letters.html",
        status_code=422 if errors else 200,
        typed=typed,
        errors=errors or {},
    )


def _no_match(typed: Typed) -> Sentence:
    """How to mend a pair that opens nothing: it depends on what was typed alone, so it tells nothing of what we hold.

    A number of digits that is no SIRET may still be an adhérent's: it is looked up like any other, and its digits
    are counted only once it has failed.
    """
    digits = digits_of(typed.number)
    if not digits or len(digits) == SIRET_DIGITS or len(digits) < SIREN_DIGITS:
        return NO_MATCH
    return Sentence(
        "Un SIRET compte 14 chiffres ; vous en avez tapé %(typed)s."
        " Si c’est votre numéro d’adhérent, vérifiez-le sur vos deux courriers, avec le reste.",
        typed=len(digits),
    )


def _wrong(
    request: AnyRequest, site: Site, field: str, sentence: Sentence, *, status_code: int = 422, **values: Any
) -> Response[Any]:
    """The page of the field, with what to mend."""
    template = f"first_connection_{field}.html"
    return site.page(request, template, status_code=status_code, errors={field: sentence}, **values)
