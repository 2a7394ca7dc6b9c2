"""Floors: what a process knows of revocations, and when it knows that it does not know."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.access.access_token import AccessToken, TokenVerifier
from libs.common.access.revocations import REMEMBERED, Floors, Verdict
from libs.common.events.identity import FloorRaised
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id, public_id
from tests.access.tokens import AUDIENCE_BASE, CAISSE, ISSUER_BASE, IssuerAtHand


class Clocks:
    """Our monotonic clock and our wall clock, and the database's clock `ahead` of ours."""

    def __init__(self) -> None:
        self.elapsed = 5000.0
        self.epoch = datetime.now(UTC).timestamp()
        self.ahead = 0.0

    def monotonic(self) -> float:
        return self.elapsed

    def wall(self) -> float:
        return self.epoch

    def later(self, seconds: float) -> None:
        self.elapsed += seconds
        self.epoch += seconds

    def database(self) -> datetime:
        return datetime.fromtimestamp(self.epoch + self.ahead, UTC)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def following(clocks: Clocks, **options: Any) -> Floors:
    """A process that knows the past, the database's clock, and everything until now."""
    floors = Floors(monotonic=clocks.monotonic, wall=clocks.wall, **options)
    floors.caught_up = True
    measure(floors, clocks)
    floors.heartbeat(clocks.database())
    return floors


def measure(floors: Floors, clocks: Clocks, *, round_trip: float = 0.0) -> None:
    """Ask the database's clock; it answers half way."""
    asked = clocks.monotonic()
    clocks.later(round_trip / 2)
    told = clocks.database()
    clocks.later(round_trip / 2)
    floors.measured(told, asked=asked)


@pytest.fixture
def floors(clocks: Clocks) -> Floors:
    return following(clocks)


def a_floor(kind: str, key: str, *, version: int | None = None, at: float) -> FloorRaised:
    instant = datetime.fromtimestamp(at, UTC)
    return FloorRaised(event_id=new_id(), at=instant, kind=kind, key=key, version=version, not_before=instant)


async def believed(claims: dict[str, Any], issuer: IssuerAtHand) -> AccessToken:
    verifier = TokenVerifier(issuer, issuer_base=ISSUER_BASE, audience_base=AUDIENCE_BASE)
    return await verifier.verify(issuer.sign(claims), CAISSE)


async def a_delegated_token() -> AccessToken:
    issuer = IssuerAtHand()
    return await believed(issuer.delegated_claims(), issuer)


async def an_own_token() -> AccessToken:
    issuer = IssuerAtHand()
    return await believed(issuer.own_claims(), issuer)


async def test_a_fresh_stream_whose_past_was_not_read_vouches_for_nothing(clocks: Clocks) -> None:
    """delegation.md §4: what was revoked before this process began is known once all of it was read."""
    floors = following(clocks)
    floors.caught_up = False
    assert floors.is_fresh
    assert floors.judge(await a_delegated_token()) is Verdict.UNKNOWN
    assert floors.judge(await an_own_token()) is Verdict.STANDING
    floors.caught_up = True
    assert floors.judge(await a_delegated_token()) is Verdict.STANDING


async def test_a_lower_version_of_the_mandate_is_revoked(floors: Floors, clocks: Clocks) -> None:
    token = await a_delegated_token()
    assert token.mandate is not None
    key = public_id("mdt", token.mandate.id)

    floors.raise_floor(CAISSE, a_floor("mandate", key, version=7, at=clocks.epoch))
    assert floors.judge(token) is Verdict.STANDING
    floors.raise_floor(CAISSE, a_floor("mandate", key, version=8, at=clocks.epoch))
    assert floors.judge(token) is Verdict.REVOKED
    floors.raise_floor(CAISSE, a_floor("mandate", key, version=6, at=clocks.epoch))
    assert floors.judge(token) is Verdict.REVOKED, "a late, older floor lowers nothing"


@pytest.mark.parametrize("kind", ["cabinet", "group", "actor", "client", "sid"])
async def test_what_was_issued_before_a_floor_is_revoked(floors: Floors, clocks: Clocks, kind: str) -> None:
    token = await a_delegated_token()
    assert token.actor is not None and token.mandate is not None
    key = {
        "cabinet": public_id("cab", token.actor.cabinet_id),
        "group": token.mandate.group or "",
        "actor": token.actor.subject,
        "client": token.client_id,
        "sid": token.sid or "",
    }[kind]
    issued = token.issued_at.timestamp()

    floors.raise_floor(CAISSE, a_floor(kind, key, at=issued - 1))
    assert floors.judge(token) is Verdict.STANDING
    floors.raise_floor(CAISSE, a_floor(kind, key, at=issued))
    assert floors.judge(token) is Verdict.REVOKED, "the same second is not strictly after"


