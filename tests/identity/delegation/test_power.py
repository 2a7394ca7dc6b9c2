"""What an exchange would grant: always an intersection, judged at the instant of use."""

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.access import rights
from libs.common.database.pool import Database
from services.identity.cabinets.access_groups import (
    add_to_group,
    create_group,
    remove_group,
    take_from_group,
)
from services.identity.cabinets.leave import LastOwner, remove_collaborator
from services.identity.cabinets.portfolio import portfolio
from services.identity.cabinets.register import add_collaborator
from services.identity.delegation.mandate import Mandate
from services.identity.delegation.power import MandatePower, narrowed, power_for_exchange
from services.identity.delegation.record_former import record_former
from services.identity.delegation.revoke import revoke
from services.identity.delegation.term import paris_day
from services.identity.delegation.terms import InvalidTerms, grants_of_scopes
from tests.conftest import HeldClock
from tests.identity.delegation.parties import (
    ELSEWHERE,
    HERE,
    ONE_DAY,
    Scene,
    a_caisse,
    a_firm,
    a_key,
    a_scene,
    an_active_mandate,
    an_offer,
    notices,
)

scopes = st.frozensets(st.sampled_from(sorted(rights.ADMINISTRATOR | rights.SERVICE)))


async def power(
    db: Database, scene: Scene, mandate: Mandate, clock: HeldClock, *, person: str = "member"
) -> MandatePower | None:
    async with db.transaction(HERE) as tx:
        return await power_for_exchange(tx, mandate.id, getattr(scene, person), clock())


