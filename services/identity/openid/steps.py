"""From a checked request to a code: the steps a person may have to take, in order.

Each step looks at what is known and either lets pass or says what is missing.
`prompt=none` turns anything missing into its error. The same list runs at
/authorize and after each page, so no page can be skipped by its address.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from services.identity.openid import subject_gate
from services.identity.openid.authorization_request import AuthorizationRequest
from services.identity.openid.clients import Client
from services.identity.openid.person_claims import scopes_of_claims
from services.identity.openid.refusals import (
    AccessDenied,
    AccountSelectionRequired,
    ConsentRequired,
    InteractionRequired,
    LoginRequired,
    Refusal,
    UnmetAuthenticationRequirements,
)
from services.identity.openid.snapshot import Subject
from services.identity.openid.subject_gate import Stopped
from services.identity.sign_in.session import ACR_RANK

FLOW_LASTS = timedelta(minutes=30)


class SignedIn(Struct, frozen=True, kw_only=True):
    """The live session behind the browser's cookie."""

    session_id: UUID
    person_id: UUID
    opened_at: datetime
    auth_time: datetime
    acr: str
    amr: tuple[str, ...]
    subject: str
    """The `sub` that the client would see."""


class Flow(Struct, frozen=True, kw_only=True):
    """What the person has already answered. A request seen for the first time has answered nothing."""

    id: UUID | None = None
    started_at: datetime
    answered_in: UUID | None = None
    """The session in which the answers below were given; they are worth nothing in another."""
    account_id: UUID | None = None
    context_chosen: bool = False
    person_confirmed: bool = False
    consented_to: str | None = None
    """What the person saw when they agreed (`digest_of`)."""


def answers_in(flow: Flow, session_id: UUID) -> Flow:
    """The flow as this session may use it: what another person answered is not answered."""
    if flow.answered_in in (None, session_id):
        return flow
    return Flow(id=flow.id, started_at=flow.started_at)


class View(Struct, frozen=True, kw_only=True):
    """Everything the steps read."""

    request: AuthorizationRequest
    client: Client
    now: datetime
    flow: Flow
    signed_in: SignedIn | None = None
    firms: tuple[Subject, ...] = ()
    """The person, once per active account, in order of the firm's name."""
    person: Subject | None = None
    """The person without any firm."""
    works_in_a_cabinet: bool = False
    consented: tuple[tuple[UUID | None, frozenset[str]], ...] = ()
    """Consents in force: for which account, to which scopes."""


class Missing(Exception):
    """A step the person has to take: the page's name, and the error when no page may be shown."""

    def __init__(self, page: str, silent: type[Refusal]) -> None:
        super().__init__(page)
        self.page = page
        self.silent = silent


SIGN_IN, PERSON, FIRM, CONSENT = "sign-in", "person", "firm", "consent"


def signed_in_since(view: View) -> bool:
    """Whether the person proved who they are after this request began, and not at the very moment of it."""
    return _session(view).auth_time > view.flow.started_at


def person_is_signed_in(view: View) -> None:
    """OpenID Connect Core §3.1.2.3."""
    if view.signed_in is None or view.person is None:
        raise Missing(SIGN_IN, LoginRequired)


def sign_in_is_recent_enough(view: View) -> None:
    """`prompt=login` and `max_age` (OpenID Connect Core §3.1.2.1): satisfied by a sign-in since the request."""
    session, request = _session(view), view.request
    if signed_in_since(view):
        return
    too_old = request.max_age is not None and view.now - session.auth_time > timedelta(
        seconds=request.max_age
    )
    if "login" in request.prompt or too_old:
        raise Missing(SIGN_IN, LoginRequired)


def level_is_reached(view: View) -> None:
    """`acr_values` is a wish, an essential `acr` claim a condition (OpenID Connect Core §5.5.1.1).

    A wish is put to the person once, where there is one to ask: it fails no request, a silent one neither.
    """
    session, wanted, essential = _session(view), view.request.acr, view.request.acr_is_essential
    if wanted is None or ACR_RANK[session.acr] >= ACR_RANK[wanted]:
        return
    if essential and signed_in_since(view):
        raise UnmetAuthenticationRequirements("The person could not reach the required level.")
    if essential or not (signed_in_since(view) or "none" in view.request.prompt):
        raise Missing(SIGN_IN, UnmetAuthenticationRequirements)


def person_is_the_hinted_one(view: View) -> None:
    """`id_token_hint` (OpenID Connect Core §3.1.2.1): another person signs in, or the client hears so."""
    hinted = view.request.hinted_subject
    if hinted is not None and hinted != _session(view).subject:
        if signed_in_since(view):
            raise LoginRequired("Another person signed in.")
        raise Missing(SIGN_IN, LoginRequired)


def person_is_confirmed(view: View) -> None:
    """`prompt=select_account` (OpenID Connect Core §3.1.2.1)."""
    if "select_account" in view.request.prompt and not (view.flow.person_confirmed or signed_in_since(view)):
        raise Missing(PERSON, AccountSelectionRequired)


def must_recall(view: View) -> bool:
    """Nobody can be asked for whom to act: the answer of this session to this client is recalled, if there is one."""
    return "none" in view.request.prompt and view.request.firm is None and _has_several_contexts(view)


