"""Signing in at the portal: OpenID Connect Core §3.1, RFC 9207, RFC 9449, and what browsers do in between."""

from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import parse_caisse_slug
from services.portal.app import create_app
from services.portal.session.session import cookie_name
from services.portal.session.sign_in import checked_return
from tests.portal.conftest import Visitor
from tests.portal.far_side import IDENTITY, FarSide

MEDITERRANEE = parse_caisse_slug("mediterranee")
COOKIE = cookie_name(MEDITERRANEE)


async def test_the_request_is_pushed_and_the_browser_carries_only_its_handle(
    visitor: Visitor, far_side: FarSide
) -> None:
    answer = await visitor.get("/mediterranee/sign-in")

    assert answer.status_code == 303
    query = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert set(query) == {"client_id", "request_uri"}
    pushed = far_side.pushed[query["request_uri"]]
    assert pushed["code_challenge_method"] == "S256"
    assert pushed["client_assertion_type"].endswith("jwt-bearer")
    assert pushed["redirect_uri"] == "https://portal.example.test/mediterranee/callback"
    assert len(pushed["state"]) >= 32
    assert len(pushed["nonce"]) >= 32


async def test_signing_in_opens_a_session_and_leads_back_to_the_page_wanted(
    visitor: Visitor, far_side: FarSide
) -> None:
    answer = await visitor.sign_in(far_side, to="/mediterranee/activity")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/mediterranee/activity"
    cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith(COOKIE))
    assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"))


async def test_no_token_reaches_the_browser(visitor: Visitor, far_side: FarSide) -> None:
    answer = await visitor.sign_in(far_side)
    home = await visitor.get("/mediterranee")

    seen = answer.text + home.text + str(answer.headers) + str(home.headers) + str(visitor.cookies)
    assert not any(token in seen for _, _, token in far_side.calls)
    assert "r-1" not in visitor.cookies.values()


async def test_a_session_survives_a_restart_and_serves_in_another_process(
    visitor: Visitor, far_side: FarSide, portal_settings: Settings
) -> None:
    await visitor.sign_in(far_side)

    other = create_app(portal_settings, http=far_side.client())
    async with other.lifespan():
        answer = await Visitor(other, visitor.cookies).get("/mediterranee")

    assert "Maçonnerie de l’Étang" in answer.text


async def test_two_tabs_may_sign_in_side_by_side(visitor: Visitor, far_side: FarSide) -> None:
    first = await visitor.get("/mediterranee/sign-in")
    second = await visitor.get("/mediterranee/sign-in?to=/mediterranee/activity")

    for tab, path in ((second, "/mediterranee/activity"), (first, "/mediterranee")):
        query = urlencode(far_side.sign_in(tab.headers["location"]))
        answer = await visitor.get(f"/mediterranee/callback?{query}")
        assert answer.headers["location"] == path


async def test_the_back_button_after_a_sign_in_shows_the_home(visitor: Visitor, far_side: FarSide) -> None:
    begun = await visitor.get("/mediterranee/sign-in")
    query = urlencode(far_side.sign_in(begun.headers["location"]))
    await visitor.get(f"/mediterranee/callback?{query}")

    again = await visitor.get(f"/mediterranee/callback?{query}")

    assert (again.status_code, again.headers["location"]) == (303, "/mediterranee")


async def test_a_state_from_another_browser_opens_nothing(visitor: Visitor, far_side: FarSide) -> None:
    begun = await visitor.get("/mediterranee/sign-in")
    query = urlencode(far_side.sign_in(begun.headers["location"]))

    stranger = Visitor(visitor.app)
    answer = await stranger.get(f"/mediterranee/callback?{query}")

    assert answer.status_code == 400
    assert COOKIE not in stranger.cookies


@pytest.mark.parametrize("iss", ["https://evil.example", f"{IDENTITY}/grand-ouest", ""])
async def test_an_answer_of_another_issuer_is_refused(visitor: Visitor, far_side: FarSide, iss: str) -> None:
    begun = await visitor.get("/mediterranee/sign-in")
    answer = far_side.sign_in(begun.headers["location"]) | {"iss": iss}

    refused = await visitor.get(f"/mediterranee/callback?{urlencode(answer)}")

    assert refused.status_code == 400
    assert COOKIE not in visitor.cookies


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "another"},
        {"aud": "another-client"},
        {"aud": ["portal", "another"]},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"iat": 99999999999},
    ],
)
async def test_an_id_token_not_meant_for_this_sign_in_is_refused(
    visitor: Visitor, far_side: FarSide, changed: dict[str, object]
) -> None:
    far_side.claims = lambda claims: {**claims, **changed}

    answer = await visitor.sign_in(far_side)

    assert answer.status_code == 400
    assert COOKIE not in visitor.cookies


