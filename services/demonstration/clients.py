"""The OAuth clients of the demonstration, in each caisse: the portal, the services, the desk, a cabinet's software."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from libs.common.access.rights import DELEGABLE
from libs.common.access.signatures import SigningKey
from libs.common.database.transaction import Tx
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from services.demonstration.cabinet_software import CLIENT_ID as SOFTWARE
from services.demonstration.cabinet_software import REDIRECT_URI
from services.demonstration.journey import OPERATOR
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, TOKEN_EXCHANGE, ClientMetadata
from services.identity.openid.register import AT_THE_COMMAND_LINE, register_client, update_client
from services.identity.openid.store import load_client
from services.portal.relying_party.registration import CLIENT_ID as PORTAL
from services.portal.relying_party.registration import portal_registration


class DemonstrationKeys(NamedTuple):
    """Private keys that the demonstration hands out; those of the services stay in their settings."""

    operator: SigningKey
    software: SigningKey


def new_keys() -> DemonstrationKeys:
    return DemonstrationKeys(SigningKey.generate("ES256"), SigningKey.generate("ES256"))


async def register_all(tx: Tx, settings: Settings, keys: DemonstrationKeys, *, now: datetime) -> None:
    """Every client of the transaction's caisse; one that an earlier run registered takes today's keys."""
    plain_http = not settings.identity.base.startswith("https:")
    for client_id, metadata in _clients(settings, tx.the_caisse, keys):
        known = await load_client(tx, client_id)
        if known is None:
            await register_client(tx, metadata, now=now, client_id=client_id, plain_http=plain_http)
        else:
            await update_client(tx, known, metadata, now=now, plain_http=plain_http, by=AT_THE_COMMAND_LINE)


def _clients(
    settings: Settings, caisse: CaisseSlug, keys: DemonstrationKeys
) -> Iterator[tuple[str, ClientMetadata]]:
    issuer, adherent, documents = (
        f"{service.base.rstrip('/')}/{caisse}"
        for service in (settings.identity, settings.adherent, settings.documents)
    )
    yield PORTAL, msgspec.convert(portal_registration(settings, caisse), ClientMetadata)
    yield (
        "documents",
        _machine(
            "Service des documents",
            SigningKey.from_pem(settings.documents.client_key),
            "standing.read",
            documents,
            adherent,
        ),
    )
    yield (
        "adherent",
        _machine(
            "Service des adhérents", SigningKey.from_pem(settings.adherent.client_key), "", adherent, adherent
        ),
    )
    yield OPERATOR, _machine("Guichet de la caisse", keys.operator, "letters.issue", "", issuer)
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


def _machine(name: str, key: SigningKey, scope: str, introspects: str, resource: str) -> ClientMetadata:
    return ClientMetadata(
        client_name=name,
        profile="fapi",
        jwks={"keys": [key.published_jwk()]},
        grant_types=(CLIENT_CREDENTIALS,),
        response_types=(),
        scope=scope,
        resources=(resource,),
        introspects=(introspects,) if introspects else (),
        dpop_bound_access_tokens=True,
    )
