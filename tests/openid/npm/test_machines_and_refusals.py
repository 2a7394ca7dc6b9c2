"""Client credentials, and what is refused even to a client that insists, by the npm clients."""

import pytest

from tests.openid.npm.combinations import MACHINES, Combination
from tests.openid.npm.conftest import Flow


@pytest.mark.parametrize("combination", MACHINES, ids=lambda one: one.name)
async def test_a_machine_asks_in_its_own_name(flow: Flow, combination: Combination) -> None:
    lived = await flow("machine", library="both", **combination.told())

    assert lived["token_type"].lower() == ("dpop" if combination.dpop else "bearer")
    assert lived["other_token_type"].lower() == lived["token_type"].lower()
    # openid.md line 23: the subject is the client, and looks like nobody else's.
    assert lived["introspected"]["sub"] == lived["client_id"] == lived["introspected"]["client_id"]
    assert lived["introspected"]["active"] is True
    assert not lived["has_refresh_token"]
    assert (lived["asked_for_a_nonce"] > 0) == combination.nonce
    assert lived["active_after_revocation"] is False


async def test_hybrid_implicit_and_ciba_are_refused(flow: Flow) -> None:
    combination = Combination("insists", "standard", "private_key_jwt", par=True)
    told = await flow("refused", library="both", **combination.told())

    assert told["advertised"]["response_types"] == ["code"]
    assert told["advertised"]["ciba"] is None
    assert not {"implicit", "urn:openid:params:grant-type:ciba"} & set(told["advertised"]["grants"])
    assert set(told["registration"].values()) == {"invalid_client_metadata"}
    assert set(told["pushed"].values()) == {"unsupported_response_type"}
    assert told["redirected"]["error"] == "unsupported_response_type"
    assert told["redirected"]["iss"].endswith("/mediterranee")
    assert not {"code", "id_token", "access_token"} & told["redirected"].keys()
    assert told["ciba"]["grant"] == "unsupported_grant_type"
    assert told["ciba"]["library"] == "OAUTH_MISSING_SERVER_METADATA"
