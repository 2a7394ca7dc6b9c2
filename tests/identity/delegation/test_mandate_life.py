"""A mandate from its offer to its end, on a real PostgreSQL."""

import asyncio
from datetime import timedelta

import pytest

from libs.common.database.pool import Database
from libs.common.refusals import NotFound
from libs.common.values.identifiers import new_id, public_id
from services.identity.delegation import store
from services.identity.delegation.accept import accept_offer, accept_request
from services.identity.delegation.clocks import settle
from services.identity.delegation.decline import decline
from services.identity.delegation.mandate import Lapsed, Mandate, MandateChanged, NotPossible, WrongSide
from services.identity.delegation.narrow import narrow, what_remains
from services.identity.delegation.offer import TwinExists, offer
from services.identity.delegation.parties import BothSides, MayAnswerForCabinet
from services.identity.delegation.record_former import record_former
from services.identity.delegation.renew_former import renew_former
from services.identity.delegation.request import request
from services.identity.delegation.revoke import revoke
from services.identity.delegation.suspend import resume, suspend
from services.identity.delegation.terms import InvalidTerms
from services.identity.delegation.void import void_of_cabinet
from services.identity.delegation.withdraw import withdraw
from services.identity.sign_in.prove_again import StepUpRequired
from tests.conftest import HeldClock
from tests.identity.delegation.parties import (
    ELSEWHERE,
    HERE,
    Scene,
    a_cabinet,
    a_key,
    a_scene,
    an_account,
    an_active_mandate,
    an_offer,
    current,
    facts,
    notices,
    terms,
)


async def a_request(db: Database, scene: Scene, clock: HeldClock) -> Mandate:
    async with db.transaction(scene.caisse) as tx:
        receipt = await request(
            tx, scene.cabinet, scene.adherent_id, terms(clock()), key=a_key(), now=clock()
        )
    return receipt.mandate


