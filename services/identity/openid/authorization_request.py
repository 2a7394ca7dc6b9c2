"""An authorization request, checked like a table of contents.

First whom to answer (`addressed`: without a proven client and redirect_uri
there is only an error page), then `CHECKS`, each a function with its clause.
The same list serves /authorize and /par.
"""

import re
from typing import Any

import msgspec
from authlib.oauth2.rfc6749.errors import UnsupportedResponseTypeError
from msgspec import Struct

from services.identity.openid import audiences
from services.identity.openid.authorization_details import parse_adherent
from services.identity.openid.bucket_names import ANY_OF_FOUR, Span
from services.identity.openid.claims_parameter import (
    AskedAcr,
    asked_acr,
    asked_subject,
    kept_claims,
    read_claims,
)
from services.identity.openid.clients import CODE, Client
from services.identity.openid.hints import id_token_of
from services.identity.openid.issuer import SUPPORTED_SCOPES, Issuer
from services.identity.openid.refusals import (
    InvalidAuthorizationDetails,
    InvalidRequest,
    InvalidScope,
    UnauthorizedClient,
    UnmetAuthenticationRequirements,
)
from services.identity.openid.wire import Parameters
from services.identity.sign_in.session import ACR_RANK

RESPONSE_MODES = ("query", "form_post")
PROMPTS = ("none", "login", "consent", "select_account")
DISPLAYS = ("page", "popup", "touch", "wap")
LONGEST_STATE = 2048
LARGEST_KEPT = 16 * 1024
"""Bytes of a request as it is kept: twice what the longest of each parameter comes to. Anybody may have one kept."""
_CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")
_JKT = re.compile(r"[A-Za-z0-9\-_]{43}")


class AuthorizationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request whose every parameter was checked. Stored while its person signs in."""

    client_id: str
    redirect_uri: str
    response_mode: str = "query"
    state: str | None = None
    scopes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    firm: str | None = None
    """`caisse:number`, when the client already knows for whom the person will act."""
    nonce: str | None = None
    code_challenge: str | None = None
    dpop_jkt: str | None = None
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    acr: str | None = None
    acr_is_essential: bool = False
    acr_accepted: tuple[str, ...] = ()
    """When it is essential, the levels of which the answer must be one."""
    claims: dict[str, dict[str, Any]] = {}
    """Those asked one by one, by place."""
    login_hint: str | None = None
    hinted_subject: str | None = None
    ui_locales: str | None = None
    display: str = "page"
    was_pushed: bool | None = None
    """Whether it came by PAR. The version before says nothing of this, nor of the next."""
    was_signed: bool | None = None
    """Whether it came in a request object (RFC 9101)."""
    pushed_as: bytes | None = None
    """The hash of the PAR handle, spent when the request completes."""
    pushed_in: Span = ANY_OF_FOUR
    """Its buckets; the version before says none."""

    @property
    def firm_number(self) -> str | None:
        """The adhérent number of `firm`: its caisse is the issuer's (`details_are_ours`)."""
        return None if self.firm is None else self.firm.partition(":")[2]


class ReturnAddress(Struct, frozen=True):
    """Where, and how, the client gets its answer."""

    redirect_uri: str
    response_mode: str
    state: str | None
    ui_locales: str | None = None
    """In which languages, should a page of ours hand it over."""


def addressed(parameters: Parameters, client: Client) -> ReturnAddress:
    """openid.md line 2: raises `InvalidRequest`, for a page, when there is nowhere safe to answer."""
    redirect_uri = parameters.need("redirect_uri")
    _check_address(redirect_uri, client)
    state = parameters.get("state")
    if state is not None and len(state) > LONGEST_STATE:
        raise InvalidRequest("The state is too long.")
    mode = parameters.get("response_mode") or "query"
    return ReturnAddress(
        redirect_uri, mode if mode in RESPONSE_MODES else "query", state, parameters.get("ui_locales")
    )


def known(client: Client | None) -> Client:
    """openid.md line 2: one that is there, and not stopped. Raises `InvalidRequest`, for a page."""
    if client is None or client.state != "active":
        raise InvalidRequest("The client is unknown.")
    return client


def _check_address(redirect_uri: str, client: Client) -> None:
    if not client.check_redirect_uri(redirect_uri):
        raise InvalidRequest("The redirect_uri is not registered for this client.")


