"""Machines of cabinets, registered as the command line does."""

from datetime import datetime
from typing import Any

from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from services.identity.cabinets.machine_store import Registered
from services.identity.cabinets.machines import register_machine
from tests.identity.delegation.parties import Scene

SCOPES = ("declaration.read", "declaration.submit", "attestation.read", "attestation.request")


def a_public_key() -> dict[str, Any]:
    return SigningKey.generate("ES256").published_jwk()


async def a_machine(
    db: Database, scene: Scene, now: datetime, name: str = "Paie & Co", **changes: Any
) -> Registered:
    """A machine of the scene's cabinet, for which its member answers."""
    said: dict[str, Any] = {
        "sponsor_id": scene.member,
        "scopes": SCOPES,
        "keys": [a_public_key()],
        "resources": (),
        "now": now,
        **changes,
    }
    async with db.transaction(scene.caisse) as tx:
        return await register_machine(tx, scene.cabinet_id, name, **said)
