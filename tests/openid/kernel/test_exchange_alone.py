"""The exchange without a database: each thing wrong with what proves the actor, by itself (RFC 8693 §2.1)."""

from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from libs.common.access.access_token import TOKEN_LIMIT
from libs.common.values.identifiers import public_id
from services.identity.delegation.terms import MOST_CHOSEN
from services.identity.openid.answers import Answer
from services.identity.openid.authorization_details import narrow_mandate
from services.identity.openid.caller import UnprovenRequest
from services.identity.openid.clients import REFRESH, TOKEN_EXCHANGE
from services.identity.openid.refusals import InvalidAuthorizationDetails
from services.identity.openid.token import decide
from services.identity.openid.wire import Parameters
from tests.openid.kernel import world

MACHINE = world.machine()


def error(answer: Answer) -> str:
    assert isinstance(answer.body, dict)
    return answer.body.get("error", "")


def without(asked: UnprovenRequest, *names: str) -> UnprovenRequest:
    left = {name: value for name, value in asked.parameters.values.items() if name not in names}
    return replace(asked, parameters=Parameters(left, asked.parameters.resources))


def unproven(asked: UnprovenRequest) -> UnprovenRequest:
    return replace(asked, proof=replace(asked.proof, proofs=()))


NOT_THE_CALLER_S: dict[str, dict[str, Any]] = {
    "of another client": {"client_id": "client_2"},
    "a delegated one": {"act": {"sub": "per_X", "org": "cab_X"}},
    "of a firm": {"sub": public_id("adh", UUID(int=4))},
    "of a service": {"sub": "client_1"},
    "for another audience": {"aud": world.ADHERENT},
    "over": {"exp": int(world.NOW.timestamp())},
    "of one factor": {"acr": "pwd"},
    "of two steps": {"acr": "two_step"},
    "of no level": {"acr": None},
    "bound to no key": {"cnf": None},
    "bound to another key": {"cnf": {"jkt": "x" * 43}},
}


@pytest.mark.parametrize("why", NOT_THE_CALLER_S)
def test_an_actor_token_is_the_caller_s_own(why: str) -> None:
    claims = {**world.presented(world.grant()), **NOT_THE_CALLER_S[why]}
    answer = decide(world.asked(TOKEN_EXCHANGE), world.whole_snapshot(presented=claims)).answer
    assert error(answer) in {"invalid_grant", "invalid_dpop_proof"}


@pytest.mark.parametrize(
    "nothing",
    [{"presented": None}, {"presented_is_revoked": True}, {"grant": None}, {"power": None},
     {"power": world.power(not_after=world.NOW)}, {"grant": world.grant(client_id="client_2")}],
    ids=["no token", "revoked", "no grant", "no power", "power over", "another client's"],
)  # fmt: skip
def test_an_exchange_stands_on_a_token_a_grant_and_a_power(nothing: dict[str, Any]) -> None:
    answer = decide(world.asked(TOKEN_EXCHANGE), world.whole_snapshot(**nothing)).answer
    assert error(answer) == "invalid_grant"


def test_the_token_of_the_longest_mandate_is_read_by_every_service() -> None:
    establishments = tuple(sorted(public_id("est", UUID(int=2**80 + n)) for n in range(MOST_CHOSEN)))
    power = world.power(establishments=establishments, amount_cap_cents=10**9)
    answer = decide(world.asked(TOKEN_EXCHANGE), world.whole_snapshot(power=power)).answer
    assert isinstance(answer.body, dict), answer
    token = answer.body["access_token"]
    # Addresses longer than the test's, in four claims, in base64.
    assert len(token) + 4 * 200 * 4 // 3 < TOKEN_LIMIT


@pytest.mark.parametrize(
    "missing", ["subject_token", "subject_token_type", "actor_token", "actor_token_type"]
)
def test_a_parameter_that_is_missing_is_named(missing: str) -> None:
    answer = decide(without(world.asked(TOKEN_EXCHANGE), missing), world.whole_snapshot()).answer
    assert error(answer) == "invalid_request"