def response_type_is_code(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """openid.md line 3: no implicit, no hybrid."""
    response_type = parameters.need("response_type")
    if response_type != "code":
        raise UnsupportedResponseTypeError("Only the code response type is supported.", response_type)
    _check_code_flow(client)


def _check_code_flow(client: Client) -> None:
    if not client.check_response_type("code") or not client.check_grant_type(CODE):
        raise UnauthorizedClient("The client is not registered for the code flow.")


def response_mode_is_known(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """OAuth 2.0 Multiple Response Type Encoding Practices §2.1."""
    if (parameters.get("response_mode") or "query") not in RESPONSE_MODES:
        raise InvalidRequest("The response_mode is not supported.")


def challenge_is_s256(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """openid.md line 4 (RFC 9700 §2.1.1): S256 on every request; `plain` never, not even by silence."""
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if challenge is None:
        if client.needs_pkce or method is not None:
            raise InvalidRequest("A code_challenge is required.")
        return
    if method != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise InvalidRequest("The code_challenge_method must be S256.")


def scope_is_not_empty(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """OpenID Connect Core §3.1.2.1: unknown scopes are left out; nothing left is an error."""
    if not known_scopes(parameters, client):
        raise InvalidScope


def resources_are_open(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """RFC 8707 §2."""
    audiences.requested(parameters.resources, client, issuer)


def details_are_ours(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """RFC 9396 §5."""
    firm = parse_adherent(parameters.get("authorization_details"))
    if firm is not None and firm.partition(":")[0] != issuer.caisse:
        raise InvalidAuthorizationDetails("The firm belongs to another caisse.")


def prompt_is_coherent(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """OpenID Connect Core §3.1.2.1: `none` stands alone."""
    prompts = (parameters.get("prompt") or "").split()
    if not set(prompts) <= set(PROMPTS) or ("none" in prompts and len(prompts) > 1):
        raise InvalidRequest("The prompt is not supported.")


def ages_and_words_are_well_formed(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """OpenID Connect Core §3.1.2.1: max_age, display, nonce, login_hint."""
    age = parameters.get("max_age")
    if age is not None and not (age.isdigit() and len(age) <= 9):
        raise InvalidRequest("The max_age is a number of seconds.")
    if (parameters.get("display") or "page") not in DISPLAYS:
        raise InvalidRequest("The display is not supported.")
    if len(parameters.get("nonce") or "") > LONGEST_STATE or len(parameters.get("login_hint") or "") > 320:
        raise InvalidRequest("A parameter is too long.")


def claims_are_well_formed(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """OpenID Connect Core §5.5, §5.5.1.1."""
    claims = read_claims(parameters)
    asked_acr(claims)
    asked_subject(claims)


def levels_are_ours(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """OpenID Connect Core §5.5.1.1: an essential level that nobody can reach here is a failed authentication."""
    asked = asked_acr(read_claims(parameters))
    if asked is not None and asked.essential and asked.levels and not asked.known:
        raise UnmetAuthenticationRequirements("None of the levels required exists here.")


def hint_is_ours(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """OpenID Connect Core §3.1.2.1: an ID token of ours for this client, expired or not."""
    _hinted_subject(parameters, client, issuer)


def proof_key_is_well_formed(parameters: Parameters, client: Client, issuer: Issuer) -> None:
    """RFC 9449 §10."""
    jkt = parameters.get("dpop_jkt")
    if jkt is not None and not _JKT.fullmatch(jkt):
        raise InvalidRequest("The dpop_jkt is not a SHA-256 thumbprint.")


CHECKS = (
    response_type_is_code,
    response_mode_is_known,
    challenge_is_s256,
    scope_is_not_empty,
    resources_are_open,
    details_are_ours,
    prompt_is_coherent,
    ages_and_words_are_well_formed,
    claims_are_well_formed,
    levels_are_ours,
    hint_is_ours,
    proof_key_is_well_formed,
)


def checked(
    parameters: Parameters,
    client: Client,
    issuer: Issuer,
    address: ReturnAddress,
    *,
    was_pushed: bool,
    was_signed: bool,
) -> AuthorizationRequest:
    """The request, believed. Raises the refusal of the first check that fails."""
    for check in CHECKS:
        check(parameters, client, issuer)
    claims = read_claims(parameters)
    asked = asked_acr(claims)
    essential = asked is not None and asked.essential and bool(asked.known)
    age = parameters.get("max_age")
    scopes = known_scopes(parameters, client)
    request = AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=address.redirect_uri,
        response_mode=address.response_mode,
        state=address.state,
        scopes=scopes,
        resources=audiences.requested(parameters.resources, client, issuer),
        firm=parse_adherent(parameters.get("authorization_details")),
        nonce=parameters.get("nonce"),
        code_challenge=parameters.get("code_challenge"),
        dpop_jkt=parameters.get("dpop_jkt"),
        prompt=tuple((parameters.get("prompt") or "").split()),
        max_age=int(age) if age is not None else client.metadata.default_max_age,
        acr=_wanted_acr(parameters, client, asked),
        acr_is_essential=essential,
        acr_accepted=asked.known if asked is not None and essential else (),
        # Without `openid` there is neither ID token nor UserInfo to hold them.
        claims=kept_claims(claims, client) if "openid" in scopes else {},
        login_hint=parameters.get("login_hint"),
        hinted_subject=_hinted_subject(parameters, client, issuer),
        ui_locales=parameters.get("ui_locales"),
        display=parameters.get("display") or "page",
        was_pushed=was_pushed,
        was_signed=was_signed,
    )
    check_size(request)
    return request


def check_size(asked: Struct) -> None:
    """Whether what a stranger asks can be kept until its person comes back. Raises `InvalidRequest`."""
    if len(msgspec.json.encode(asked)) > LARGEST_KEPT:
        raise InvalidRequest("The request is too large.")


def came_as_it_must(request: AuthorizationRequest, client: Client) -> None:
    """openid.md line 8; RFC 9101 §10.5: what a client must push, or sign, counts in no other form."""
    if client.needs_pushed_requests and request.was_pushed is False:
        raise InvalidRequest("This client must push its requests.")
    if client.metadata.require_signed_request_object and request.was_signed is False:
        raise InvalidRequest("This client signs its requests.")


def may_be_answered(request: AuthorizationRequest, client: Client) -> None:
    """openid.md line 2, of a request that was kept: the client of this moment is there, and takes answers there.

    Raises `InvalidRequest`, for a page.
    """
    known(client)
    _check_address(request.redirect_uri, client)


def is_still_allowed(request: AuthorizationRequest, client: Client, issuer: Issuer) -> None:
    """What was checked when the request came, judged by the client of this moment. Raises what the client hears."""
    came_as_it_must(request, client)
    _check_code_flow(client)
    if request.code_challenge is None and client.needs_pkce:
        raise InvalidRequest("A code_challenge is required.")
    if not client.scopes.intersection(request.scopes):
        raise InvalidScope
    audiences.requested(request.resources, client, issuer)


def known_scopes(parameters: Parameters, client: Client) -> tuple[str, ...]:
    """Asked ∩ supported ∩ the client's ceiling, in the order asked."""
    known = client.scopes.intersection(SUPPORTED_SCOPES)
    return tuple(dict.fromkeys(word for word in (parameters.get("scope") or "").split() if word in known))


def _wanted_acr(parameters: Parameters, client: Client, asked: AskedAcr | None) -> str | None:
    """The lowest acceptable level: of the claim, of `acr_values`, or the client's own."""
    known = asked.known if asked is not None else ()
    if not known:
        words = (parameters.get("acr_values") or "").split() or client.metadata.default_acr_values
        known = tuple(word for word in words if word in ACR_RANK)
    return min(known, key=ACR_RANK.__getitem__) if known else None


def _hinted_subject(parameters: Parameters, client: Client, issuer: Issuer) -> str | None:
    """Who must answer, by `id_token_hint` or by the `sub` of the claims parameter, which then agree."""
    named, hinted = asked_subject(read_claims(parameters)), _subject_of_hint(parameters, client, issuer)
    if named is not None and hinted not in (None, named):
        raise InvalidRequest("The id_token_hint and the claims parameter name different persons.")
    return named if named is not None else hinted


def _subject_of_hint(parameters: Parameters, client: Client, issuer: Issuer) -> str | None:
    hint = parameters.get("id_token_hint")
    if hint is None:
        return None
    claims = id_token_of(hint, issuer)
    if claims is None or claims["aud"] != client.client_id:
        raise InvalidRequest("The id_token_hint is not an ID token of ours for this client.")
    return str(claims["sub"])
