"""A command's key holds what was asked: for anything else it is refused, never answered with another's receipt."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import pytest

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from services.identity.delegation.accept import accept_offer, accept_request
from services.identity.delegation.decline import decline
from services.identity.delegation.mandate import State
from services.identity.delegation.narrow import Less, narrow
from services.identity.delegation.offer import offer
from services.identity.delegation.once import KeyReused, Receipt
from services.identity.delegation.request import request
from services.identity.delegation.resign import resign
from services.identity.delegation.revoke import revoke
from services.identity.delegation.suspend import resume, suspend
from services.identity.delegation.withdraw import withdraw
from tests.conftest import HeldClock
from tests.identity.delegation.parties import HERE, Scene, a_cabinet, a_key, a_scene, notices, terms

Command = Callable[[Tx, Scene, UUID, str, datetime], Awaitable[Receipt]]


async def offers(tx: Tx, scene: Scene, key: str, now: datetime) -> list[UUID]:
    """Two mandates of the same parties, so that nothing but the mandate tells them apart."""
    done = [
        await offer(
            tx, scene.firm, scene.cabinet_id, terms(now, bundle), key=key + bundle, now=now, notices=notices()
        )
        for bundle in ("declare", "leave")
    ]
    return [receipt.mandate.id for receipt in done]


async def requests(tx: Tx, scene: Scene, key: str, now: datetime) -> list[UUID]:
    done = [
        await request(tx, scene.cabinet, scene.adherent_id, terms(now, bundle), key=key + bundle, now=now)
        for bundle in ("declare", "leave")
    ]
    return [receipt.mandate.id for receipt in done]


async def in_force(tx: Tx, scene: Scene, key: str, now: datetime) -> list[UUID]:
    both = await offers(tx, scene, key, now)
    for one in both:
        await accept_offer(tx, scene.cabinet, one, key=a_key(), now=now, notices=notices())
    return both


async def suspended(tx: Tx, scene: Scene, key: str, now: datetime) -> list[UUID]:
    both = await in_force(tx, scene, key, now)
    for one in both:
        await suspend(tx, scene.firm, one, key=a_key(), now=now)
    return both


def less(now: datetime) -> Less:
    days = terms(now)
    return Less(frozenset({"attestation.read"}), ("*",), days.ends_on, None, False)


COMMANDS: dict[str, tuple[Callable[..., Awaitable[list[UUID]]], State, Command]] = {
    "accept_offer": (
        offers,
        "active",
        lambda tx, s, m, k, now: accept_offer(tx, s.cabinet, m, key=k, now=now, notices=notices()),
    ),
    "accept_request": (
        requests,
        "active",
        lambda tx, s, m, k, now: accept_request(tx, s.firm, m, key=k, now=now, notices=notices()),
    ),
    "decline": (offers, "declined", lambda tx, s, m, k, now: decline(tx, s.cabinet, m, key=k, now=now)),
    "withdraw": (offers, "withdrawn", lambda tx, s, m, k, now: withdraw(tx, s.firm, m, key=k, now=now)),
    "narrow": (in_force, "active", lambda tx, s, m, k, now: narrow(tx, s.firm, m, less(now), key=k, now=now)),
    "suspend": (in_force, "suspended", lambda tx, s, m, k, now: suspend(tx, s.firm, m, key=k, now=now)),
    "resume": (suspended, "active", lambda tx, s, m, k, now: resume(tx, s.firm, m, key=k, now=now)),
    "resign": (
        in_force,
        "resigned",
        lambda tx, s, m, k, now: resign(tx, s.cabinet, m, key=k, now=now, notices=notices()),
    ),
    "revoke": (
        in_force,
        "revoked",
        lambda tx, s, m, k, now: revoke(tx, s.firm, m, key=k, now=now, notices=notices()),
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_key_used_for_one_mandate_is_refused_for_another(
    identity_db: Database, clock: HeldClock, name: str
) -> None:
    begin, state, command = COMMANDS[name]
    scene, key = await a_scene(identity_db, clock()), a_key()
    async with identity_db.transaction(HERE) as tx:
        first, second = await begin(tx, scene, a_key(), clock())
        done = await command(tx, scene, first, key, clock())
    with pytest.raises(KeyReused):
        async with identity_db.transaction(HERE) as tx:
            await command(tx, scene, second, key, clock())
    async with identity_db.transaction(HERE) as tx:
        again = await command(tx, scene, first, key, clock())

    assert (done.mandate.id, done.mandate.state) == (first, state)
    assert again.mandates == done.mandates


@pytest.mark.parametrize(("asks", "what"), [("offer", "terms"), ("offer", "cabinet"), ("request", "terms")])
async def test_a_key_used_for_one_proposal_is_refused_for_another(
    identity_db: Database, clock: HeldClock, asks: str, what: str
) -> None:
    scene, key = await a_scene(identity_db, clock()), a_key()

    async def propose(bundle: str, scene: Scene) -> Receipt:
        chosen = terms(clock(), bundle)  # type: ignore[arg-type]
        async with identity_db.transaction(HERE) as tx:
            if asks == "request":
                return await request(tx, scene.cabinet, scene.adherent_id, chosen, key=key, now=clock())
            return await offer(
                tx, scene.firm, scene.cabinet_id, chosen, key=key, now=clock(), notices=notices()
            )

    async with identity_db.transaction(HERE) as tx:
        stranger, _, _ = await a_cabinet(tx, clock())
    done = await propose("declare", scene)
    other = scene if what == "terms" else scene._replace(cabinet_id=stranger)
    with pytest.raises(KeyReused):
        await propose("leave" if what == "terms" else "declare", other)

    assert (await propose("declare", scene)).mandates == done.mandates


async def test_a_key_of_narrowing_is_refused_for_other_remains(
    identity_db: Database, clock: HeldClock
) -> None:
    scene, key = await a_scene(identity_db, clock()), a_key()
    async with identity_db.transaction(HERE) as tx:
        first, _ = await in_force(tx, scene, a_key(), clock())
        await narrow(tx, scene.firm, first, less(clock()), key=key, now=clock())
    with pytest.raises(KeyReused):
        async with identity_db.transaction(HERE) as tx:
            other = less(clock())._replace(scopes=frozenset({"document.read"}))
            await narrow(tx, scene.firm, first, other, key=key, now=clock())
