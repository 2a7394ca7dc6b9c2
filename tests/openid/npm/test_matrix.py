"""oauth4webapi and openid-client, strictness on, live a whole life with each combination of openid.md §8."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.openid.npm.combinations import MATRIX, PUBLIC, Combination
from tests.openid.npm.conftest import Flow

PROGRAMS = {"oauth4webapi": "with_oauth4webapi", "openid-client": "with_openid_client"}


@pytest.mark.parametrize("combination", MATRIX, ids=lambda one: one.name)
@pytest.mark.parametrize("library", PROGRAMS)
async def test_a_client_lives_its_whole_life(flow: Flow, library: str, combination: Combination) -> None:
    lived = await flow(PROGRAMS[library], library=library, **combination.told())

    _it_is_the_client_it_asked_to_be(lived, combination)
    _its_tokens_are_those_of_its_profile(lived, combination)
    _it_left_nothing_behind(lived, combination)


def _it_is_the_client_it_asked_to_be(lived: dict[str, Any], combination: Combination) -> None:
    registered = lived["registered"]
    assert registered["profile"] == combination.profile
    assert registered.get("token_endpoint_auth_method", "private_key_jwt") == combination.method
    assert ("client_secret" in registered) == combination.method.startswith("client_secret")
    assert lived["pages"] == ["sign-in", "authorize/consent"]


def _its_tokens_are_those_of_its_profile(lived: dict[str, Any], combination: Combination) -> None:
    assert lived["token_type"].lower() == ("dpop" if combination.dpop else "bearer")
    assert (lived["asked_for_a_nonce"] > 0) == combination.nonce
    assert (
        lived["about"]["email"].endswith("@entreprise.example") and lived["about"]["email_verified"] is True
    )
    assert lived["about"]["sub"] == lived["claims"]["sub"] and lived["same_person"]
    # Public clients' refresh tokens rotate, the others' are bound instead (openid.md line 16).
    assert lived["rotated"] == (combination.method == PUBLIC)
    if combination.method != PUBLIC:
        assert lived["introspected"]["active"] is True
        assert lived["introspected"]["sub"] == lived["claims"]["sub"]
        assert ("cnf" in lived["introspected"]) == combination.dpop


def _it_left_nothing_behind(lived: dict[str, Any], combination: Combination) -> None:
    after = lived["after_revocation"]
    assert after["userinfo"] in (401, "invalid_token")
    assert after["refresh"] == "invalid_grant"
    assert after["active"] is False
    assert parse_qs(urlsplit(lived["left_to"]).query) == {"state": [lived["state"]]}