async def test_a_nonce_asked_by_identity_is_brought_at_once(visitor: Visitor, far_side: FarSide) -> None:
    far_side.wants_nonce = True

    answer = await visitor.sign_in(far_side)

    assert answer.headers["location"] == "/mediterranee"


async def test_identity_away_is_told_on_a_page(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.get("/mediterranee")
    far_side.down.add("identity")

    answer = await visitor.get("/mediterranee/sign-in")

    assert answer.status_code == 503
    assert "ne répond pas" in answer.text
    assert "Traceback" not in answer.text


async def test_a_page_for_members_leads_to_the_sign_in_and_back(visitor: Visitor, far_side: FarSide) -> None:
    answer = await visitor.get("/mediterranee/activity")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/mediterranee/sign-in?to=/mediterranee/activity"


@pytest.mark.parametrize(
    "typed",
    [
        "https://evil.example/mediterranee",
        "//evil.example",
        "/grand-ouest",
        "/mediterranee/../grand-ouest",
        "/mediterranee//evil",
        "/mediterranee\r\nSet-Cookie: a=b",
        "/mediterraneeevil",
        None,
    ],
)
def test_the_way_back_never_leaves_the_caisse(typed: str | None) -> None:
    assert checked_return(MEDITERRANEE, typed) == "/mediterranee"


async def test_signing_out_ends_the_session_here_and_goes_on_to_identity(
    visitor: Visitor, far_side: FarSide
) -> None:
    await visitor.sign_in(far_side)
    kept = dict(visitor.cookies)

    left = await visitor.press(await visitor.get("/mediterranee"), "/mediterranee/sign-out")

    assert left.status_code == 303
    assert left.headers["location"].startswith(f"{IDENTITY}/mediterranee/end-session?id_token_hint=")
    assert "post_logout_redirect_uri=https%3A%2F%2Fportal.example.test" in left.headers["location"]
    thief = Visitor(visitor.app, kept)
    assert "Espace sécurisé Entreprise" in (await thief.get("/mediterranee")).text


async def test_a_link_alone_signs_nobody_out(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)

    await visitor.get("/mediterranee/sign-out")

    assert "Maçonnerie" in (await visitor.get("/mediterranee")).text


async def test_a_logout_told_by_identity_ends_the_session_once(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)
    token = far_side.logout_token()

    told = [await visitor.post("/mediterranee/backchannel-logout", {"logout_token": token}) for _ in range(2)]

    assert [answer.status_code for answer in told] == [200, 200]
    assert told[0].headers["cache-control"] == "no-store"
    assert "Espace sécurisé Entreprise" in (await visitor.get("/mediterranee")).text


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "n"},
        {"events": {}},
        {"aud": "other"},
        {"sid": None, "sub": None},
        {"iss": "https://evil.example"},
        {"exp": 1},
    ],
)
async def test_a_logout_token_that_is_not_one_ends_nothing(
    visitor: Visitor, far_side: FarSide, changed: dict[str, object]
) -> None:
    await visitor.sign_in(far_side)

    answer = await visitor.post(
        "/mediterranee/backchannel-logout", {"logout_token": far_side.logout_token(**changed)}
    )

    assert answer.status_code == 400
    assert "Maçonnerie" in (await visitor.get("/mediterranee")).text


async def test_secrets_are_sealed_in_the_database(
    visitor: Visitor, far_side: FarSide, portal_db: Database
) -> None:
    await visitor.sign_in(far_side)
    await visitor.get("/mediterranee")

    async with portal_db.transaction(MEDITERRANEE) as tx:
        rows = await tx.fetch("SELECT sealed FROM session UNION ALL SELECT sealed FROM session_token")
        hashes = await tx.fetch("SELECT token_hash FROM session")

    stored = b"".join(row["sealed"] for row in rows)
    assert rows
    assert b"PRIVATE KEY" not in stored
    assert not any(token.encode() in stored for _, _, token in far_side.calls)
    assert visitor.cookies[COOKIE].encode() not in b"".join(row["token_hash"] for row in hashes)


async def test_no_caisse_sees_the_sessions_of_another(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)
    visitor.cookies[cookie_name(parse_caisse_slug("grand-ouest"))] = visitor.cookies[COOKIE]

    answer = await visitor.get("/grand-ouest")

    assert "Espace sécurisé Entreprise" in answer.text


def test_the_app_names_who_may_call_each_route(portal_app: Litestar) -> None:
    handlers = [handler for route in portal_app.routes for handler in getattr(route, "route_handlers", [])]

    assert {handler.opt.get("access") for handler in handlers} - {None} <= {
        "anyone",
        "session",
        "protocol",
        "internal",
    }
