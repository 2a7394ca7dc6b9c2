"""The steps between a request and its code, by hand: what each lets pass and what it says is missing."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.identity.openid.authorization_request import AuthorizationRequest
from services.identity.openid.refusals import (
    AccessDenied,
    AccountSelectionRequired,
    ConsentRequired,
    InteractionRequired,
    LoginRequired,
    Refusal,
    UnmetAuthenticationRequirements,
)
from services.identity.openid.steps import (
    CONSENT,
    FIRM,
    PERSON,
    SIGN_IN,
    Flow,
    SignedIn,
    View,
    answers_in,
    digest_of,
    granted_scopes,
    missing_page,
)
from tests.openid.kernel import world

BEFORE, AFTER = world.NOW - timedelta(minutes=5), world.NOW + timedelta(seconds=1)
HERE, ELSEWHERE = UUID(int=2), UUID(int=20)
NO_FIRM: dict[str, Any] = {
    "account_id": None,
    "account_state": None,
    "adherent_state": None,
    "is_administrator": False,
}


def request(**changes: Any) -> AuthorizationRequest:
    said: dict[str, Any] = {
        "client_id": "client_1",
        "redirect_uri": "https://client.example/cb",
        "scopes": ("openid", "email"),
    }
    return AuthorizationRequest(**{**said, **changes})


def session(**changes: Any) -> SignedIn:
    said: dict[str, Any] = {
        "session_id": HERE, "person_id": UUID(int=1), "opened_at": BEFORE, "auth_time": BEFORE, "acr": "pwd",
        "amr": ("pwd",), "subject": "per_X",
    }  # fmt: skip
    return SignedIn(**{**said, **changes})


def view(asked: AuthorizationRequest | None = None, **changes: Any) -> View:
    """Somebody signed in, alone in one firm, before a client of the caisse's own."""
    said: dict[str, Any] = {
        "request": asked or request(), "client": world.client(consent="implicit"), "now": world.NOW,
        "flow": Flow(started_at=world.NOW), "signed_in": session(), "firms": (world.subject(),),
        "person": world.subject(**NO_FIRM),
    }  # fmt: skip
    return View(**{**said, **changes})


EXPLICIT = world.client(consent="explicit")
TWO_FIRMS = (world.subject(), world.subject(account_id=UUID(int=30), adherent_number="654321"))
AGREED = ((UUID(int=3), frozenset({"openid", "email"})),)


def test_nothing_is_missing() -> None:
    assert missing_page(view()) is None
    assert missing_page(view(client=EXPLICIT, consented=AGREED)) is None


@pytest.mark.parametrize(
    ("seen", "page", "silent"),
    [
        (view(signed_in=None), SIGN_IN, LoginRequired),
        (view(person=None), SIGN_IN, LoginRequired),
        (view(request(prompt=("login",))), SIGN_IN, None),
        (view(request(max_age=299)), SIGN_IN, LoginRequired),
        (view(request(acr="mfa")), SIGN_IN, None),
        (view(request(acr="mfa", acr_is_essential=True)), SIGN_IN, UnmetAuthenticationRequirements),
        (view(request(hinted_subject="per_Y")), SIGN_IN, LoginRequired),
        (view(request(prompt=("select_account",))), PERSON, None),
        (view(firms=TWO_FIRMS), FIRM, InteractionRequired),
        (view(works_in_a_cabinet=True), FIRM, InteractionRequired),
        (view(client=EXPLICIT), CONSENT, ConsentRequired),
        (view(request(prompt=("consent",)), client=EXPLICIT, consented=AGREED), CONSENT, None),
        (view(request(scopes=("openid", "profile")), client=world.client(consent="explicit", scope="openid profile"),
              consented=AGREED), CONSENT, ConsentRequired),
        (view(request(claims={"id_token": {"name": None}}), consented=AGREED,
              client=world.client(consent="explicit", scope="openid email profile")), CONSENT, ConsentRequired),
        (view(client=EXPLICIT, consented=((None, AGREED[0][1]),)), CONSENT, ConsentRequired),
    ],
)  # fmt: skip
def test_a_step_asks_for_what_is_missing(seen: View, page: str, silent: type[Refusal] | None) -> None:
    """OpenID Connect Core §3.1.2.1: a page, or the client's own word where none may be shown."""
    assert missing_page(seen) == page
    if silent is not None:
        with pytest.raises(silent):
            missing_page(replace(seen, request=replace(seen.request, prompt=("none",))))


def test_a_choice_of_person_asked_in_silence_is_a_word_of_its_own() -> None:
    """A client that asks for both is refused beforehand; the step itself would say so."""
    with pytest.raises(AccountSelectionRequired):
        missing_page(view(request(prompt=("none", "select_account"))))


