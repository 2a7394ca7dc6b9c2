"""`espace client add` and `change`, as an operator types them: what no program may do, and by every program's rules."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from libs.common.runtime.settings import to_environment
from services.identity.openid import store
from services.identity.openid.commands import client
from tests.identity.admin.machines import described
from tests.openid.listener import Listener, listening
from tests.openid.party import Issuer


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """A client's own server on loopback."""
    async with listening() as server:
        yield server


async def typed(issuer: Issuer, *words: str) -> Result:
    """By an operator whose installation lets clients' addresses on loopback through."""
    environment = to_environment(replace(issuer.settings, outbound_hosts=("127.0.0.1",)))
    return await asyncio.to_thread(CliRunner().invoke, client, words, env=environment)


async def test_an_operator_changes_what_no_program_may(issuer: Issuer, tmp_path: Path) -> None:
    portal, file = await issuer.client(), tmp_path / "portal.json"

    async def change(client_id: str, **changes: object) -> Result:
        file.write_text(json.dumps(described(portal.metadata) | changes))
        words = ["change", issuer.caisse, client_id, str(file)]
        return await asyncio.to_thread(CliRunner().invoke, client, words, env=to_environment(issuer.settings))

    done = await change(portal.client_id, client_name="Portail", post_logout_redirect_uris=[])
    refused = [
        await change(portal.client_id, grant_types=["password"]),
        await change(portal.client_id, wish=1),
        await change("nobody"),
    ]

    assert done.exit_code == 0, done.output
    assert [one.exit_code for one in refused] == [2, 2, 1]
    async with issuer.db.transaction(issuer.caisse) as tx:
        found = await store.load_client(tx, portal.client_id)
    assert found is not None
    assert (found.metadata.client_name, found.metadata.consent) == ("Portail", "implicit")


@pytest.mark.parametrize("door", ["add", "change"])
async def test_the_sector_s_document_is_read_at_the_command_line_too(
    issuer: Issuer, listener: Listener, tmp_path: Path, door: str
) -> None:
    """OpenID Connect Core §8.1: else two hosts share their subjects by saying so themselves."""
    known, file = await issuer.client(), tmp_path / "client.json"
    pairwise = {"subject_type": "pairwise", "sector_identifier_uri": listener.url("/sector")}
    file.write_text(json.dumps(described(known.metadata) | pairwise))
    words = [door, issuer.caisse, *([known.client_id] if door == "change" else []), str(file)]

    absent = await typed(issuer, *words)
    listener.pages["/sector"] = json.dumps(["https://elsewhere.example/cb"]).encode()
    another_s = await typed(issuer, *words)
    listener.pages["/sector"] = json.dumps(known.metadata.redirect_uris).encode()
    its_own = await typed(issuer, *words)

    assert [absent.exit_code, another_s.exit_code, its_own.exit_code] == [2, 2, 0], its_own.output
    assert "sector" in absent.output and "sector" in another_s.output


@pytest.mark.parametrize("door", ["add", "change"])
@pytest.mark.parametrize("member", ["resources", "introspects"])
async def test_an_audience_that_the_caisse_does_not_have_is_named(
    issuer: Issuer, tmp_path: Path, door: str, member: str
) -> None:
    """A letter mistyped would be kept in silence, and the client refused at its first request."""
    known, file = await issuer.client(), tmp_path / "client.json"
    mistyped = issuer.adherent.replace("mediterranee", "mediteranee")
    file.write_text(json.dumps(described(known.metadata) | {member: [issuer.documents, mistyped]}))
    words = [door, issuer.caisse, *([known.client_id] if door == "change" else []), str(file)]

    refused = await typed(issuer, *words)

    assert refused.exit_code == 2
    assert mistyped in refused.output.replace("\n", "") and member in refused.output


@pytest.mark.parametrize("member", ["backchannel_logout_uri", "jwks_uri", "logo_uri"])
async def test_an_address_that_would_never_be_called_is_refused_with_the_setting_that_opens_it(
    issuer: Issuer, tmp_path: Path, member: str
) -> None:
    """Kept in silence, a logout was tried for a day and nobody knew why."""
    known, file = await issuer.client(), tmp_path / "client.json"
    metadata = described(known.metadata)
    if member == "jwks_uri":
        del metadata["jwks"]
    file.write_text(json.dumps(metadata | {member: "http://localhost:8499/there"}))
    words = ["change", issuer.caisse, known.client_id, str(file)]

    refused = await typed(issuer, *words)
    file.write_text(json.dumps(metadata | {member: "http://127.0.0.1:8499/there"}))
    listed = await typed(issuer, *words)

    assert (refused.exit_code, listed.exit_code) == (2, 0), listed.output
    assert member in refused.output and "outbound_hosts" in refused.output
