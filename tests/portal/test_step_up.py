"""A service that wants a stronger or fresher sign-in (RFC 9470): said why, fetched, and back to the same act."""

import re
from html import unescape
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.portal.conftest import Visitor
from tests.portal.far_side import ADH, MDT, FarSide


async def step_up(visitor: Visitor, far_side: FarSide, page_text: str) -> tuple[dict[str, str], str]:
    """Press "Continuer" and prove who one is: what was pushed, and where one ends."""
    href = re.search(r'href="([^"]+)" id="step-up"', page_text)
    assert href, page_text
    begun = await visitor.get(unescape(href[1]))
    handle = dict(parse_qsl(urlsplit(begun.headers["location"]).query))["request_uri"]
    back = await visitor.get(
        f"/mediterranee/callback?{urlencode(far_side.sign_in(begun.headers['location']))}"
    )
    return far_side.pushed[handle], back.headers["location"]


@pytest.mark.parametrize(
    ("asked", "pushed"),
    [
        ('acr_values="mfa"', {"acr_values": "mfa"}),
        ('acr_values="two_step mfa", max_age="300"', {"acr_values": "two_step mfa", "max_age": "300"}),
        ('max_age="300"', {"max_age": "300"}),
        # What is not of the form we know travels nowhere.
        ('acr_values="mfa&scope=x", max_age="-1"', {}),
    ],
)
async def test_a_challenge_leads_to_a_new_sign_in_and_back(
    visitor: Visitor, far_side: FarSide, asked: str, pushed: dict[str, str]
) -> None:
    far_side.become_cabinet()
    await visitor.sign_in(far_side)
    far_side.challenges["/portfolio"] = asked

    told = await visitor.get("/mediterranee/clients?q=ma%C3%A7on")

    assert told.status_code == 403
    assert "Confirmez que c’est bien vous" in told.text
    assert "pris fin" not in told.text
    # Once is enough: another token of the same sign-in would be refused alike.
    assert sum(address.endswith("/portfolio") for _, address, _ in far_side.calls) == 1
    request, back = await step_up(visitor, far_side, told.text)
    assert {name: request[name] for name in ("acr_values", "max_age") if name in request} == pushed
    assert back == "/mediterranee/clients?q=ma%C3%A7on"
    del far_side.challenges["/portfolio"]
    assert (await visitor.get(back)).status_code == 200


async def test_a_challenge_that_stays_is_told_again_and_loops_nowhere(
    visitor: Visitor, far_side: FarSide
) -> None:
    far_side.become_cabinet()
    await visitor.sign_in(far_side)
    far_side.challenges["/portfolio"] = 'acr_values="mfa"'
    told = await visitor.get("/mediterranee/clients")

    _, back = await step_up(visitor, far_side, told.text)
    again = await visitor.get(back)

    assert (again.status_code, "step-up" in again.text) == (403, True)


async def test_a_form_comes_back_to_the_page_that_holds_it(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)
    page = await visitor.get("/mediterranee")
    far_side.challenges[f"/adherents/{ADH}/attestations"] = 'max_age="300"'
    # The home shows without the list, whose service asks for more: only what one asked for stops the page.
    told = await visitor.press(page, "/mediterranee/attestations")

    assert told.status_code == 403
    assert "Rien n’a été fait" in told.text
    request, back = await step_up(visitor, far_side, told.text)
    assert (request["max_age"], back) == ("300", "/mediterranee")


async def test_a_delegated_call_s_challenge_is_no_end_of_the_mandate(
    visitor: Visitor, far_side: FarSide
) -> None:
    far_side.become_cabinet()
    await visitor.sign_in(far_side)
    page = await visitor.get(f"/mediterranee/clients/{MDT}")
    far_side.challenges[f"/adherents/{ADH}/attestations"] = 'acr_values="mfa"'

    told = await visitor.press(page, f"/mediterranee/clients/{MDT}/attestations")

    assert "ne pouvez plus agir" not in told.text
    _, back = await step_up(visitor, far_side, told.text)
    assert back == f"/mediterranee/clients/{MDT}"


async def test_the_page_is_read_in_english_too(visitor: Visitor, far_side: FarSide) -> None:
    far_side.become_cabinet()
    await visitor.sign_in(far_side)
    far_side.challenges["/portfolio"] = 'acr_values="mfa"'

    told = await visitor.get("/mediterranee/clients", **{"accept-language": "en"})

    assert "Confirm that it is you" in told.text
    assert "one proof more than your sign-in gave" in told.text


async def test_a_proof_refused_by_a_service_ends_no_session(visitor: Visitor, far_side: FarSide) -> None:
    far_side.become_cabinet()
    await visitor.sign_in(far_side)
    far_side.challenges["/portfolio"] = 'error="invalid_dpop_proof"'

    told = await visitor.get("/mediterranee/clients")

    assert told.status_code == 503
    assert "pris fin" not in told.text
