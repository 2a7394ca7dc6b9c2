"""Somebody at the clients of this folder."""

import pytest

from tests.openid.party import Issuer, Somebody


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()