async def test_a_machine_falls_with_itself_and_with_its_sponsor(floors: Floors, clocks: Clocks) -> None:
    for fallen in ("sub", "sponsor"):
        issuer = IssuerAtHand()
        claims = issuer.delegated_claims()
        act = claims["act"] | {
            "sub": public_id("mch", new_id()),
            "sub_profile": "service",
            "sponsor": public_id("per", new_id()),
        }
        token = await believed(claims | {"act": act}, issuer)
        assert floors.judge(token) is Verdict.STANDING
        floors.raise_floor(CAISSE, a_floor("actor", act[fallen], at=token.issued_at.timestamp()))
        assert floors.judge(token) is Verdict.REVOKED


async def test_a_persons_own_token_falls_with_the_person_and_the_session(
    floors: Floors, clocks: Clocks
) -> None:
    for kind in ("actor", "sid"):
        token = await an_own_token()
        key = token.subject if kind == "actor" else token.sid or ""
        floors.raise_floor(CAISSE, a_floor(kind, key, at=token.issued_at.timestamp()))
        assert floors.judge(token) is Verdict.REVOKED


async def test_a_client_of_the_same_name_at_another_caisse_is_another(floors: Floors, clocks: Clocks) -> None:
    token = await an_own_token()
    floors.raise_floor(CaisseSlug("grand-ouest"), a_floor("client", token.client_id, at=clocks.epoch + 5))
    assert floors.judge(token) is Verdict.STANDING


async def test_after_800_ms_of_silence_delegated_tokens_are_judged_elsewhere(
    floors: Floors, clocks: Clocks
) -> None:
    delegated, own = await a_delegated_token(), await an_own_token()

    clocks.later(0.79)
    assert floors.judge(delegated) is Verdict.STANDING
    clocks.later(0.02)
    assert floors.judge(delegated) is Verdict.UNKNOWN
    assert floors.judge(own) is Verdict.STANDING, "the firm's own people go on"
    floors.heartbeat(clocks.database())
    assert floors.judge(delegated) is Verdict.STANDING


async def test_before_the_past_is_replayed_nothing_delegated_is_judged_here(clocks: Clocks) -> None:
    floors = Floors(monotonic=clocks.monotonic, wall=clocks.wall)
    floors.heartbeat(clocks.database())
    assert floors.judge(await a_delegated_token()) is Verdict.UNKNOWN


async def test_a_link_that_begins_to_lag_is_noticed(floors: Floors, clocks: Clocks) -> None:
    token = await a_delegated_token()
    for _ in range(20):
        clocks.later(0.2)
        floors.heartbeat(clocks.database())
    assert floors.judge(token) is Verdict.STANDING

    sent = clocks.database()
    for _ in range(10):
        clocks.later(0.2)
    # Heartbeats still arrive, each two seconds late: they vouch for the past only.
    floors.heartbeat(sent)
    assert floors.judge(token) is Verdict.UNKNOWN


@pytest.mark.parametrize("ahead", [-3.0, 3.0, -90.0, 90.0])
async def test_clocks_that_disagree_are_not_mistaken_for_silence(clocks: Clocks, ahead: float) -> None:
    clocks.ahead = ahead
    floors = following(clocks)
    token = await a_delegated_token()

    assert floors.judge(token) is Verdict.STANDING
    clocks.later(0.81)
    assert floors.judge(token) is Verdict.UNKNOWN


async def test_a_clock_that_nobody_measured_makes_the_issuer_decide(clocks: Clocks) -> None:
    floors = Floors(monotonic=clocks.monotonic, wall=clocks.wall)
    floors.caught_up = True
    floors.heartbeat(clocks.database())
    assert floors.judge(await a_delegated_token()) is Verdict.UNKNOWN