def test_an_app_that_any_program_may_be_asks_each_time() -> None:
    """RFC 8252 §8.6."""
    native = world.client(
        consent="explicit", profile="standard", application_type="native", token_endpoint_auth_method="none",
        jwks=None,
    )  # fmt: skip
    taken = request(redirect_uri="http://127.0.0.1:5000/cb")
    assert missing_page(view(taken, client=native, consented=AGREED)) == CONSENT
    assert missing_page(view(client=native, consented=AGREED)) is None


@pytest.mark.parametrize(
    "seen",
    [
        view(request(prompt=("login",)), signed_in=session(auth_time=AFTER)),
        view(request(max_age=0), signed_in=session(auth_time=AFTER)),
        view(request(max_age=300)),
        view(request(acr="mfa"), signed_in=session(auth_time=AFTER)),
        view(request(acr="mfa", prompt=("none",))),
        view(request(acr="mfa", acr_is_essential=True), signed_in=session(acr="mfa")),
        view(request(hinted_subject="per_X")),
        view(request(prompt=("select_account",)), flow=Flow(started_at=world.NOW, person_confirmed=True)),
        view(request(prompt=("select_account",)), signed_in=session(auth_time=AFTER)),
        view(firms=TWO_FIRMS, flow=Flow(started_at=world.NOW, context_chosen=True, account_id=UUID(int=3))),
        view(request(firm="mediterranee:654321"), firms=TWO_FIRMS),
        view(client=EXPLICIT, flow=Flow(started_at=world.NOW, consented_to=digest_of(view(client=EXPLICIT)))),
    ],
)
def test_what_was_answered_is_not_asked_again(seen: View) -> None:
    assert missing_page(seen) is None


@pytest.mark.parametrize(
    ("seen", "refusal"),
    [
        (view(client=replace(world.client(), state="disabled")), AccessDenied),
        (view(person=world.subject(**NO_FIRM, person_state="suspended"), firms=()), AccessDenied),
        (view(firms=(world.subject(person_state="suspended"),)), AccessDenied),
        (view(firms=(world.subject(account_state="frozen"),)), AccessDenied),
        (view(firms=(world.subject(adherent_state="struck_off"),)), AccessDenied),
        (view(request(firm="mediterranee:999999")), AccessDenied),
        (
            view(request(acr="mfa", acr_is_essential=True), signed_in=session(auth_time=AFTER)),
            UnmetAuthenticationRequirements,
        ),
        (view(request(hinted_subject="per_Y"), signed_in=session(auth_time=AFTER)), LoginRequired),
    ],
)
def test_what_no_page_can_mend_is_refused(seen: View, refusal: type[Refusal]) -> None:
    """The gate of every grant stands here too: nobody is asked to agree to what would not be given."""
    with pytest.raises(refusal):
        missing_page(seen)


def test_what_was_answered_in_another_session_is_not_answered() -> None:
    """openid.md §4, "session fixation"."""
    answered = Flow(
        id=UUID(int=7), started_at=world.NOW, answered_in=ELSEWHERE, account_id=UUID(int=3), context_chosen=True,
        person_confirmed=True, consented_to="seen",
    )  # fmt: skip
    assert answers_in(answered, HERE) == Flow(id=UUID(int=7), started_at=world.NOW)
    assert answers_in(answered, ELSEWHERE) == answered


@pytest.mark.parametrize(
    ("asked", "ceiling", "who", "given"),
    [
        ("openid email", "openid", {}, "openid"),
        ("openid declaration.read", "openid declaration.read", {}, "openid declaration.read"),
        ("openid declaration.read", "openid declaration.read", NO_FIRM, "openid"),
        (
            "declaration.read declaration.submit",
            world.SCOPES,
            {"is_administrator": False, "rights": frozenset({"declaration.read"})},
            "declaration.read",
        ),
        (
            "declaration.read mandate.manage",
            world.SCOPES + " mandate.manage",
            {"is_administrator": False, "rights": frozenset({"declaration.read", "mandate.manage"})},
            "declaration.read",
        ),
    ],
)
def test_the_scopes_are_an_intersection(asked: str, ceiling: str, who: dict[str, Any], given: str) -> None:
    """requested ∩ the client's ceiling ∩ what the person may do for the firm, bank and mandates apart."""
    seen = view(
        request(scopes=tuple(asked.split())),
        client=world.client(scope=ceiling),
        firms=(world.subject(**who),),
    )
    assert granted_scopes(seen) == set(given.split())
