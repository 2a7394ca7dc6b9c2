"""Which person, at which level, for which firm: what a request may demand, and what silence may not fail."""

import json
from typing import Any

import pytest

from libs.common.values.identifiers import public_id
from services.identity.sign_in.prove_again import finish_step_up
from services.identity.sign_in.session import Acr, cookie_name, current_session, renew
from tests.openid.party import Issuer, Somebody, callback, claims_of


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


def levels(*values: str, essential: bool = True) -> str:
    return json.dumps({"id_token": {"acr": {"essential": essential, "values": values}}})


def person(subject: str) -> str:
    return json.dumps({"id_token": {"sub": {"value": subject}}})


async def test_an_essential_level_that_does_not_exist_is_unmet(issuer: Issuer) -> None:
    strong = await (await issuer.person()).sign_in(acr="mfa", amr=["pwd", "otp"])
    client = await issuer.plain_client()
    answer = callback(await client.authorize(strong, claims=levels("urn:unknown")))
    assert answer["error"] == "unmet_authentication_requirements"
    pushed = await (await issuer.client()).push(claims=levels("urn:unknown"))
    assert pushed.json()["error"] == "unmet_authentication_requirements"
    # A wish for it is only a wish.
    assert "code" in callback(await client.authorize(strong, claims=levels("urn:unknown", essential=False)))


@pytest.mark.parametrize(
    ("values", "said"),
    [(["pwd"], "pwd"), (["pwd", "two_step"], "two_step"), (["pwd", "mfa"], "mfa"), (["urn:x", "pwd"], "pwd")],
)
async def test_the_answer_is_one_of_the_essential_levels(
    issuer: Issuer, values: list[str], said: str
) -> None:
    strong = await (await issuer.person()).sign_in(acr="mfa", amr=["pwd", "otp"])
    client = await issuer.client()
    tokens = await client.tokens(strong, claims=levels(*values))
    assert claims_of(tokens["id_token"])["acr"] == said
    assert claims_of(tokens["access_token"])["acr"] == "mfa"
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    assert claims_of(refreshed["id_token"])["acr"] == said


@pytest.mark.parametrize("wish", [{"acr_values": "mfa"}, {"claims": levels("mfa", essential=False)}])
async def test_a_wish_for_a_level_fails_no_silent_request(
    issuer: Issuer, who: Somebody, wish: dict[str, str]
) -> None:
    client = await issuer.plain_client()
    assert "code" in callback(await client.authorize(who, prompt="none", **wish))
    # Somebody who is there is asked.
    assert "/sign-in?flow=" in (await client.authorize(who, **wish)).headers["location"]
    silent = callback(await client.authorize(who, prompt="none", claims=levels("mfa")))
    assert silent["error"] == "unmet_authentication_requirements"


@pytest.mark.parametrize("subject_type", ["public", "pairwise"])
async def test_sub_of_the_claims_parameter_names_who_must_answer(issuer: Issuer, subject_type: Any) -> None:
    client = await issuer.plain_client(subject_type=subject_type)
    who, other = await issuer.person(), await issuer.person()
    await who.sign_in()
    await other.sign_in()
    hers = claims_of((await client.tokens(other))["id_token"])["sub"]
    assert (hers == public_id("per", other.id)) == (subject_type == "public")
    silent = callback(await client.authorize(who, claims=person(hers), prompt="none"))
    assert silent["error"] == "login_required"
    asked = await client.authorize(who, claims=person(hers))
    flow = asked.headers["location"].partition("/sign-in?flow=")[2]
    issuer.clock.forward(seconds=1)
    await who.sign_in()
    answer = callback(await who.get(f"/{issuer.caisse}/authorize/continue?flow={flow}"))
    assert answer["error"] == "login_required"
    assert "code" in callback(
        await client.authorize(await other.sign_in(), claims=person(hers), prompt="none")
    )


