"""The kernel alone: every grant crossed with every policy, and properties that no input breaks."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.common.access.signatures import b64url
from services.identity.openid.answers import Answer
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, REFRESH, TOKEN_EXCHANGE
from services.identity.openid.effects import ConsumeCode, Note, RememberJti, RememberProof, RevokeGrant
from services.identity.openid.token import GRANTS, decide
from tests.openid.kernel import world
from tests.openid.party import claims_of

OF_PEOPLE = (CODE, REFRESH, TOKEN_EXCHANGE)


def body(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer.body, dict)
    return answer.body


@pytest.mark.parametrize("grant_type", GRANTS)
def test_everything_in_order_gives_a_token(grant_type: str) -> None:
    answer = decide(world.asked(grant_type), world.whole_snapshot()).answer
    assert answer.status == 200, answer.body
    assert claims_of(body(answer)["access_token"])["cnf"] == {"jkt": world.keys()["dpop"].kid}


@pytest.mark.parametrize("grant_type", GRANTS)
def test_a_process_whose_clock_runs_ahead_dates_its_tokens_by_the_database(grant_type: str) -> None:
    """A floor is dated by the database: a token of before it must not be dated after it."""
    snapshot = replace(world.whole_snapshot(), ahead=timedelta(seconds=3))
    claims = claims_of(body(decide(world.asked(grant_type), snapshot).answer)["access_token"])
    assert claims["iat"] == int(world.NOW.timestamp()) - 3


POLICIES: dict[str, Any] = {
    "person suspended": {"person_state": "suspended"},
    "account closed": {"account_state": "closed"},
    "account frozen": {"account_state": "frozen"},
    "adhérent struck off": {"adherent_state": "struck_off"},
    "session over": {"session_ends_at": None},
    "session idle, or too old": {"session_ends_at": world.NOW},
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("grant_type", OF_PEOPLE)
def test_every_grant_of_people_meets_every_policy(grant_type: str, policy: str) -> None:
    """openid.md §4, "gate missing in a sibling grant"."""
    found = world.grant(subject=world.subject(**POLICIES[policy]))
    answer = decide(world.asked(grant_type), world.whole_snapshot(found)).answer
    assert (answer.status, body(answer)["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("grant_type", GRANTS)
def test_every_grant_refuses_a_disabled_client(grant_type: str) -> None:
    disabled = world.client()
    disabled = replace(disabled, state="disabled")
    answer = decide(world.asked(grant_type), world.whole_snapshot(client=disabled)).answer
    assert (answer.status, body(answer)["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("grant_type", GRANTS)
def test_every_grant_is_closed_to_a_client_not_registered_for_it(grant_type: str) -> None:
    others = tuple(name for name in GRANTS if name != grant_type)
    answer = decide(
        world.asked(grant_type), world.whole_snapshot(client=world.client(grant_types=others))
    ).answer
    assert (answer.status, body(answer)["error"]) == (400, "unauthorized_client")


@pytest.mark.parametrize("grant_type", OF_PEOPLE)
def test_every_grant_of_people_refuses_a_revoked_grant(grant_type: str) -> None:
    answer = decide(world.asked(grant_type), world.whole_snapshot(world.grant(revoked=True))).answer
    assert body(answer)["error"] == "invalid_grant"


@pytest.mark.parametrize("grant_type", OF_PEOPLE)
def test_every_grant_of_people_ends(grant_type: str) -> None:
    """Exclusive, whatever its session, its code or its refresh token would still allow."""
    over = world.grant(expires_at=world.NOW)
    answer = decide(world.asked(grant_type), world.whole_snapshot(over, grant=over)).answer
    assert (answer.status, body(answer)["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("grant_type", [CLIENT_CREDENTIALS, TOKEN_EXCHANGE])
def test_a_public_client_has_no_power_of_its_own(grant_type: str) -> None:
    """RFC 6749 §4.4, RFC 8693 §2.1: even one that was registered for it, before the rule that refuses that."""
    public = world.client(profile="standard", token_endpoint_auth_method="none", jwks=None)
    answer = decide(world.asked_by_a_public_client(grant_type), world.whole_snapshot(client=public)).answer
    assert (answer.status, body(answer)["error"]) == (400, "unauthorized_client")


def test_a_code_lives_sixty_seconds() -> None:
    """openid.md line 6, exclusive: judged before anything is written."""
    decision = decide(world.asked(CODE), world.whole_snapshot(code=world.code(expires_at=world.NOW)))
    assert body(decision.answer)["error"] == "invalid_grant"
    assert not any(isinstance(effect, ConsumeCode) for effect in decision.effects)


@pytest.mark.parametrize("verifier", ["v" * 42, "v" * 129, "v" * 63 + "+"])
def test_a_verifier_has_its_form_even_when_its_hash_is_right(verifier: str) -> None:
    """RFC 7636 §4.1: what is too short can be guessed, whoever chose it."""
    challenge = b64url(hashlib.sha256(verifier.encode()).digest())
    snapshot = world.whole_snapshot(code=world.code(code_challenge=challenge))
    answer = decide(world.asked(CODE, code_verifier=verifier), snapshot).answer
    assert (answer.status, body(answer)["error"]) == (400, "invalid_grant")


def test_a_code_bound_to_a_key_is_not_redeemed_without_one() -> None:
    """RFC 9449 §10, where nothing else asks for a proof: `compat`."""
    bound = world.code(dpop_jkt=world.keys()["dpop"].kid)
    asked = world.asked(CODE)
    without = replace(asked, proof=replace(asked.proof, proofs=()))
    answer = decide(without, world.whole_snapshot(code=bound, client=world.client(profile="compat"))).answer
    assert (answer.status, body(answer)["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("grant_type", [CODE, REFRESH])
def test_a_grant_without_the_issuer_names_its_resource(grant_type: str) -> None:
    """RFC 8707 §2.2: a token for UserInfo was not granted, so it is not what is given by default."""
    given_for = replace(world.grant().granted, resources=(world.ADHERENT,))
    snapshot = world.whole_snapshot(world.grant(granted=given_for))
    assert body(decide(world.asked(grant_type), snapshot).answer)["error"] == "invalid_target"
    assert decide(world.asked(grant_type, resource=world.ADHERENT), snapshot).answer.status == 200


@pytest.mark.parametrize("grant_type", GRANTS)
def test_every_grant_needs_a_proof_of_the_key(grant_type: str) -> None:
    asked = world.asked(grant_type)
    without = replace(asked, proof=replace(asked.proof, proofs=()))
    answer = decide(without, world.whole_snapshot()).answer
    assert body(answer)["error"] in {"invalid_dpop_proof", "invalid_grant"}


@pytest.mark.parametrize("grant_type", GRANTS)
def test_a_proven_assertion_is_spent_even_by_a_refusal(grant_type: str) -> None:
    decision = decide(world.asked(grant_type, resource="https://elsewhere.example"), world.whole_snapshot())
    assert decision.answer.status == 400
    assert {RememberJti, RememberProof} <= {type(effect) for effect in decision.effects}


def test_a_replayed_code_kills_its_grant() -> None:
    decision = decide(world.asked(CODE), world.whole_snapshot(code=world.code(consumed=True)))
    assert body(decision.answer)["error"] == "invalid_grant"
    assert [e for e in decision.effects if isinstance(e, RevokeGrant)] != []


def test_a_code_in_another_client_s_hands_kills_its_grant() -> None:
    """openid.md §4, "code retargeted"."""
    foreign = world.code(grant=world.grant(client_id="client_2"))
    decision = decide(world.asked(CODE), world.whole_snapshot(code=foreign))
    assert body(decision.answer)["error"] == "invalid_grant"
    assert [e for e in decision.effects if isinstance(e, RevokeGrant)] != []


def test_a_wrong_verifier_consumes_nothing() -> None:
    decision = decide(world.asked(CODE, code_verifier="w" * 64), world.whole_snapshot())
    assert not any(isinstance(effect, ConsumeCode) for effect in decision.effects)


@pytest.mark.parametrize("grant_type", OF_PEOPLE)
@given(left=st.integers(1, 900), mandate=st.integers(1, 900))
def test_no_token_outlives_its_grant_nor_its_mandate(grant_type: str, left: int, mandate: int) -> None:
    ending = world.grant(expires_at=world.NOW + timedelta(seconds=left))
    power = world.power(not_after=world.NOW + timedelta(seconds=mandate))
    snapshot = world.whole_snapshot(ending, grant=ending, power=power)
    answer = body(decide(world.asked(grant_type), snapshot).answer)
    longest = min(300, left, mandate) if grant_type == TOKEN_EXCHANGE else min(600, left)
    claims = claims_of(answer["access_token"])
    assert claims["exp"] - claims["iat"] == answer["expires_in"] == longest


words = st.sampled_from(
    [*world.SCOPES.split(), "payment.order", "leave.read", "mandate.manage", "x", "openid"]
)
scopes = st.lists(words, unique=True, max_size=6).map(" ".join)


@given(asked=scopes, mandate=scopes, ceiling=scopes)
def test_an_exchange_is_within_each_of_its_inputs(asked: str, mandate: str, ceiling: str) -> None:
    # What the actor's own token says is never withdrawn here.
    client = world.client(scope=f"{ceiling} openid")
    snapshot = world.whole_snapshot(client=client, power=world.power(scopes=frozenset(mandate.split())))
    form = {"scope": asked} if asked else {}
    answer = decide(world.asked(TOKEN_EXCHANGE, **form), snapshot).answer
    if answer.status != 200:
        assert body(answer)["error"] == "invalid_scope"
        return
    granted = set(body(answer)["scope"].split())
    assert granted
    assert granted <= set(mandate.split()) & set(ceiling.split())
    assert not asked or granted <= set(asked.split())
    assert granted <= world.issuer().audiences[world.ADHERENT].scopes


@pytest.mark.parametrize(
    "withdrawn", [{"floor": world.NOW}, {"client": world.client(scope="declaration.read")}]
)
def test_an_actor_s_token_is_judged_as_introspection_does(withdrawn: dict[str, Any]) -> None:
    """A floor raised above it, or a scope it says that would not be given today."""
    decision = decide(world.asked(TOKEN_EXCHANGE), world.whole_snapshot(**withdrawn))
    assert body(decision.answer)["error"] == "invalid_grant"
    told = [one.act.details["reason"] for one in decision.effects if isinstance(one, Note)]
    assert told in (["token_under_a_floor"], ["scope_withdrawn"])


@given(asked=scopes, granted=scopes, ceiling=scopes, rights=scopes, is_administrator=st.booleans())
def test_a_refresh_never_widens(
    asked: str, granted: str, ceiling: str, rights: str, is_administrator: bool
) -> None:
    who = world.subject(rights=frozenset(rights.split()), is_administrator=is_administrator)
    given_scopes = replace(world.grant().granted, scopes=tuple(granted.split()))
    found = world.grant(subject=who, granted=given_scopes)
    form = {"scope": asked} if asked else {}
    answer = decide(
        world.asked(REFRESH, resource=world.ADHERENT, **form),
        world.whole_snapshot(found, client=world.client(scope=ceiling)),
    ).answer
    if answer.status == 200:
        held = set(body(answer)["scope"].split())
        assert held <= set(granted.split()) & set(ceiling.split())
        assert not asked or held <= set(asked.split())
        assert is_administrator or held <= set(rights.split())


@given(minutes=st.integers(0, 20), mandate_seconds=st.integers(1, 900))
def test_a_delegated_token_outlives_nothing(minutes: int, mandate_seconds: int) -> None:
    claims = {**world.presented(world.grant()), "exp": int(world.NOW.timestamp()) + minutes * 60}
    ends = world.NOW + timedelta(seconds=mandate_seconds)
    answer = decide(
        world.asked(TOKEN_EXCHANGE), world.whole_snapshot(presented=claims, power=world.power(not_after=ends))
    ).answer
    if minutes == 0:
        assert body(answer)["error"] == "invalid_grant"
        return
    token = claims_of(body(answer)["access_token"])
    assert token["exp"] <= min(claims["exp"], int(ends.timestamp()), int(world.NOW.timestamp()) + 300)


@given(
    name=st.sampled_from(
        ["code", "redirect_uri", "code_verifier", "scope", "client_assertion", "grant_type"]
    ),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=80),
)
def test_no_ascii_value_is_a_defect(name: str, value: str) -> None:
    """Whatever a parameter holds, the answer is a decision, never an exception."""
    from services.identity.openid.client_authentication import credentials_of
    from services.identity.openid.refusals import Refusal
    from services.identity.openid.wire import parameters_of

    form = {**world.asked(CODE).parameters.values, name: value}
    try:
        parameters = parameters_of(form.items())
        asked = replace(
            world.asked(CODE), parameters=parameters, credentials=credentials_of(parameters, None)
        )
    except Refusal:
        return
    assert decide(asked, world.whole_snapshot()).answer.status in {200, 400, 401}


def test_client_credentials_never_hold_a_person_s_right() -> None:
    client = world.client(scope="declaration.read standing.read")
    answer = decide(
        world.asked(CLIENT_CREDENTIALS, resource=world.ADHERENT), world.whole_snapshot(client=client)
    ).answer
    assert body(answer)["scope"] == "standing.read"
