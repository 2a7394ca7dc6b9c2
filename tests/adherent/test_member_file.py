"""Late, repeated and reordered facts about a member all end in the same file."""

import asyncio
from datetime import date
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.database import inbox
from libs.common.database.pool import Database
from libs.common.events.identity import AdherentImported
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.adherent.member_file import store
from services.adherent.member_file.hear_of_member import hear_of_member
from services.adherent.standing import store as standing_store
from services.adherent.standing.judge import reasons_against
from tests.adherent.members import a_member, a_site

HERE = CaisseSlug("mediterranee")


async def hear(db: Database, told: AdherentImported) -> None:
    """As the consumer does: inbox and effect in one transaction."""
    async with db.transaction(HERE) as tx:
        if await inbox.first_time(tx, told.event_id, consumer="test"):
            await hear_of_member(tx, told)


async def file_of(db: Database, member_id: UUID) -> tuple[object, object]:
    async with db.transaction(HERE) as tx:
        return await store.find_member(tx, member_id), await store.establishments_of(tx, member_id)


def a_history(length: int) -> list[AdherentImported]:
    """The same member over the years: renamed, and each time with one establishment more."""
    adherent_id, number = new_id(), str(new_id())
    sites = [a_site(None, name=f"Chantier {rank}", is_head_office=rank == 0) for rank in range(length)]
    return [
        a_member(
            adherent_id=adherent_id,
            number=number,
            siren=None,
            name=f"Nom {version}",
            version=version,
            sites=sites[:version],
        )
        for version in range(1, length + 1)
    ]


async def test_any_order_and_any_repetition_give_the_newest_file(adherent_db: Database) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def property(data: st.DataObject) -> None:
        facts = a_history(data.draw(st.integers(1, 5)))
        order = data.draw(st.permutations(facts))
        repeated = data.draw(st.lists(st.sampled_from(facts), max_size=5))

        async def play() -> tuple[object, object]:
            for told in [*order, *repeated]:
                await hear(adherent_db, told)
            return await file_of(adherent_db, facts[0].adherent_id)

        member, sites = asyncio.run_coroutine_threadsafe(play(), loop).result(30)

        assert isinstance(member, store.Member)
        assert (member.legal_name, member.version) == (f"Nom {len(facts)}", len(facts))
        assert isinstance(sites, list)
        assert len(sites) == len(facts)  # type: ignore[reportUnknownArgumentType]

    await asyncio.to_thread(property)


async def test_an_establishment_no_longer_told_is_gone(adherent_db: Database) -> None:
    first = a_member(number="S1", siren=None, sites=[a_site(None), a_site(None, is_head_office=False)])
    await hear(adherent_db, first)
    await hear(
        adherent_db,
        msgspec.structs.replace(first, event_id=new_id(), version=2, establishments=first.establishments[:1]),
    )

    _, sites = await file_of(adherent_db, first.adherent_id)

    assert len(sites) == 1  # type: ignore[arg-type]


async def test_two_processes_at_once_leave_the_newest(adherent_db: Database) -> None:
    facts = a_history(8)
    await asyncio.gather(*(hear(adherent_db, told) for told in facts))

    member, sites = await file_of(adherent_db, facts[0].adherent_id)

    assert isinstance(member, store.Member)
    assert member.version == 8
    assert len(sites) == 8  # type: ignore[arg-type]


async def test_a_firm_struck_off_is_known_and_no_longer_up_to_date(adherent_db: Database) -> None:
    first = a_member(number="R1", siren=None)
    await hear(adherent_db, first)
    gone = msgspec.structs.replace(first, event_id=new_id(), version=2, state="struck_off")
    await hear(adherent_db, gone)
    await hear(adherent_db, msgspec.structs.replace(first, event_id=new_id()))

    member, _ = await file_of(adherent_db, first.adherent_id)
    assert isinstance(member, store.Member)
    assert (member.state, member.version) == ("struck_off", 2)
    async with adherent_db.transaction(HERE) as tx:
        inputs = await standing_store.read_inputs(tx, first.adherent_id, date(2026, 11, 23))
    asked = next(one for one in inputs.members if one.id == first.adherent_id)
    assert [reason.code for reason in reasons_against(asked, inputs)] == ["struck_off"]