@pytest.mark.parametrize("ahead", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize("healthy_for", [0, 60])
def test_a_lasting_lag_is_never_fresh(clocks: Clocks, healthy_for: int, ahead: float) -> None:
    """From the first heartbeat, or from the sixtieth second on: it never passes for a difference of clocks."""
    clocks.ahead = ahead
    floors = Floors(monotonic=clocks.monotonic, wall=clocks.wall)
    floors.caught_up = True
    for step in range(5 * (healthy_for + 180)):
        if step % 25 == 0:
            measure(floors, clocks)
        clocks.later(0.2)
        lags = step >= 5 * healthy_for
        sent = clocks.database().timestamp() - (4.0 if lags else 0.01)
        floors.heartbeat(datetime.fromtimestamp(sent, UTC))
        if not lags or step > 5 * healthy_for + 5:
            assert floors.is_fresh is not lags, step


def test_a_slow_answer_about_the_clock_is_held_against_the_stream(clocks: Clocks) -> None:
    """Knowledge may be as old as the round trip was long, until a quicker one says better."""
    floors = Floors(monotonic=clocks.monotonic, wall=clocks.wall)
    floors.caught_up = True
    measure(floors, clocks, round_trip=1.0)
    floors.heartbeat(clocks.database())
    assert floors.is_fresh, "half a second of doubt"
    clocks.later(0.4)
    assert not floors.is_fresh
    measure(floors, clocks, round_trip=0.01)
    assert floors.is_fresh
    measure(floors, clocks, round_trip=0.2)
    assert floors.is_fresh, "a worse reading undoes no better one"


def test_a_database_whose_clock_is_put_forward_is_measured_anew(floors: Floors, clocks: Clocks) -> None:
    clocks.ahead = 3.0
    floors.heartbeat(clocks.database())
    assert not floors.is_fresh and not floors.is_measured, "a heartbeat of the future proves that it was"

    measure(floors, clocks)
    assert floors.is_fresh
    clocks.ahead = 6.0
    measure(floors, clocks)
    floors.heartbeat(datetime.fromtimestamp(clocks.epoch + clocks.ahead - 2, UTC))
    assert not floors.is_fresh, "and no earlier reading hides what is two seconds old"


def test_a_database_whose_clock_is_put_back_is_followed(floors: Floors, clocks: Clocks) -> None:
    clocks.later(5)
    clocks.ahead = -3.0
    floors.heartbeat(clocks.database())
    assert not floors.is_fresh
    measure(floors, clocks)
    floors.heartbeat(clocks.database())
    assert floors.is_fresh


def test_what_was_measured_long_ago_is_worth_nothing(floors: Floors, clocks: Clocks) -> None:
    for _ in range(5 * 3600):
        clocks.later(0.2)
        floors.heartbeat(clocks.database())
    assert not floors.is_fresh


async def test_a_slowly_drifting_clock_is_followed(floors: Floors, clocks: Clocks) -> None:
    token = await a_delegated_token()
    for step in range(2000):
        clocks.later(0.2)
        clocks.ahead -= 0.0001
        if step % 25 == 0:
            measure(floors, clocks)
        floors.heartbeat(clocks.database())
        assert floors.is_fresh
    assert floors.judge(token) is Verdict.STANDING


def test_floors_older_than_any_token_are_forgotten(floors: Floors, clocks: Clocks) -> None:
    for number in range(100):
        floors.raise_floor(CAISSE, a_floor("sid", f"s{number}", at=clocks.epoch))
    clocks.later(REMEMBERED + 1)
    floors.raise_floor(CAISSE, a_floor("sid", "last", at=clocks.epoch))
    assert len(floors) == 1


async def test_more_floors_than_memory_sends_tokens_to_the_issuer_rather_than_through(clocks: Clocks) -> None:
    floors = following(clocks, capacity=50)
    own, delegated = await an_own_token(), await a_delegated_token()
    for number in range(51):
        floors.raise_floor(CAISSE, a_floor("sid", f"s{number}", at=clocks.epoch))

    assert len(floors) == 50
    assert floors.judge(own) is Verdict.UNKNOWN
    assert floors.judge(delegated) is Verdict.UNKNOWN


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1), st.randoms())
def test_floors_heard_twice_late_or_out_of_order_end_the_same(
    raised: list[tuple[int, int]], random: Any
) -> None:
    start = datetime.now(UTC).timestamp()
    events = [a_floor("mandate", "mdt_1", version=v, at=start + s) for v, s in raised]
    events += [a_floor("cabinet", "cab_1", at=start + s) for _, s in raised]
    shuffled = events + random.sample(events, len(events) // 2)
    random.shuffle(shuffled)

    in_order, anyhow = Floors(), Floors()
    for event in events:
        in_order.raise_floor(CAISSE, event)
    for event in shuffled:
        anyhow.raise_floor(CAISSE, event)

    assert in_order.known() == anyhow.known()