async def test_an_active_mandate_of_an_open_cabinet_gives_its_terms(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    granted = await power(identity_db, scene, mandate, clock)

    assert granted is not None
    assert granted.scopes == frozenset(mandate.scopes)
    assert (granted.version, granted.role, granted.family) == (2, "principal", "contributions")
    assert granted.group_id is None
    assert granted.establishments == ("*",)


async def test_pending_dead_and_former_mandates_give_nothing(identity_db: Database, clock: HeldClock) -> None:
    """Case 10, and the clocks of every other state."""
    scene = await a_scene(identity_db, clock())
    waiting = await an_offer(identity_db, scene, clock(), "leave")
    assert await power(identity_db, scene, waiting, clock) is None

    async with identity_db.transaction(HERE) as tx:
        former_id = await record_former(
            tx,
            scene.adherent_id,
            scene.cabinet_id,
            reference="r",
            label="",
            family="contributions",
            now=clock(),
        )
        assert former_id is not None
        assert await power_for_exchange(tx, former_id, scene.member, clock()) is None

    active = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        await revoke(tx, scene.firm, active.id, key=a_key(), now=clock(), notices=notices())
    assert await power(identity_db, scene, active, clock) is None


async def test_the_last_day_over_gives_nothing_though_nobody_swept(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    granted = await power(identity_db, scene, mandate, clock)
    assert granted is not None

    clock.now = granted.not_after
    assert await power(identity_db, scene, mandate, clock) is None
    clock.forward(seconds=-1)
    assert await power(identity_db, scene, mandate, clock) is not None


async def test_before_its_first_day_a_mandate_gives_nothing(identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock())
    tomorrow = paris_day(clock()) + ONE_DAY
    mandate = await an_active_mandate(identity_db, scene, clock(), starts_on=tomorrow)
    assert await power(identity_db, scene, mandate, clock) is None
    clock.forward(days=1)
    assert await power(identity_db, scene, mandate, clock) is not None


async def test_case_16_a_client_in_no_group_is_invisible(identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock(), open_to_all=False)
    mandate = await an_active_mandate(identity_db, scene, clock())
    assert await power(identity_db, scene, mandate, clock) is None
    async with identity_db.transaction(HERE) as tx:
        assert (await portfolio(tx, scene.member, scene.cabinet_id, now=clock())).clients == []

    async with identity_db.transaction(HERE) as tx:
        group_id = await create_group(
            tx, scene.cabinet, "Équipe A", people=[scene.member], clients=[scene.adherent_id], now=clock()
        )
    granted = await power(identity_db, scene, mandate, clock)
    assert granted is not None and granted.group_id == group_id
    assert await power(identity_db, scene, mandate, clock, person="owner") is None
    async with identity_db.transaction(HERE) as tx:
        page = await portfolio(tx, scene.member, scene.cabinet_id, now=clock(), search="équerre")
        assert [client.power for client in page.clients] == [granted]


async def test_the_groups_of_others_are_not_one_s_own(identity_db: Database, clock: HeldClock) -> None:
    """One group has the person and another firm, another has the client: neither is a power, nor is one removed."""
    scene = await a_scene(identity_db, clock(), open_to_all=False)
    mandate = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        adherent_id, establishment_id, administrator = await a_firm(tx, clock())
    other = scene._replace(
        adherent_id=adherent_id, establishment_id=establishment_id, administrator=administrator
    )
    theirs = await an_active_mandate(identity_db, other, clock())
    async with identity_db.transaction(HERE) as tx:
        await create_group(
            tx, scene.cabinet, "Une autre", people=[scene.member], clients=[adherent_id], now=clock()
        )
        await create_group(
            tx, scene.cabinet, "Mes clients", people=[scene.owner], clients=[scene.adherent_id], now=clock()
        )
    assert await power(identity_db, scene, mandate, clock) is None
    assert await power(identity_db, scene, mandate, clock, person="owner") is not None
    assert await power(identity_db, scene, theirs, clock) is not None

    async with identity_db.transaction(HERE) as tx:
        both = await create_group(
            tx, scene.cabinet, "Les deux", people=[scene.member], clients=[scene.adherent_id], now=clock()
        )
    assert await power(identity_db, scene, mandate, clock) is not None
    async with identity_db.transaction(HERE) as tx:
        await remove_group(tx, scene.cabinet, both, now=clock())
    assert await power(identity_db, scene, mandate, clock) is None


async def test_case_17_a_groups_date_ends_the_power_before_the_mandate(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock(), open_to_all=False)
    mandate = await an_active_mandate(identity_db, scene, clock())
    ends_at = clock() + ONE_DAY
    async with identity_db.transaction(HERE) as tx:
        await create_group(
            tx,
            scene.cabinet,
            "Remplacement",
            people=[scene.member],
            clients=[scene.adherent_id],
            ends_at=ends_at,
            now=clock(),
        )
    granted = await power(identity_db, scene, mandate, clock)
    assert granted is not None and granted.not_after == ends_at

    clock.now = ends_at
    assert await power(identity_db, scene, mandate, clock) is None


async def test_a_group_narrows_and_never_widens(identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock(), open_to_all=False)
    mandate = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        await create_group(
            tx,
            scene.cabinet,
            "Lecture",
            people=[scene.member],
            clients=[scene.adherent_id],
            scopes={"declaration.read", "payment.order", "mandate.manage"},
            now=clock(),
        )
    granted = await power(identity_db, scene, mandate, clock)
    assert granted is not None and granted.scopes == {"declaration.read"}


async def test_taken_out_of_the_group_one_sees_nothing_and_a_floor_says_so(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock(), open_to_all=False)
    mandate = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        group_id = await create_group(tx, scene.cabinet, "A", people=[], clients=[], now=clock())
        await add_to_group(
            tx, scene.cabinet, group_id, people=[scene.member], clients=[scene.adherent_id], now=clock()
        )
    assert await power(identity_db, scene, mandate, clock) is not None

    async with identity_db.transaction(HERE) as tx:
        await take_from_group(tx, scene.cabinet, group_id, adherent_id=scene.adherent_id, now=clock())
        body = await tx.fetchval(
            "SELECT convert_from(body, 'UTF8') FROM outbox ORDER BY position DESC LIMIT 1"
        )
    assert '"kind":"group"' in body
    assert await power(identity_db, scene, mandate, clock) is None


async def test_case_18_whoever_leaves_the_cabinet_can_do_nothing(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        await remove_collaborator(tx, scene.cabinet, scene.member, now=clock())
    assert await power(identity_db, scene, mandate, clock) is None

    with pytest.raises(LastOwner):
        async with identity_db.transaction(HERE) as tx:
            await remove_collaborator(tx, scene.cabinet, scene.owner, now=clock())


async def test_whoever_comes_back_to_the_cabinet_finds_none_of_their_former_groups(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock(), open_to_all=False)
    mandate = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(HERE) as tx:
        await create_group(
            tx, scene.cabinet, "A", people=[scene.member], clients=[scene.adherent_id], now=clock()
        )
        await remove_collaborator(tx, scene.cabinet, scene.member, now=clock())
        await add_collaborator(tx, scene.cabinet_id, scene.member, "member", now=clock())
    assert await power(identity_db, scene, mandate, clock) is None


@pytest.mark.parametrize(
    "blow",
    [
        "UPDATE cabinet SET state = 'struck_off' WHERE id = $1",
        "UPDATE adherent SET state = 'struck_off' WHERE id = $2",
        "UPDATE person SET state = 'suspended' WHERE id = $3",
        "INSERT INTO cabinet_denial (caisse, cabinet_id, reason, at) VALUES ('mediterranee', $1, 'r', now())",
    ],
)
async def test_a_party_gone_ends_the_power_even_before_its_mandates_are_void(
    identity_db: Database, clock: HeldClock, blow: str
) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    whole = f"WITH named AS (SELECT $1::uuid, $2::uuid, $3::uuid) {blow}"
    async with identity_db.transaction(HERE) as tx:
        await tx.execute(whole, scene.cabinet_id, scene.adherent_id, scene.member)
    assert await power(identity_db, scene, mandate, clock) is None


async def test_case_32_another_caisse_knows_nothing_of_the_mandate(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    await a_caisse(identity_db, ELSEWHERE, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    async with identity_db.transaction(ELSEWHERE) as tx:
        assert await power_for_exchange(tx, mandate.id, scene.member, clock()) is None


async def test_the_table_refuses_what_is_never_delegable(identity_db: Database, clock: HeldClock) -> None:
    scene = await a_scene(identity_db, clock())
    mandate = await an_active_mandate(identity_db, scene, clock())
    for forbidden in (*sorted(rights.NEVER_DELEGABLE), "leave.read", "payment.order"):
        with pytest.raises(asyncpg.CheckViolationError):
            async with identity_db.transaction(HERE) as tx:
                await tx.execute(
                    "UPDATE mandate SET scopes = scopes || $2::text, version = version + 1 WHERE id = $1",
                    mandate.id,
                    forbidden,
                )


@given(scopes, scopes, scopes)
def test_granted_is_within_every_input(
    mandate: frozenset[str], group: frozenset[str], asked: frozenset[str]
) -> None:
    granted = narrowed(mandate, group, asked)
    assert granted <= mandate and granted <= group and granted <= asked
    assert narrowed(mandate, None) == mandate


@given(scopes)
def test_rights_ticked_one_by_one_never_exceed_what_was_ticked(ticked: frozenset[str]) -> None:
    if not ticked or not ticked <= rights.DELEGABLE:
        with pytest.raises(InvalidTerms):
            grants_of_scopes(ticked)
        return
    grants = grants_of_scopes(ticked)
    assert frozenset().union(*(grant.scopes for grant in grants.values())) == ticked
    for family, grant in grants.items():
        assert grant.scopes <= rights.allowed_to(grant.role, family)


def test_every_bundle_is_delegable_and_fits_its_family_and_role() -> None:
    for bundle in rights.BUNDLES:
        for family, grant in rights.BUNDLE_GRANTS[bundle].items():
            assert grant.scopes <= rights.allowed_to(grant.role, family)
            assert not grant.scopes & rights.NEVER_DELEGABLE