async def test_two_persons_named_are_no_request(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.plain_client()
    hint = (await client.tokens(who))["id_token"]
    answer = callback(await client.authorize(who, claims=person("per_other"), id_token_hint=hint))
    assert answer["error"] == "invalid_request"
    for wrong in ({"value": 7}, {"values": ["per_a", "per_b"]}):
        asked = json.dumps({"id_token": {"sub": wrong}})
        assert callback(await client.authorize(who, claims=asked))["error"] == "invalid_request"


async def chosen(who: Somebody, page: Any, account: int) -> Any:
    onward = await who.submit(page, firm=public_id("acc", who.accounts[account][0]))
    return await who.get(onward.headers["location"])


async def test_a_silent_request_recalls_the_firm_of_this_session_and_client(issuer: Issuer) -> None:
    who = await (await issuer.person(firms=2)).sign_in()
    client, another = await issuer.client(), await issuer.client()
    assert callback(await client.authorize(who, prompt="none"))["error"] == "interaction_required"
    for firm in (1, 0):
        issuer.clock.forward(seconds=1)
        # Somebody who is there is asked each time.
        assert "code" in callback(await chosen(who, await client.authorize(who), firm))
        issuer.clock.forward(seconds=1)
        silent = callback(await client.authorize(who, prompt="none"))
        token = (await client.redeem(silent["code"])).json()["access_token"]
        assert claims_of(token)["adherent"] == public_id("adh", who.accounts[firm][1])
    assert callback(await another.authorize(who, prompt="none"))["error"] == "interaction_required"
    await who.sign_in()
    assert callback(await client.authorize(who, prompt="none"))["error"] == "interaction_required"


async def test_a_firm_that_one_has_left_is_not_recalled(issuer: Issuer) -> None:
    who = await (await issuer.person(firms=3)).sign_in()
    client = await issuer.client()
    assert "code" in callback(await chosen(who, await client.authorize(who), 1))
    async with issuer.db.transaction(issuer.caisse) as tx:
        await tx.execute("UPDATE account SET state = 'closed' WHERE id = $1", who.accounts[1][0])
    assert callback(await client.authorize(who, prompt="none"))["error"] == "interaction_required"


FRESH = {"acr_values": "two_step", "max_age": "300"}
"""What an API asks before an act that matters (RFC 9470 §3; delegation.md §1, "Step-up")."""


@pytest.mark.parametrize("level", ["two_step", "mfa"])
async def test_another_password_makes_no_second_step_fresh(issuer: Issuer, level: Acr) -> None:
    """The change asks for the present password alone: whoever knows it, before an open browser, has no telephone."""
    who = await (await issuer.person()).sign_in(acr=level, amr=["pwd", "otp"])
    client, then = await issuer.client(), int(issuer.clock().timestamp())
    issuer.clock.forward(minutes=20)
    async with issuer.db.transaction(issuer.caisse) as tx:
        session = await current_session(tx, who.cookies[cookie_name(issuer.caisse)], issuer.clock())
        assert session is not None
        # As `replace_password` does in the transaction of the change.
        renewed = await renew(tx, session, acr="pwd", amr=["pwd"], second_factor_at=None, now=issuer.clock())
    who.cookies[cookie_name(issuer.caisse)] = renewed.cookie
    asked = await client.authorize(who, **FRESH)
    assert "/sign-in?flow=" in asked.headers["location"]
    # The page asks too: it does not take the session for what is wanted.
    assert (await who.get(asked.headers["location"])).status_code == 200
    said = claims_of((await client.tokens(who))["access_token"])
    assert (said["acr"], said["auth_time"]) == (level, then)


async def test_a_mailed_code_makes_no_two_factors_fresh(issuer: Issuer) -> None:
    """delegation.md §1: recorded as `two_step`, never as `mfa`, once there is no application any more."""
    who = await (await issuer.person()).sign_in(acr="mfa", amr=["pwd", "otp"])
    client = await issuer.client()
    issuer.clock.forward(minutes=20)
    async with issuer.db.transaction(issuer.caisse) as tx:
        session = await current_session(tx, who.cookies[cookie_name(issuer.caisse)], issuer.clock())
        assert session is not None
        stepped_up = await finish_step_up(tx, session, frozenset({"pwd", "email"}), now=issuer.clock())
    who.cookies[cookie_name(issuer.caisse)] = stepped_up.cookie
    said = claims_of((await client.tokens(who, **FRESH))["access_token"])
    assert (said["acr"], said["amr"]) == ("two_step", ["email", "pwd"])
    assert said["auth_time"] == int(issuer.clock().timestamp())