def recalled(view: View, context: tuple[UUID | None] | None) -> View:
    """The view with the firm, or cabinet, chosen before; as it was when the person has left that one since."""
    if context is None:
        return view
    (account_id,) = context
    still = (
        view.works_in_a_cabinet
        if account_id is None
        else any(firm.account_id == account_id for firm in view.firms)
    )
    return (
        replace(view, flow=replace(view.flow, account_id=account_id, context_chosen=True)) if still else view
    )


def _has_several_contexts(view: View) -> bool:
    return len(view.firms) + view.works_in_a_cabinet > 1


def firm_is_chosen(view: View) -> None:
    """RFC 9396 §2: the firm that the request names, if any. Of one's own, the only one is chosen by itself; several, or
    one beside a cabinet, are asked about.
    """
    if view.request.firm is not None:
        if _firm_asked(view) is None:
            raise AccessDenied("The person has no account for this firm.")
        return
    if view.flow.context_chosen:
        return
    if _has_several_contexts(view):
        raise Missing(FIRM, InteractionRequired)


def subject_may_act(view: View) -> None:
    """openid.md §4, "gate missing in a sibling grant": the one gate of them all."""
    try:
        subject_gate.check_client(view.client)
        subject_gate.check_subject(subject_of(view))
    except Stopped as stop:
        raise AccessDenied from stop


def consent_is_given(view: View) -> None:
    """openid.md line 29: implicit for the caisse's own portal, else asked once and remembered.

    Asked each time for what anybody's program might be (RFC 8252 §8.6).
    """
    if has_agreed(view):
        return
    if view.client.metadata.consent == "implicit":
        return
    subject = subject_of(view)
    covered = view.client.is_surely_at(view.request.redirect_uri) and any(
        account_id == subject.account_id and agreed_scopes(view) <= scopes
        for account_id, scopes in view.consented
    )
    if "consent" in view.request.prompt or not covered:
        raise Missing(CONSENT, ConsentRequired)


STEPS = (
    person_is_signed_in,
    sign_in_is_recent_enough,
    level_is_reached,
    person_is_the_hinted_one,
    person_is_confirmed,
    firm_is_chosen,
    subject_may_act,
    consent_is_given,
)


def missing_page(view: View) -> str | None:
    """The page to show next, `None` when all is said. Raises the refusal to send to the client."""
    try:
        for step in STEPS:
            step(view)
    except Missing as missing:
        if "none" in view.request.prompt:
            raise missing.silent from missing
        return missing.page
    return None


def subject_of(view: View) -> Subject:
    """The person as the firm chosen makes them; the person alone for a cabinet's collaborator."""
    if view.person is None:
        raise Missing(SIGN_IN, LoginRequired)
    if view.request.firm is not None:
        return _firm_asked(view) or view.person
    if view.flow.context_chosen:
        return next((firm for firm in view.firms if firm.account_id == view.flow.account_id), view.person)
    return view.firms[0] if len(view.firms) == 1 and not view.works_in_a_cabinet else view.person


def _firm_asked(view: View) -> Subject | None:
    """The person as the firm that the request names makes them; `None` where they have no account of it."""
    number = view.request.firm_number
    return next((firm for firm in view.firms if firm.adherent_number == number), None)


def answered_level(view: View) -> str:
    """The `acr` that the client reads: of the levels it requires, the highest that the session reaches.

    OpenID Connect Core §5.5.1.1: the answer is one of those asked. A person with two factors has satisfied `pwd` too.
    """
    level = _session(view).acr
    reached = [one for one in view.request.acr_accepted if ACR_RANK[one] <= ACR_RANK[level]]
    return max(reached, key=ACR_RANK.__getitem__, default=level)


def granted_scopes(view: View) -> frozenset[str]:
    """What this person can grant this client, for this firm, today."""
    return subject_gate.allowed_scopes(frozenset(view.request.scopes), view.client, subject_of(view))


def agreed_scopes(view: View) -> frozenset[str]:
    """What the person agrees to: the scopes granted, and those of the claims asked one by one.

    One set is shown, digested, remembered and relied on. A claim widens no token: it adds nothing to `scope`.
    """
    wanted = frozenset(view.request.scopes) | scopes_of_claims(view.request.claims)
    return subject_gate.allowed_scopes(wanted, view.client, subject_of(view))


def digest_of(view: View) -> str:
    """What the consent page shows: consent given to one thing, or one name, or by one person, covers no other."""
    subject, person_id = subject_of(view), _session(view).person_id
    client = (view.client.client_id, view.client.metadata.client_name, view.request.redirect_uri)
    seen = [*client, str(person_id), str(subject.account_id), *sorted(agreed_scopes(view))]
    return sha256("\n".join(seen).encode()).hexdigest()[:32]


def has_agreed(view: View) -> bool:
    """Whether the person agreed, in this flow, to what would be granted at this moment.

    Between the button and the code another step may be due, and a client changes its own description as it likes.
    """
    return view.flow.consented_to is not None and view.flow.consented_to == digest_of(view)


def _session(view: View) -> SignedIn:
    if view.signed_in is None:
        raise Missing(SIGN_IN, LoginRequired)
    return view.signed_in
