"""A confidential client, a public one, and somebody signed in."""

import pytest

from tests.openid.party import Issuer, Party, Somebody


@pytest.fixture
async def client(issuer: Issuer) -> Party:
    return await issuer.client()


@pytest.fixture
async def public(issuer: Issuer) -> Party:
    return await issuer.client(token_endpoint_auth_method="none")


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()
