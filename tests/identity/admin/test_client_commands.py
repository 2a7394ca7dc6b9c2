"""`espace client change`, as an operator types it: what no program may do."""

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner, Result

from libs.common.runtime.settings import to_environment
from services.identity.openid import store
from services.identity.openid.commands import client
from tests.identity.admin.machines import described
from tests.openid.party import Issuer


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
