"""A process whose root key is another installation's seals nothing, and says so before it answers anybody."""

import json

import pytest
from msgspec.structs import replace

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.doctor import examine_servers
from libs.common.runtime.settings import Settings, SettingsRefused
from libs.common.values.caisse_slug import parse_caisse_slug
from services.identity.signing_keys import store
from services.identity.signing_keys.root_key_proof import ANOTHER_S, prove_root_key
from services.identity.signing_keys.rotation import create_keys
from tests.openid.party import Issuer, add_row_of_caisse
from tests.openid.signing_keys.commanded import commanded

ANOTHER = "W" * 43
"""32 bytes in base64url, as the settings hold a root key."""


def under_another(settings: Settings) -> Settings:
    return replace(settings, keys=replace(settings.keys, key_encryption_key=ANOTHER))


async def kids(issuer: Issuer) -> set[tuple[str, str]]:
    async with issuer.db.transaction(issuer.caisse) as tx:
        return {(key.kid, key.state) for key in await store.published(tx)}


async def test_the_right_one_opens_and_another_is_refused(
    issuer: Issuer, identity_db: Database, keys: KeyEncryption
) -> None:
    await prove_root_key(identity_db, keys)
    with pytest.raises(SettingsRefused, match="La clé racine"):
        await prove_root_key(identity_db, KeyEncryption(b"z" * 32))


async def test_a_caisse_whose_keys_are_broken_stops_no_other(
    issuer: Issuer, identity_db: Database, keys: KeyEncryption
) -> None:
    broken = parse_caisse_slug("aaa-first")
    await add_row_of_caisse(identity_db, broken, issuer.clock())
    async with identity_db.transaction(broken) as tx:
        await create_keys(tx, KeyEncryption(b"y" * 32), issuer.clock())
    await prove_root_key(identity_db, keys)


@pytest.mark.parametrize("act", ["rotate", "revoke"])
async def test_no_command_seals_a_key_under_another(issuer: Issuer, act: str) -> None:
    before = await kids(issuer)
    kid = next(kid for kid, state in sorted(before) if state == "active")
    words = [act, issuer.caisse, *(["--yes", kid] if act == "revoke" else []), "--json"]
    told = await commanded(under_another(issuer.settings), *words)
    assert (told.returncode, json.loads(told.stdout)) == (3, {"error": ANOTHER_S})
    assert await kids(issuer) == before


async def test_doctor_names_it(issuer: Issuer) -> None:
    found = {one.name: one for one in await examine_servers(under_another(issuer.settings))}
    assert not found["Clé racine"].holds
    assert "keep-the-root-key" in found["Clé racine"].remedy
    well = {one.name: one for one in await examine_servers(issuer.settings)}
    assert well["Clé racine"].holds