def test_a_machine_is_its_own_actor() -> None:
    assert decide(world.asked_by_a_machine(), world.whole_snapshot(machine=MACHINE)).answer.status == 200


def test_a_machine_proves_its_key() -> None:
    """openid.md line 13: the proof is what is missing, and that is what it hears."""
    answer = decide(unproven(world.asked_by_a_machine()), world.whole_snapshot(machine=MACHINE)).answer
    assert error(answer) == "invalid_dpop_proof"


@pytest.mark.parametrize(
    ("nothing", "said"),
    [
        ({"machine": None}, "invalid_request"),
        ({"machine": world.machine(sponsor_state="suspended")}, "invalid_grant"),
        ({"machine": world.machine(membership="left")}, "invalid_grant"),
        ({"power": None}, "invalid_grant"),
        ({"power": world.power(not_after=world.NOW)}, "invalid_grant"),
    ],
    ids=["no machine", "suspended", "left", "no power", "power over"],
)
def test_a_machine_stands_on_its_sponsor_and_a_power(nothing: dict[str, Any], said: str) -> None:
    answer = decide(
        world.asked_by_a_machine(), world.whole_snapshot(None, **{"machine": MACHINE, **nothing})
    ).answer
    assert error(answer) == said


def test_a_bound_refresh_token_is_not_redeemed_without_its_key() -> None:
    """RFC 9449 §5, where nothing else asks for a proof: `compat`."""
    snapshot = world.whole_snapshot(
        client=world.client(profile="compat"), refresh=world.refresh(dpop_jkt=world.keys()["dpop"].kid)
    )
    assert decide(world.asked(REFRESH), snapshot).answer.status == 200
    assert error(decide(unproven(world.asked(REFRESH)), snapshot).answer) == "invalid_dpop_proof"


# RFC 9396 §6: details only narrow.

HERE, THERE = public_id("est", UUID(int=11)), public_id("est", UUID(int=12))
MANDATE = public_id("mdt", UUID(int=6))


def detail(**changes: Any) -> dict[str, Any]:
    return {
        "type": "mandate",
        "mandate": MANDATE,
        "establishments": [HERE],
        "amount_cap_cents": 1000,
    } | changes


@pytest.mark.parametrize(
    ("asked", "whole"),
    [
        ('"amount_cap_cents":1001', detail()),
        ('"amount_cap_cents":0', detail()),
        ('"amount_cap_cents":-1', detail()),
        ('"amount_cap_cents":1', {**detail(), "amount_cap_cents": None}),
        (f'"establishments":["{THERE}"]', detail()),
        (f'"establishments":["{HERE}","{THERE}"]', detail()),
        ('"establishments":["*"]', detail()),
        ('"establishments":[]', detail()),
        (f'"establishments":["{THERE}"]', detail(establishments=["*"])),
        (f'"mandate":"{public_id("mdt", UUID(int=7))}"', detail()),
        ('"unknown":1', detail()),
        ('"amount_cap_cents":1},{"type":"mandate"', detail()),
    ],
)
def test_a_detail_that_is_wider_is_refused(asked: str, whole: dict[str, Any]) -> None:
    with pytest.raises(InvalidAuthorizationDetails):
        narrow_mandate(whole, f'[{{"type":"mandate",{asked}}}]', frozenset({HERE}))


def test_a_detail_that_is_narrower_is_what_is_given() -> None:
    asked = f'[{{"type":"mandate","mandate":"{MANDATE}","establishments":["{HERE}"],"amount_cap_cents":999}}]'
    narrowed = narrow_mandate(detail(establishments=["*"]), asked, frozenset({HERE, THERE}))
    assert narrowed == detail(establishments=[HERE], amount_cap_cents=999)
    assert narrow_mandate(detail(), None, frozenset()) == detail()
