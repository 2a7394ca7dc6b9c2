"""The adherent service in this process, for callers with tokens of one issuer."""

from collections.abc import AsyncIterator

import httpx
import pytest

from libs.common.access.resource_server import ResourceServer
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from services.adherent.app import create_app
from tests.adherent.callers import OneIssuer, says_standing, served


@pytest.fixture(scope="session")
def issuer() -> OneIssuer:
    return OneIssuer()


@pytest.fixture(scope="module")
async def adherent_api(
    settings: Settings, keys: KeyEncryption, issuer: OneIssuer
) -> AsyncIterator[httpx.AsyncClient]:
    access = ResourceServer(settings, "adherent", keys, key_source=issuer, introspect=says_standing)
    async with served(create_app(settings, access=access), settings.adherent.base) as http:
        yield http
