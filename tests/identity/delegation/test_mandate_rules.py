"""What holds for every mandate: one effect a command, final rows, sound terms, a past brought in once."""

import asyncio
from datetime import date, timedelta
from uuid import UUID

import asyncpg
import pytest

from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import new_id, public_id
from services.identity.cabinets.register import create_cabinet
from services.identity.delegation import reading_store, store
from services.identity.delegation.clocks import settle
from services.identity.delegation.duties import settle_everywhere
from services.identity.delegation.mandate import ALL, Mandate
from services.identity.delegation.narrow import narrow, what_remains
from services.identity.delegation.offer import CabinetNotEligible, offer
from services.identity.delegation.once import KeyReused
from services.identity.delegation.power import power_for_exchange
from services.identity.delegation.recall_former import recall_former
from services.identity.delegation.resign import resign
from services.identity.delegation.revoke import revoke
from services.identity.delegation.suspend import resume, suspend
from services.identity.delegation.terms import MOST_CHOSEN, InvalidTerms, check_terms
from services.identity.delegation.void import void_of_cabinet
from services.identity.delegation.withdraw import withdraw
from tests.conftest import HeldClock
from tests.identity.delegation.parties import (
    ELSEWHERE,
    HERE,
    Scene,
    a_key,
    a_scene,
    a_siren,
    an_active_mandate,
    an_offer,
    current,
    notices,
    terms,
)


