"""Lines 18, 19 and 20 of openid.md, at every address of the portal as its own table of routes names them."""

from collections.abc import AsyncGenerator

import httpx
import pytest
from litestar import Litestar

from tests.addresses import Address, addresses, lines_18_and_19_hold
from tests.portal.conftest import PORTAL, Visitor
from tests.portal.far_side import FarSide

CAISSE = "mediterranee"
PUBLIC = ("/health/", "/metrics", "/static/")


def portal(app: Litestar) -> list[Address]:
    found = addresses(app, caisse=CAISSE, slug=CAISSE)
    assert len(found) > 20
    return found


async def answers(
    app: Litestar, far_side: FarSide, who: str
) -> AsyncGenerator[tuple[Address, httpx.Response], None]:
    """Each address, by a browser new each time, for some of them sign out."""
    for one in portal(app):
        visitor = await in_front(app, far_side, who)
        for method, path in ((one.method, one.path), ("PATCH", one.path), ("GET", one.path + "/")):
            yield one, await asked(visitor, method, path)


async def in_front(app: Litestar, far_side: FarSide, who: str) -> Visitor:
    visitor = Visitor(app)
    if who == "signed in":
        assert (await visitor.sign_in(far_side)).status_code == 303
    return visitor


async def asked(
    visitor: Visitor, method: str, path: str, form: dict[str, str] | None = None, **headers: str
) -> httpx.Response:
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    said = {"accept": "text/html", "cookie": cookie, **headers}
    transport = httpx.ASGITransport(visitor.app)  # pyright: ignore[reportArgumentType]
    async with httpx.AsyncClient(transport=transport, base_url=PORTAL) as http:
        return await http.request(
            method, path, data=form or ({"x": "1"} if method == "POST" else None), headers=said
        )


@pytest.mark.parametrize("who", ["a stranger", "signed in"])
async def test_lines_18_and_19_hold_at_every_address(
    portal_app: Litestar, far_side: FarSide, who: str
) -> None:
    statuses: set[int] = set()
    async for one, answer in answers(portal_app, far_side, who):
        statuses.add(answer.status_code)
        lines_18_and_19_hold(one, answer, public=PUBLIC)
    assert {303, 403, 404, 405} <= statuses, statuses


async def test_line_18_sign_in_and_sign_out_move_by_303(portal_app: Litestar, far_side: FarSide) -> None:
    visitor = Visitor(portal_app)
    begun = await visitor.get(f"/{CAISSE}/sign-in")
    back = await visitor.sign_in(far_side)
    left = await visitor.press(await visitor.get(f"/{CAISSE}"), f"/{CAISSE}/sign-out")
    refused = await visitor.get(f"/{CAISSE}/clients")
    assert [one.status_code for one in (begun, back, left, refused)] == [303] * 4


@pytest.mark.parametrize(
    "forgery", ["no token", "another browser's token", "from another site", "from another origin"]
)
async def test_line_20_no_form_is_believed_of_another_page(
    portal_app: Litestar, far_side: FarSide, forgery: str
) -> None:
    who = await in_front(portal_app, far_side, "signed in")
    stranger = await in_front(portal_app, far_side, "signed in")
    own, other = await token_of(who), await token_of(stranger)
    assert own and other and own != other
    form = {} if forgery == "no token" else {"csrf_token": other if forgery.startswith("another") else own}
    headers = {
        "from another site": {"sec-fetch-site": "cross-site"},
        "from another origin": {"origin": "https://evil.example"},
    }.get(forgery, {})
    forms = [one.path for one in portal(portal_app) if one.is_form]
    assert f"/{CAISSE}/sign-out" in forms and len(forms) >= 3
    for path in forms:
        answer = await asked(who, "POST", path, form, **headers)
        assert answer.status_code == 403, (path, answer.status_code)


async def token_of(visitor: Visitor) -> str:
    page = await visitor.get(f"/{CAISSE}")
    return page.text.partition('name="csrf_token" value="')[2].partition('"')[0]


async def test_line_20_every_cookie_is_of_this_host_alone(portal_app: Litestar, far_side: FarSide) -> None:
    """`__Host-`: no sibling host sets it, no plain http reads it; none is a script's."""
    visitor = Visitor(portal_app)
    begun = await visitor.get(f"/{CAISSE}/sign-in")
    lines = [*begun.headers.get_list("set-cookie")]
    lines += (await visitor.sign_in(far_side)).headers.get_list("set-cookie")
    async for _, answer in answers(portal_app, far_side, "signed in"):
        lines += answer.headers.get_list("set-cookie")
    assert len({line.partition("=")[0] for line in lines}) == 2
    for line in lines:
        name, _, rest = line.partition("=")
        attributes = {part.strip().lower() for part in rest.split(";")[1:]}
        assert name.startswith("__Host-"), line
        assert {"secure", "httponly", "path=/"} <= attributes, line
        assert attributes & {"samesite=lax", "samesite=strict"} and "domain" not in line.lower(), line