async def test_case_1_a_request_accepted_with_step_up_is_active_once(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    asked = await a_request(identity_db, scene, clock)
    key = a_key()
    for _ in range(2):
        async with identity_db.transaction(HERE) as tx:
            await accept_request(tx, scene.firm, asked.id, key=key, now=clock(), notices=notices())

    active = await current(identity_db, scene, asked)
    assert (active.state, active.version) == ("active", 2)
    assert await facts(identity_db, HERE, asked.id) == ["mandate.requested.v1", "mandate.activated.v1"]
    async with identity_db.transaction(HERE) as tx:
        assert await tx.fetchval("SELECT count(*) FROM mail_queue WHERE template = 'mandate_given'") == 1


async def test_case_2_accepting_without_step_up_changes_nothing(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    asked = await a_request(identity_db, scene, clock)
    with pytest.raises(StepUpRequired):
        async with identity_db.transaction(HERE) as tx:
            weak = scene.firm._replace(is_stepped_up=False)
            await accept_request(tx, weak, asked.id, key=a_key(), now=clock(), notices=notices())

    assert (await current(identity_db, scene, asked)).state == "requested"


async def test_case_3_past_its_expiry_an_offer_is_refused_though_nobody_swept(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    offered = await an_offer(identity_db, scene, clock())
    clock.forward(days=30)
    with pytest.raises(Lapsed):
        async with identity_db.transaction(HERE) as tx:
            await accept_offer(tx, scene.cabinet, offered.id, key=a_key(), now=clock(), notices=notices())
    assert (await current(identity_db, scene, offered)).state == "offered"

    async with identity_db.transaction(HERE) as tx:
        await settle(tx, clock())
    assert (await current(identity_db, scene, offered)).state == "expired"


async def test_case_4_accept_races_withdraw_and_exactly_one_wins(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    winners: set[str] = set()

    async def accepts(offered: Mandate) -> str:
        async with identity_db.transaction(HERE) as tx:
            await accept_offer(tx, scene.cabinet, offered.id, key=a_key(), now=clock(), notices=notices())
        return "active"

    async def withdraws(offered: Mandate) -> str:
        async with identity_db.transaction(HERE) as tx:
            await withdraw(tx, scene.firm, offered.id, key=a_key(), now=clock())
        return "withdrawn"

    for run in range(60):
        offered = await an_offer(identity_db, scene, clock())
        tries = [accepts(offered), withdraws(offered)]
        answers = await asyncio.gather(*(tries if run % 2 else reversed(tries)), return_exceptions=True)
        won = [answer for answer in answers if isinstance(answer, str)]
        lost = [answer for answer in answers if not isinstance(answer, str)]

        assert len(won) == 1
        assert isinstance(lost[0], MandateChanged | NotPossible | WrongSide)
        after = await current(identity_db, scene, offered)
        assert (after.state, after.version) == (won[0], 2)
        told = {"active": "mandate.activated.v1", "withdrawn": "mandate.withdrawn.v1"}[won[0]]
        assert await facts(identity_db, HERE, offered.id) == ["mandate.offered.v1", told]
        winners.add(won[0])
        if after.state == "active":
            async with identity_db.transaction(HERE) as tx:
                await revoke(tx, scene.firm, offered.id, key=a_key(), now=clock(), notices=notices())
    assert winners


async def test_case_5_a_pending_twin_is_named_in_the_conflict(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    first = await an_offer(identity_db, scene, clock())
    with pytest.raises(TwinExists) as conflict:
        await an_offer(identity_db, scene, clock())

    assert conflict.value.mandate_id == first.id


async def test_case_6_after_a_refusal_one_may_ask_again(identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock())
    offered = await an_offer(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        await decline(tx, scene.cabinet, offered.id, key=a_key(), now=clock())

    assert (await an_offer(identity_db, scene, clock())).state == "offered"


async def test_case_7_a_new_principal_replaces_the_former_in_one_transaction(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    old = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        cabinet_id, owner, _ = await a_cabinet(tx, clock())
        new = await offer(
            tx, scene.firm, cabinet_id, terms(clock()), key=a_key(), now=clock(), notices=notices()
        )
    assert (await current(identity_db, scene, old)).state == "active"

    async with identity_db.transaction(HERE) as tx:
        by = MayAnswerForCabinet(owner, cabinet_id)
        receipt = await accept_offer(tx, by, new.mandate.id, key=a_key(), now=clock(), notices=notices())

    assert [mandate.id for mandate in receipt.replaced] == [old.id]
    replaced = await current(identity_db, scene, old)
    assert (replaced.state, replaced.version) == ("replaced", 3)
    async with identity_db.transaction(HERE) as tx:
        who = await tx.fetchval(
            "SELECT person_id FROM mandate_version WHERE mandate_id = $1 AND event = 'replaced'", old.id
        )
        floors = await tx.fetchval("SELECT count(*) FROM outbox WHERE subject LIKE '%floor_raised.v1'")
    assert who == owner
    assert floors >= 1


async def test_two_principals_accepted_at_once_leave_one_in_force(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    rivals: list[tuple[MayAnswerForCabinet, Mandate]] = []
    for _ in range(4):
        async with identity_db.transaction(HERE) as tx:
            cabinet_id, owner, _ = await a_cabinet(tx, clock())
            receipt = await offer(
                tx, scene.firm, cabinet_id, terms(clock()), key=a_key(), now=clock(), notices=notices()
            )
        rivals.append((MayAnswerForCabinet(owner, cabinet_id), receipt.mandate))

    async def accepts(by: MayAnswerForCabinet, mandate: Mandate) -> None:
        async with identity_db.transaction(HERE) as tx:
            await accept_offer(tx, by, mandate.id, key=a_key(), now=clock(), notices=notices())

    answers = await asyncio.gather(*(accepts(*rival) for rival in rivals), return_exceptions=True)
    assert all(answer is None or isinstance(answer, MandateChanged) for answer in answers)
    states = [(await current(identity_db, scene, mandate)).state for _, mandate in rivals]
    assert states.count("active") == 1


async def test_case_8_a_cabinet_does_not_accept_its_own_request(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    asked = await a_request(identity_db, scene, clock)
    with pytest.raises(WrongSide):
        async with identity_db.transaction(HERE) as tx:
            await accept_offer(tx, scene.cabinet, asked.id, key=a_key(), now=clock(), notices=notices())


async def test_an_accountant_who_holds_the_firms_account_cannot_consent_for_it(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    asked = await a_request(identity_db, scene, clock)
    async with identity_db.transaction(HERE) as tx:
        await an_account(tx, scene.member, scene.adherent_id, clock())
    with pytest.raises(BothSides):
        async with identity_db.transaction(HERE) as tx:
            both = scene.firm._replace(person_id=scene.member)
            await accept_request(tx, both, asked.id, key=a_key(), now=clock(), notices=notices())


async def test_case_9_another_cabinets_mandate_answers_as_an_unknown_one(
    identity_db: Database, clock: HeldClock
) -> None:
    scene, stranger = await a_scene(identity_db, clock()), await a_scene(identity_db, clock())
    offered = await an_offer(identity_db, scene, clock())
    for mandate_id in (offered.id, new_id()):
        with pytest.raises(NotFound):
            async with identity_db.transaction(HERE) as tx:
                await accept_offer(
                    tx, stranger.cabinet, mandate_id, key=a_key(), now=clock(), notices=notices()
                )
        with pytest.raises(NotFound):
            async with identity_db.transaction(HERE) as tx:
                await withdraw(tx, stranger.firm, mandate_id, key=a_key(), now=clock())


async def test_case_32_another_caisses_mandate_answers_as_an_unknown_one(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    await a_scene(identity_db, clock(), caisse=ELSEWHERE)
    offered = await an_offer(identity_db, scene, clock())
    with pytest.raises(NotFound):
        async with identity_db.transaction(ELSEWHERE) as tx:
            await accept_offer(tx, scene.cabinet, offered.id, key=a_key(), now=clock(), notices=notices())


async def a_former(db: Database, scene: Scene, clock: HeldClock) -> Mandate:
    async with db.transaction(scene.caisse) as tx:
        former_id = await record_former(
            tx,
            scene.adherent_id,
            scene.cabinet_id,
            reference=f"A{new_id()}",
            label="Accès complet, ancien espace",
            family="contributions",
            now=clock(),
        )
        assert former_id is not None
        found = await store.find(tx, former_id)
    assert found is not None
    return found


async def test_case_10_a_former_authorisation_is_renewed_with_one_click_and_accepted(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    former = await a_former(identity_db, scene, clock)
    assert former.scopes == ()
    with pytest.raises(NotFound):
        async with identity_db.transaction(HERE) as tx:
            await accept_offer(tx, scene.cabinet, former.id, key=a_key(), now=clock(), notices=notices())

    async with identity_db.transaction(HERE) as tx:
        receipt = await renew_former(tx, scene.firm, former.id, key=a_key(), now=clock(), notices=notices())
    assert [(m.id, m.state, m.version) for m in receipt.mandates] == [(former.id, "offered", 2)]
    async with identity_db.transaction(HERE) as tx:
        await accept_offer(tx, scene.cabinet, former.id, key=a_key(), now=clock(), notices=notices())
    assert (await current(identity_db, scene, former)).state == "active"


async def test_importing_a_former_authorisation_twice_keeps_one(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    ids = []
    for _ in range(2):
        async with identity_db.transaction(HERE) as tx:
            ids.append(
                await record_former(
                    tx,
                    scene.adherent_id,
                    scene.cabinet_id,
                    reference=f"ligne-{scene.adherent_id}",
                    label="",
                    family="contributions",
                    now=clock(),
                )
            )
    assert [made is None for made in ids] == [False, True]


async def test_case_11_narrowing_raises_the_version_and_the_floor(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    less = what_remains(mandate)._replace(scopes=frozenset(mandate.scopes) - {"declaration.submit"})
    async with identity_db.transaction(HERE) as tx:
        await narrow(tx, scene.firm, mandate.id, less, key=a_key(), now=clock())

    after = await current(identity_db, scene, mandate)
    assert (after.version, "declaration.submit" in after.scopes) == (mandate.version + 1, False)
    async with identity_db.transaction(HERE) as tx:
        body = await tx.fetchval(
            "SELECT convert_from(body, 'UTF8') FROM outbox WHERE subject LIKE '%floor_raised.v1' "
            "ORDER BY position DESC LIMIT 1"
        )
    assert '"kind":"mandate"' in body and f'"version":{after.version}' in body


async def test_case_12_more_is_not_less(identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    present = what_remains(mandate)
    for more in (
        present._replace(scopes=present.scopes | {"payment.prepare"}),
        present._replace(ends_on=present.ends_on + timedelta(days=1)),
        present._replace(machine=True),
        present._replace(establishments=()),
        present._replace(establishments=("banana",)),
        present._replace(establishments=(public_id("est", new_id()),)),
        present._replace(establishments=("*", public_id("est", scene.establishment_id))),
        present,
    ):
        for by in (scene.cabinet, scene.firm):
            with pytest.raises(InvalidTerms):
                async with identity_db.transaction(HERE) as tx:
                    await narrow(tx, by, mandate.id, more, key=a_key(), now=clock())
    assert await current(identity_db, scene, mandate) == mandate


async def test_a_suspended_mandate_comes_back_two_versions_later(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        await suspend(tx, scene.firm, mandate.id, key=a_key(), now=clock())
    async with identity_db.transaction(HERE) as tx:
        await resume(tx, scene.firm, mandate.id, key=a_key(), now=clock())

    after = await current(identity_db, scene, mandate)
    assert (after.state, after.version) == ("active", mandate.version + 2)


async def test_case_14_a_struck_off_cabinets_mandates_are_all_void(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    active = await an_active_mandate(identity_db, scene, clock())
    waiting = await an_offer(identity_db, scene, clock(), "leave")
    async with identity_db.transaction(HERE) as tx:
        await void_of_cabinet(tx, scene.cabinet_id, "cabinet_struck_off", clock())

    states = {(await current(identity_db, scene, mandate)).state for mandate in (active, waiting)}
    assert states == {"void"}
    assert "mandate.voided.v1" in await facts(identity_db, HERE, active.id)
