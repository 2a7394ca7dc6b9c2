"""What a key once used, or a client nobody entrusted to this colleague, must not give."""

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.values.identifiers import public_id
from services.identity.cabinets.access_groups import create_group
from services.identity.delegation.once import KeyReused
from services.identity.delegation.revoke import revoke
from tests.conftest import HeldClock
from tests.identity.delegation.parties import a_key, a_scene, an_active_mandate, an_offer, current, notices
from tests.identity.delegation.test_delegation_pages import said, signed_in


async def test_a_key_used_to_revoke_one_mandate_says_nothing_of_another(
    identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock())
    one, two = [
        await an_active_mandate(identity_db, scene, clock(), bundle) for bundle in ("declare", "leave")
    ]
    key = a_key()
    async with identity_db.transaction(scene.caisse) as tx:
        await revoke(tx, scene.firm, one.id, key=key, now=clock(), notices=notices())
    with pytest.raises(KeyReused):
        async with identity_db.transaction(scene.caisse) as tx:
            await revoke(tx, scene.firm, two.id, key=key, now=clock(), notices=notices())
    assert (await current(identity_db, scene, two)).state == "active"
    # The same command again is still answered as the first time.
    async with identity_db.transaction(scene.caisse) as tx:
        again = await revoke(tx, scene.firm, one.id, key=key, now=clock(), notices=notices())
    assert again.mandate.state == "revoked"


async def test_a_key_taken_beforehand_by_somebody_else_keeps_nobody_from_revoking(
    identity_db: Database, clock: HeldClock
) -> None:
    scene, stranger = await a_scene(identity_db, clock()), await a_scene(identity_db, clock())
    mine = await an_active_mandate(identity_db, scene, clock())
    theirs = await an_active_mandate(identity_db, stranger, clock())
    key = a_key()
    for scene_of, mandate in ((stranger, theirs), (scene, mine), (stranger, theirs), (scene, mine)):
        async with identity_db.transaction(scene.caisse) as tx:
            done = await revoke(tx, scene_of.firm, mandate.id, key=key, now=clock(), notices=notices())
        assert (done.mandate.id, done.mandate.state) == (mandate.id, "revoked")


async def test_a_client_in_no_group_of_a_colleague_has_no_page_for_them(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    """delegation.md §5: a client in no group is invisible, whoever knows its address."""
    scene = await a_scene(identity_db, clock(), open_to_all=False)
    mandate = await an_active_mandate(identity_db, scene, clock())
    address = f"/{scene.caisse}/cabinet/mandates/{public_id('mdt', mandate.id)}"
    member = await signed_in(app, identity_db, scene.member, clock())
    owner = await signed_in(app, identity_db, scene.owner, clock())

    page = await member.get(address)
    assert page.status_code == 404 and "Équerre" not in said(page)
    assert (await member.get(f"{address}/resign")).status_code == 404
    assert (await owner.get(address)).status_code == 200

    async with identity_db.transaction(scene.caisse) as tx:
        people, clients = [scene.member], [scene.adherent_id]
        await create_group(tx, scene.cabinet, "Marseille", people=people, clients=clients, now=clock())
    assert (await member.get(address)).status_code == 200


async def test_an_offer_waiting_is_told_to_those_who_may_answer(
    app: Litestar, identity_db: Database, clock: HeldClock
) -> None:
    scene = await a_scene(identity_db, clock(), open_to_all=False)
    offered = await an_offer(identity_db, scene, clock())
    member = await signed_in(app, identity_db, scene.member, clock())
    owner = await signed_in(app, identity_db, scene.owner, clock())

    assert "Équerre" in said(await owner.get(f"/{scene.caisse}/cabinet"))
    assert "Équerre" not in said(await member.get(f"/{scene.caisse}/cabinet"))
    address = f"/{scene.caisse}/cabinet/mandates/{public_id('mdt', offered.id)}"
    assert (await member.get(address)).status_code == 404


@pytest.mark.parametrize("typed", ["9" * 5000, "%00", "a%00b", "%C2%B2"])
async def test_no_number_or_letter_of_an_address_is_a_defect_of_ours(
    app: Litestar, identity_db: Database, clock: HeldClock, typed: str
) -> None:
    scene = await a_scene(identity_db, clock())
    owner = await signed_in(app, identity_db, scene.owner, clock())
    for name in ("page", "search", "cabinet"):
        page = await owner.get(f"/{scene.caisse}/cabinet?{name}={typed}")
        assert page.status_code < 500, (name, typed)
