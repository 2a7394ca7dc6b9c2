"""The endpoints of an issuer that programs call, thin: the strict request in, one answer out.

What people see is in `flow_pages/routes.py` and `logout/routes.py`, registration in `routes.py`.
"""

import msgspec

from libs.common.http.thin import Call, Handler, Reply, thin
from libs.common.refusals import NotFound
from libs.common.values.caisse_slug import parse_caisse_slug
from services.identity.openid import discovery
from services.identity.openid.answers import Answer, refusal_answer
from services.identity.openid.caller import UnprovenRequest
from services.identity.openid.client_authentication import credentials_of
from services.identity.openid.dpop_binding import ProofHeaders
from services.identity.openid.introspection import answer_introspection
from services.identity.openid.issuer import Issuer
from services.identity.openid.par import answer_par
from services.identity.openid.provider import Provider
from services.identity.openid.refusals import InvalidRequest, Refusal
from services.identity.openid.revocation import answer_revocation
from services.identity.openid.token import answer_token
from services.identity.openid.userinfo import NotAccepted, answer_userinfo, challenge, token_of
from services.identity.openid.wire import Parameters, is_form, parse_form

ANY_ORIGIN = (b"access-control-allow-origin", b"*")
READABLE_ANYWHERE = (ANY_ORIGIN, (b"access-control-expose-headers", b"DPoP-Nonce, WWW-Authenticate"))
"""Browser apps call these endpoints with fetch; no cookie counts here, so any origin may. Never on authorize."""

PUBLIC = ((b"cache-control", b"public, max-age=60"), ANY_ORIGIN)
"""Documents anybody may read from any page (openid.md line 22: no CORS on authorize)."""

ASK_FIRST = Reply(
    204,
    b"",
    (
        *READABLE_ANYWHERE,
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"Authorization, Content-Type, DPoP"),
        (b"access-control-max-age", b"600"),
    ),
)
"""To the browser's question before a fetch with a DPoP header (Fetch §4.8)."""


async def issuer_of(provider: Provider, slug: str) -> Issuer:
    """Raises `InvalidCaisseSlug` or `NotFound`: one answer."""
    issuer = await provider.issuer(parse_caisse_slug(slug))
    if issuer.keys.is_empty:
        raise NotFound
    return issuer


def provider_of(call: Call) -> Provider:
    provider: Provider = call.app.state["provider"]
    return provider


async def posted(call: Call) -> Parameters:
    """The strict form of a back-channel request."""
    return parse_form(call.header(b"content-type") or "", await call.body())


def authorization_of(call: Call) -> str | None:
    """The one Authorization header (RFC 9110 §11.6.2): of two, another component would read the other."""
    said = call.headers(b"authorization")
    if len(said) > 1:
        raise InvalidRequest("More than one Authorization header.")
    return said[0] if said else None


def proof_headers(call: Call, issuer: Issuer, path: str) -> ProofHeaders:
    """The proof must name our public address, whatever Host the request carries."""
    return ProofHeaders(call.headers(b"dpop"), call.method, issuer.endpoint(path))


async def asked(call: Call, issuer: Issuer, path: str) -> UnprovenRequest:
    """Raises a `Refusal`: two methods of authentication, a doubled parameter, no client at all."""
    parameters = await posted(call)
    credentials = credentials_of(parameters, authorization_of(call))
    return UnprovenRequest(parameters, credentials, proof_headers(call, issuer, path))


def as_reply(answer: Answer) -> Reply:
    """The answer on the wire, readable from any page."""
    body = answer.body.encode() if isinstance(answer.body, str) else msgspec.json.encode(answer.body)
    headers = [(b"content-type", answer.media_type.encode()), *READABLE_ANYWHERE]
    headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    return Reply(answer.status, body, headers)


def refusing(handle: Handler) -> Handler:
    """`handle`, with what the strict parser refuses, before any client is known, as an OAuth error."""

    async def handled(call: Call) -> Reply | None:
        try:
            return await handle(call)
        except Refusal as error:
            return as_reply(refusal_answer(error))

    handled.__doc__, handled.__name__ = handle.__doc__, handle.__name__
    return handled


@thin("/{slug}/.well-known/openid-configuration", "GET", access="protocol")
async def openid_configuration(call: Call) -> Reply:
    """OpenID Connect Discovery §4."""
    provider = provider_of(call)
    issuer = await issuer_of(provider, call.slug)
    body = provider.published_once(issuer, discovery.document)
    return Reply(200, body, ((b"content-type", b"application/json"), *PUBLIC))


@thin("/{slug}/jwks", "GET", access="protocol")
async def jwks(call: Call) -> Reply:
    """RFC 7517 §5."""
    issuer = await issuer_of(provider_of(call), call.slug)
    return Reply(200, issuer.keys.jwks, ((b"content-type", b"application/jwk-set+json"), *PUBLIC))


@thin("/{slug}/token", "POST", access="protocol")
@refusing
async def token(call: Call) -> Reply:
    """RFC 6749 §3.2."""
    provider = provider_of(call)
    issuer = await issuer_of(provider, call.slug)
    return as_reply(await answer_token(provider, issuer, await asked(call, issuer, "/token"), call.now()))


@thin("/{slug}/par", "POST", access="protocol")
@refusing
async def par(call: Call) -> Reply:
    """RFC 9126 §2."""
    provider = provider_of(call)
    issuer = await issuer_of(provider, call.slug)
    return as_reply(await answer_par(provider, issuer, await asked(call, issuer, "/par"), call.now()))


@thin("/{slug}/introspect", "POST", access="protocol")
@refusing
async def introspect(call: Call) -> Reply:
    """RFC 7662 §2, RFC 9701."""
    provider = provider_of(call)
    issuer = await issuer_of(provider, call.slug)
    question = await asked(call, issuer, "/introspect")
    accept = call.header(b"accept") or ""
    return as_reply(await answer_introspection(provider, issuer, question, accept, call.now()))


@thin("/{slug}/revoke", "POST", access="protocol")
@refusing
async def revoke(call: Call) -> Reply:
    """RFC 7009 §2."""
    provider = provider_of(call)
    issuer = await issuer_of(provider, call.slug)
    question = await asked(call, issuer, "/revoke")
    return as_reply(await answer_revocation(provider, issuer, question, call.now()))


@thin("/{slug}/userinfo", "GET", "POST", access="protocol")
@refusing
async def userinfo(call: Call) -> Reply:
    """OpenID Connect Core §5.3.1: GET and POST, token in the header or in a posted form."""
    provider = provider_of(call)
    issuer = await issuer_of(provider, call.slug)
    in_form = None
    if call.method == "POST" and is_form(call.header(b"content-type") or ""):
        in_form = (await posted(call)).get("access_token")
    try:
        presented = token_of(authorization_of(call), in_form)
    except NotAccepted as refusal:
        return as_reply(challenge(refusal, issuer))
    proof = proof_headers(call, issuer, "/userinfo")
    return as_reply(await answer_userinfo(provider, issuer, presented, proof, call.now()))


async def _ask_first(_: Call) -> Reply:
    """What a browser asks before it lets an app call these endpoints."""
    return ASK_FIRST


ENDPOINTS = [
    openid_configuration,
    jwks,
    token,
    par,
    introspect,
    revoke,
    userinfo,
    *(
        thin(f"/{{slug}}/{name}", "OPTIONS", access="protocol")(_ask_first)
        for name in ("token", "par", "revoke", "userinfo")
    ),
]
"""Under `/{caisse}`."""
