"""What identity refuses the portal: only an error about what the person holds ends anything of theirs."""

import pytest

from tests.portal.conftest import Visitor
from tests.portal.far_side import MDT, FarSide

OURS = [
    ("invalid_client", 401),
    ("invalid_dpop_proof", 400),
    ("invalid_target", 400),
    ("invalid_request", 400),
    ("slow_down", 429),
    ("", 400),
]
"""Our key not known yet, our clock, our settings, our haste: the person has nothing to do with it."""


@pytest.mark.parametrize(("error", "status"), OURS)
async def test_a_refusal_that_is_not_about_the_grant_keeps_the_session(
    visitor: Visitor, far_side: FarSide, error: str, status: int
) -> None:
    await visitor.sign_in(far_side)
    far_side.refuses_tokens = (error, status)

    refused = await visitor.get("/mediterranee")
    far_side.refuses_tokens = None
    healed = await visitor.get("/mediterranee")

    assert refused.status_code == 503
    assert "pris fin" not in refused.text
    assert "Maçonnerie" in healed.text


async def test_a_grant_that_is_over_ends_the_session(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)
    far_side.refuses_tokens = ("invalid_grant", 400)

    told = await visitor.get("/mediterranee")
    far_side.refuses_tokens = None
    after = await visitor.get("/mediterranee")

    assert (told.status_code, "pris fin" in told.text) == (401, True)
    assert "Maçonnerie" not in after.text


@pytest.mark.parametrize(("error", "status"), OURS)
async def test_a_refusal_that_is_not_about_the_mandate_does_not_say_that_it_is_over(
    visitor: Visitor, far_side: FarSide, error: str, status: int
) -> None:
    far_side.become_cabinet()
    await visitor.sign_in(far_side)
    far_side.refuses_exchanges = (error, status)

    refused = await visitor.get(f"/mediterranee/clients/{MDT}")
    far_side.refuses_exchanges = None
    healed = await visitor.get(f"/mediterranee/clients/{MDT}")

    assert refused.status_code in (200, 503)
    assert "ne pouvez plus agir" not in refused.text
    assert healed.status_code == 200


async def test_a_mandate_without_a_right_there_is_not_over(visitor: Visitor, far_side: FarSide) -> None:
    far_side.become_cabinet()
    await visitor.sign_in(far_side)
    far_side.refuses_exchanges = ("invalid_scope", 400)

    page = await visitor.get(f"/mediterranee/clients/{MDT}")

    assert page.status_code == 200
    assert "Vous agissez pour" in page.text


async def test_a_refused_code_keeps_the_way_to_sign_in_open(visitor: Visitor, far_side: FarSide) -> None:
    far_side.refuses_tokens = ("invalid_client", 401)
    told = await visitor.sign_in(far_side)
    far_side.refuses_tokens = ("invalid_grant", 400)
    over = await visitor.sign_in(far_side)

    assert (told.status_code, over.status_code) == (503, 400)