async def test_one_gesture_over_both_families_makes_one_mandate_in_each(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    async with identity_db.transaction(HERE) as tx:
        receipt = await offer(
            tx,
            scene.firm,
            scene.cabinet_id,
            terms(clock(), "full"),
            key=a_key(),
            now=clock(),
            notices=notices(),
        )
        mails = await tx.fetchval("SELECT count(*) FROM mail_queue WHERE template = 'mandate_offered'")

    assert [mandate.family for mandate in receipt.mandates] == ["contributions", "time_off"]
    assert len({mandate.gesture_id for mandate in receipt.mandates}) == 1
    assert receipt.mandates[0].amount_cap_cents == 500_000
    assert receipt.mandates[1].amount_cap_cents is None
    assert mails >= 1


async def test_offers_made_and_withdrawn_in_turn_fill_no_mailbox(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())

    async def offers_and_withdraws() -> None:
        clock.forward(seconds=30)
        offered = await an_offer(identity_db, scene, clock())
        async with identity_db.transaction(HERE) as tx:
            await withdraw(tx, scene.firm, offered.id, key=a_key(), now=clock())

    async def mails() -> int:
        async with identity_db.transaction(HERE) as tx:
            return await tx.fetchval("SELECT count(*) FROM mail_queue WHERE template = 'mandate_offered'")

    before = await mails()
    for _ in range(8):
        await offers_and_withdraws()
    assert await mails() - before == 3

    clock.forward(days=1)
    await offers_and_withdraws()
    assert await mails() - before == 4


async def test_a_mandate_until_the_last_day_of_the_calendar_is_one_like_another(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    unanswered = await an_offer(identity_db, scene, clock(), "leave", ends_on=date.max)
    active = await an_active_mandate(identity_db, scene, clock(), ends_on=date.max)
    async with identity_db.transaction(HERE) as tx:
        power = await power_for_exchange(tx, active.id, scene.owner, clock())
    assert power is not None
    assert power.mandate_id == active.id

    async with identity_db.transaction(HERE) as tx:
        [settled] = await settle(tx, clock.forward(days=31), adherent_id=scene.adherent_id)
    assert (settled.id, settled.state) == (unanswered.id, "expired")
    async with identity_db.transaction(HERE) as tx:
        receipt = await revoke(tx, scene.firm, active.id, key=a_key(), now=clock(), notices=notices())
    assert receipt.mandate.state == "revoked"


async def test_a_caisse_whose_clocks_cannot_be_settled_holds_up_no_other(
    identity_db: Database, clock: HeldClock, settings: Settings
) -> None:
    firms = [await a_scene(identity_db, clock(), caisse=caisse) for caisse in (ELSEWHERE, HERE)]
    offers = [await an_offer(identity_db, one, clock()) for one in firms]
    owner = await asyncpg.connect(settings.identity.owner_dsn)
    try:
        await owner.execute(
            f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
            CREATE TRIGGER refuse BEFORE UPDATE ON mandate FOR EACH ROW
                WHEN (OLD.id = '{offers[0].id}') EXECUTE FUNCTION refuse();
            """
        )
        await settle_everywhere(identity_db, clock.forward(days=31))
    finally:
        await owner.execute("DROP TRIGGER IF EXISTS refuse ON mandate; DROP FUNCTION IF EXISTS refuse")
        await owner.close()
    states: list[str] = []
    for scene, offered in zip(firms, offers, strict=True):
        async with identity_db.transaction(scene.caisse) as tx:
            found = await store.find(tx, offered.id)
        states.append(found.state if found else "")
    assert states == ["offered", "expired"]


async def test_a_command_sent_twice_at_once_is_carried_out_once(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    key = a_key()

    async def sends() -> list[str]:
        async with identity_db.transaction(HERE) as tx:
            receipt = await offer(
                tx, scene.firm, scene.cabinet_id, terms(clock()), key=key, now=clock(), notices=notices()
            )
        return [str(mandate.id) for mandate in receipt.mandates]

    answers = await asyncio.gather(*(sends() for _ in range(5)))
    assert len({tuple(answer) for answer in answers}) == 1


async def test_a_key_serves_one_command_of_one_person(identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    key = a_key()
    async with identity_db.transaction(HERE) as tx:
        await suspend(tx, scene.firm, mandate.id, key=key, now=clock())
    with pytest.raises(KeyReused):
        async with identity_db.transaction(HERE) as tx:
            await resume(tx, scene.firm, mandate.id, key=key, now=clock())


async def finish(tx: Tx, scene: Scene, how: str, mandate: Mandate, clock: HeldClock) -> None:
    if how == "revoked":
        await revoke(tx, scene.firm, mandate.id, key=a_key(), now=clock(), notices=notices())
    elif how == "resigned":
        await resign(tx, scene.cabinet, mandate.id, key=a_key(), now=clock(), notices=notices())
    elif how == "void":
        await void_of_cabinet(tx, scene.cabinet_id, "cabinet_denied", clock())
    else:
        await settle(tx, clock.forward(days=400), adherent_id=scene.adherent_id)


@pytest.mark.parametrize("how", ["revoked", "resigned", "void", "ended"])
async def test_a_final_row_never_changes(identity_db: Database, clock: HeldClock, how: str) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        await finish(tx, scene, how, mandate, clock)
    assert (await current(identity_db, scene, mandate)).state == how

    for statement in (
        "UPDATE mandate SET state = 'active', version = version + 1 WHERE id = $1",
        "UPDATE mandate SET version = version + 1 WHERE id = $1",
        "DELETE FROM mandate WHERE id = $1",
        "UPDATE mandate_version SET event = 'offered' WHERE mandate_id = $1",
        "DELETE FROM mandate_version WHERE mandate_id = $1",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            async with identity_db.transaction(HERE) as tx:
                await tx.execute(statement, mandate.id)


async def test_a_version_is_never_skipped_or_kept(identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    for statement in (
        "UPDATE mandate SET machine = true WHERE id = $1",
        "UPDATE mandate SET version = version + 2 WHERE id = $1",
        "UPDATE mandate SET version = version + 1, family = 'time_off' WHERE id = $1",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            async with identity_db.transaction(HERE) as tx:
                await tx.execute(statement, mandate.id)


async def test_after_the_end_a_new_offer_is_not_stopped_by_the_old_one(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    old = await an_active_mandate(identity_db, scene, clock())
    clock.forward(days=367)
    new = await an_offer(identity_db, scene, clock())

    assert (await current(identity_db, scene, old)).state == "ended"
    assert new.state == "offered"


async def test_a_cabinet_that_the_caisse_refuses_is_given_nothing(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    async with identity_db.transaction(HERE) as tx:
        await tx.execute(
            "INSERT INTO cabinet_denial (caisse, cabinet_id, reason, at) VALUES ($1, $2, 'usurpation', $3)",
            HERE,
            scene.cabinet_id,
            clock(),
        )
    with pytest.raises(CabinetNotEligible):
        await an_offer(identity_db, scene, clock())


async def test_terms_that_contradict_themselves_name_each_field(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    good = terms(clock(), "declare_and_pay")
    wrong = {
        "amount_cap": good._replace(amount_cap_cents=None),
        "ends_on": good._replace(ends_on=good.starts_on - timedelta(days=1)),
        "starts_on": good._replace(starts_on=good.starts_on - timedelta(days=1)),
        "establishments": good._replace(establishments=("est_00000000000000000000000000",)),
        "scopes": good._replace(grants={}),
    }
    for field, bad in wrong.items():
        with pytest.raises(InvalidTerms) as refused:
            async with identity_db.transaction(HERE) as tx:
                await offer(
                    tx, scene.firm, scene.cabinet_id, bad, key=a_key(), now=clock(), notices=notices()
                )
        assert field in refused.value.errors
    assert good.establishments == ALL


def test_a_mandate_names_a_hundred_establishments_at_most(clock: HeldClock) -> None:
    """Each stands in every delegated token: with some more, services would read none of them."""
    own = [public_id("est", UUID(int=n)) for n in range(MOST_CHOSEN + 1)]
    good = terms(clock())._replace(establishments=tuple(own[:MOST_CHOSEN]))
    assert len(check_terms(good, establishments=own, now=clock()).establishments) == MOST_CHOSEN
    with pytest.raises(InvalidTerms) as refused:
        check_terms(good._replace(establishments=tuple(own)), establishments=own, now=clock())
    assert "cent" in str(refused.value.errors["establishments"])


async def test_a_mandate_for_all_is_narrowed_to_a_hundred_at_most(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    more = [new_id() for _ in range(MOST_CHOSEN + 1)]
    async with identity_db.transaction(HERE) as tx:
        await tx.execute(
            """
            INSERT INTO establishment (id, caisse, adherent_id, name, address, is_head_office)
            SELECT id, $2, $3, 'Chantier', '{}', false FROM unnest($1::uuid[]) AS id
            """,
            more, HERE, mandate.adherent_id,
        )  # fmt: skip
    many = tuple(public_id("est", one) for one in more)

    async def kept(establishments: tuple[str, ...]) -> None:
        less = what_remains(mandate)._replace(establishments=establishments)
        async with identity_db.transaction(HERE) as tx:
            await narrow(tx, scene.firm, mandate.id, less, key=a_key(), now=clock())

    with pytest.raises(InvalidTerms) as refused:
        await kept(many)
    assert "cent" in str(refused.value.errors["establishments"])
    await kept(many[:MOST_CHOSEN])


async def test_what_an_import_left_is_recalled_once_and_powerless(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    noted = a_siren()
    async with identity_db.transaction(HERE) as tx:
        for line, siren in enumerate((await store.siren_of_cabinet(tx, scene.cabinet_id), noted), start=1):
            await tx.execute(
                """
                INSERT INTO former_authorisation
                       (id, caisse, adherent_id, cabinet_siren, cabinet_name, granted_on, source_line)
                VALUES ($1, $2, $3, $4, 'Cabinet d’avant', '2019-03-12', $5)
                """,
                new_id(),
                HERE,
                scene.adherent_id,
                siren,
                line,
            )
    counted: list[int] = []
    stranger = new_id()
    async with identity_db.transaction(HERE) as tx:
        assert await recall_former(tx, [stranger], clock()) == 0, "another batch's adhérents are left to it"
    for _ in range(2):
        async with identity_db.transaction(HERE) as tx:
            counted.append(await recall_former(tx, [scene.adherent_id, stranger], clock()))
    async with identity_db.transaction(HERE) as tx:
        listed = await reading_store.of_adherent(tx, scene.adherent_id)
        registered = await create_cabinet(tx, noted, "Cabinet d’aujourd’hui", now=clock())

    assert counted == [2, 0]
    assert {one.mandate.state for one in listed} == {"legacy_lapsed"}
    assert {one.mandate.former_label for one in listed} == {"accordée le 12\N{NO-BREAK SPACE}mars 2019"}
    assert registered in {one.mandate.cabinet_id for one in listed}
    async with identity_db.transaction(HERE) as tx:
        assert (await store.find(tx, listed[0].mandate.id)) == listed[0].mandate
