"""The authorization endpoint, thin: a redirect leaves at once, a page is left to `flow_pages/routes.py`."""

from collections.abc import MutableMapping
from typing import Any

from libs.common.http import csrf
from libs.common.http.thin import Call, Reply, thin
from services.identity.openid.authorize import answer_authorize
from services.identity.openid.proceed import ToClient, ToPage, Visit
from services.identity.openid.program_endpoints import issuer_of, provider_of
from services.identity.openid.refusals import Refusal
from services.identity.openid.wire import parse_encoded
from services.identity.sign_in.session import cookie_name

OUTCOME = "espace.authorization"


def outcome_of(scope: MutableMapping[str, Any] | Any) -> ToClient | ToPage | Refusal:
    """What was decided for this request, for the route that shows it."""
    return scope["state"][OUTCOME]


@thin("/{slug}/authorize", "GET", access="protocol", shared=True)
async def authorize(call: Call) -> Reply | None:
    """RFC 6749 §3.1. No header of CORS here (openid.md line 22); 303, and no cache keeps a code (lines 18, 19)."""
    provider = provider_of(call)
    issuer = await issuer_of(provider, call.slug)
    visit = Visit(call.cookies.get(cookie_name(issuer.caisse)), csrf.browser_of(call))
    try:
        parameters = parse_encoded(call.scope["query_string"])
        outcome = await answer_authorize(provider, issuer, parameters, visit, call.now())
    except Refusal as error:
        outcome = error
    if isinstance(outcome, ToClient) and outcome.address.response_mode != "form_post":
        return Reply(303, b"", ((b"location", outcome.location.encode()),))
    call.scope["state"][OUTCOME] = outcome
    return None


ENDPOINTS = [authorize]
"""Under `/{caisse}`."""
