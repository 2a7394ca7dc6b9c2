"""The OAuth clients of the demonstration, in each caisse: ours, and those of a desk and of a cabinet's software."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from libs.common.access.rights import DELEGABLE
from libs.common.access.signatures import SigningKey
from libs.common.database.transaction import Tx
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from services.caisse_opening.own_clients import machine, register_or_update, register_own_clients
from services.demonstration.cabinet_software import CLIENT_ID as SOFTWARE
from services.demonstration.cabinet_software import REDIRECT_URI
from services.demonstration.journey import OPERATOR
from services.identity.openid.clients import CODE, TOKEN_EXCHANGE, ClientMetadata


class DemonstrationKeys(NamedTuple):
    """Private keys that the demonstration hands out; those of the services stay in their settings."""

    operator: SigningKey
    software: SigningKey


def new_keys() -> DemonstrationKeys:
    return DemonstrationKeys(SigningKey.generate("ES256"), SigningKey.generate("ES256"))


async def register_all(tx: Tx, settings: Settings, keys: DemonstrationKeys, *, now: datetime) -> None:
    """Every client of the transaction's caisse; one that an earlier run registered takes today's keys."""
    await register_own_clients(tx, settings, now=now)
    for client_id, metadata in _clients(settings, tx.the_caisse, keys):
        await register_or_update(tx, settings, client_id, metadata, now=now)


def _clients(
    settings: Settings, caisse: CaisseSlug, keys: DemonstrationKeys
) -> Iterator[tuple[str, ClientMetadata]]:
    issuer, adherent, documents = (
        f"{service.base.rstrip('/')}/{caisse}"
        for service in (settings.identity, settings.adherent, settings.documents)
    )
    yield OPERATOR, machine("Guichet de la caisse", keys.operator, "letters.issue", "", issuer)
    yield (
        SOFTWARE,
        ClientMetadata(
            client_name="Logiciel du cabinet Fontvieille",
            profile="fapi",
            jwks={"keys": [keys.software.published_jwk()]},
            redirect_uris=(REDIRECT_URI,),
            grant_types=(CODE, TOKEN_EXCHANGE),
            scope=" ".join(["openid", *sorted(DELEGABLE)]),
            resources=(issuer, adherent, documents),
            require_pushed_authorization_requests=True,
            dpop_bound_access_tokens=True,
        ),
    )
