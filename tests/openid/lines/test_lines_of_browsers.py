"""Lines 18, 19 and 20 of openid.md, at every address of identity as its own table of routes names them."""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from libs.common.access.service_client import DpopAuth
from tests.addresses import Address, addresses, lines_18_and_19_hold
from tests.identity.admin.machines import Machine, a_machine
from tests.openid.party import Issuer, Party, Somebody

PUBLIC = (
    "/health/", "/metrics", "/static/", "/api/caisses", "/.well-known/", "/mediterranee/.well-known/",
    "/mediterranee/jwks", "/mediterranee/client-logos/", "/mediterranee/admin/openapi.json",
)  # fmt: skip
"""What says the same to everybody: keys, addresses, pictures, styles."""


def identity(issuer: Issuer) -> list[Address]:
    transport: Any = issuer.transport
    found = addresses(transport.app, slug=issuer.caisse)
    assert len(found) > 150 and len({one.path for one in found}) > 80
    return found


async def in_front(issuer: Issuer, who: str) -> Somebody:
    somebody = await issuer.person()
    return await somebody.sign_in(acr="mfa", amr=["pwd", "otp"]) if who == "signed in" else somebody


@pytest.fixture
async def program(issuer: Issuer) -> Machine:
    return await a_machine(issuer)


async def answers(
    issuer: Issuer, who: str, program: Machine
) -> AsyncGenerator[tuple[Address, httpx.Response], None]:
    """Each address, by somebody new each time, for some of them sign out; by a method that none has; as a folder."""
    for one in identity(issuer):
        somebody = await in_front(issuer, who)
        if who == "a program":
            auth = DpopAuth(program.party.dpop, program.token, clock=lambda: issuer.clock().timestamp())
            async with issuer.http() as http:
                yield one, await http.request(one.method, one.path, auth=auth)
        else:
            yield one, await asked(somebody, one.method, one.path)
            yield one, await asked(somebody, "PATCH", one.path)
            yield one, await asked(somebody, "GET", one.path + "/")


async def asked(
    somebody: Somebody, method: str, path: str, form: dict[str, str] | None = None, **headers: str
) -> httpx.Response:
    """With the browser's cookies, and the headers that are said."""
    cookie = "; ".join(f"{name}={value}" for name, value in somebody.cookies.items())
    said = {"Accept": "text/html", "Cookie": cookie, **headers}
    async with somebody.issuer.http() as http:
        return await http.request(
            method, path, data=form or ({"x": "1"} if method == "POST" else None), headers=said
        )


@pytest.mark.parametrize("who", ["a stranger", "signed in", "a program"])
async def test_lines_18_and_19_hold_at_every_address(issuer: Issuer, program: Machine, who: str) -> None:
    statuses: set[int] = set()
    async for one, answer in answers(issuer, who, program):
        statuses.add(answer.status_code)
        lines_18_and_19_hold(one, answer, public=PUBLIC)
    assert statuses >= ({401, 400} if who == "a program" else {303, 400, 401, 403, 404, 405}), statuses


async def test_line_18_a_posted_request_is_answered_by_a_303(
    issuer: Issuer, who: Somebody, public: Party
) -> None:
    """A 307 would have the browser post the password, or the form, on to the client (RFC 9700 §4.12)."""
    plain = await issuer.plain_client(consent="implicit")
    client = await issuer.client(consent="explicit")
    authorize, leave = f"/{issuer.caisse}/authorize", f"/{issuer.caisse}/end-session"
    consent = await client.authorize(who)
    agreed = await who.submit(consent, choice="accept")
    asked = {
        "client_id": plain.client_id,
        "post_logout_redirect_uri": plain.metadata.post_logout_redirect_uris[0],
    }
    question = await who.get(f"{leave}?{urlencode(asked)}")
    found = {
        "authorize by GET, to sign in": await plain.authorize(await issuer.person()),
        "authorize by GET, a code": await plain.authorize(who),
        "authorize by GET, an error": await plain.authorize(who, scope="nothing"),
        "authorize by POST": await who.post(authorize, plain.request()),
        "authorize by POST, an error": await who.post(authorize, plain.request(scope="nothing")),
        "consent": agreed,
        "after consent": await who.get(agreed.headers["location"]),
        "end-session by POST": await who.post(leave, asked),
        "leaving": await who.submit(question, choice="leave"),
        "an account page, signed out": await who.get(f"/{issuer.caisse}/account"),
    }
    assert {name: one.status_code for name, one in found.items()} == dict.fromkeys(found, 303)
    for one in found.values():
        assert one.headers["cache-control"] == "no-store"


FORGERIES: dict[str, tuple[str, dict[str, str]]] = {
    "no token": ("", {}),
    "another browser's token": ("other", {}),
    "another browser's token and cookie of ours": ("other", {"sec-fetch-site": "same-origin"}),
    "from another site": ("own", {"sec-fetch-site": "cross-site"}),
    "from a sibling site": ("own", {"sec-fetch-site": "same-site"}),
    "from another origin": ("own", {"origin": "https://evil.example"}),
    "from no origin": ("own", {"origin": "null"}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_line_20_no_form_is_believed_of_another_page(issuer: Issuer, forgery: str) -> None:
    """Sign-in, step-up, consent, choice of firm and person, sign-out, account, delegations: of somebody signed in
    with two factors, so that nothing else stands before the form.
    """
    whose, headers = FORGERIES[forgery]
    who, stranger = await in_front(issuer, "signed in"), await in_front(issuer, "a stranger")
    tokens = {"own": await token_of(who), "other": await token_of(stranger), "": ""}
    assert tokens["own"] != tokens["other"]
    form = {"csrf_token": tokens[whose]} if whose else {}
    forms = [one.path for one in identity(issuer) if one.is_form]
    for named in ("sign-in", "step-up", "consent", "end-session/confirm", "sign-out", "delegations/new"):
        assert f"/{issuer.caisse}/{named}" in forms or f"/{issuer.caisse}/authorize/{named}" in forms
    for path in forms:
        answer = await asked(who, "POST", path, form, **headers)
        assert answer.status_code == 403, (path, answer.status_code)
    assert (await who.get(f"/{issuer.caisse}/account")).status_code == 200, "nothing was done"


async def token_of(somebody: Somebody) -> str:
    page = await somebody.get(f"/{somebody.issuer.caisse}/sign-out")
    return page.text.partition('name="csrf_token" value="')[2].partition('"')[0]


async def test_line_20_every_cookie_is_of_this_host_alone(issuer: Issuer, program: Machine) -> None:
    """`__Host-`: no sibling host sets it, no plain http reads it; none is a script's."""
    lines = [
        line
        for who in ("a stranger", "signed in")
        async for _, answer in answers(issuer, who, program)
        for line in answer.headers.get_list("set-cookie")
    ]
    assert len(lines) > 20
    for line in lines:
        name, _, rest = line.partition("=")
        attributes = {part.strip().lower() for part in rest.split(";")[1:]}
        assert name.startswith("__Host-"), line
        assert {"secure", "httponly", "path=/"} <= attributes, line
        assert attributes & {"samesite=lax", "samesite=strict"} and "domain" not in line.lower(), line
