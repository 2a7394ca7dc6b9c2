"""A resource withdrawn from a client is withdrawn from what it holds (RFC 8707 §2, openid.md §4, "scope removed")."""

import msgspec
import pytest

from libs.common.database.transaction import Tx
from services.identity.openid import store
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, update_client
from tests.openid.party import Issuer, Party, Somebody

SCOPE = "openid declaration.read attestation.read"


async def change(client: Party, **changes: object) -> list[str]:
    """The kinds of floors that the change raised."""
    issuer = client.issuer
    async with issuer.db.transaction(issuer.caisse) as tx:
        known = await store.load_client(tx, client.client_id)
        assert known is not None
        metadata = msgspec.structs.replace(known.metadata, **changes)
        before = await _floors(tx, client)
        await update_client(tx, known, metadata, now=issuer.clock(), plain_http=True, by=AT_THE_COMMAND_LINE)
        return (await _floors(tx, client))[len(before) :]


async def _floors(tx: Tx, client: Party) -> list[str]:
    rows = await tx.fetch("SELECT body FROM outbox")
    facts = [msgspec.json.decode(row[0]) for row in rows]
    return [fact["kind"] for fact in facts if fact.get("key") == client.client_id]


@pytest.mark.parametrize("method", ["private_key_jwt", "none"])
async def test_a_refresh_token_leads_no_more_to_a_withdrawn_audience(
    issuer: Issuer, who: Somebody, method: str
) -> None:
    client = await issuer.client(scope=SCOPE, token_endpoint_auth_method=method)
    tokens = await client.tokens(who, scope=SCOPE)
    assert await change(client, resources=(issuer.documents,)) == ["client"]

    refused = await client.refresh(tokens["refresh_token"], resource=issuer.adherent)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    kept = await client.refresh(tokens["refresh_token"], resource=issuer.documents)
    assert kept.status_code == 200


async def test_a_code_leads_no_more_to_a_withdrawn_audience(issuer: Issuer, who: Somebody) -> None:
    client = await issuer.client(scope=SCOPE)
    code = await client.code(who, scope=SCOPE)
    await change(client, resources=())
    assert (await client.redeem(code, resource=issuer.adherent)).json()["error"] == "invalid_target"
    assert (await client.redeem(code)).status_code == 200


async def test_an_access_token_of_a_withdrawn_audience_reads_as_inactive(
    issuer: Issuer, who: Somebody
) -> None:
    client = await issuer.client(scope=SCOPE)
    token = (await client.tokens(who, scope=SCOPE, resource=issuer.adherent))["access_token"]
    assert (await client.post("/introspect", {"token": token})).json()["active"] is True
    await change(client, resources=(issuer.documents,))
    assert (await client.post("/introspect", {"token": token})).json() == {"active": False}


async def test_a_client_that_gains_or_keeps_its_audiences_raises_no_floor(issuer: Issuer) -> None:
    client = await issuer.client(scope=SCOPE, resources=(issuer.adherent,))
    assert await change(client, client_name="Autrement") == []
    assert await change(client, resources=(issuer.documents, issuer.adherent)) == []
