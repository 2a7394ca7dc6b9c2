"""Espace's own clients at a caisse's issuer: the portal, and the services that introspect and that ask each other.

Without them a caisse is open and nobody signs in: each caisse registers its own clients, ours included.
"""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from libs.common.access.signatures import SigningKey
from libs.common.database.transaction import Tx
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid.client_rules import check_metadata
from services.identity.openid.clients import CLIENT_CREDENTIALS, ClientMetadata
from services.identity.openid.store import load_client
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, register_client, update_client
from services.portal.relying_party.registration import CLIENT_ID as PORTAL
from services.portal.relying_party.registration import portal_registration

NEEDS = (
    "identity.base", "portal.base", "portal.client_key", "adherent.base", "adherent.client_key",
    "documents.base", "documents.client_key",
)  # fmt: skip
"""Settings without which our clients cannot be described."""


async def register_own_clients(tx: Tx, settings: Settings, *, now: datetime) -> list[str]:
    """Register each in the transaction's caisse, or bring it to today's addresses and keys; their identifiers."""
    described = dict(_own_clients(settings, tx.the_caisse))
    for client_id, metadata in described.items():
        await register_or_update(tx, settings, client_id, metadata, now=now)
    return sorted(described)


async def register_or_update(
    tx: Tx, settings: Settings, client_id: str, metadata: ClientMetadata, *, now: datetime
) -> None:
    """One client under a name of ours, as it is described today; done twice it changes nothing."""
    plain_http = not settings.identity.base.startswith("https:")
    known = await load_client(tx, client_id)
    if known is None:
        await register_client(tx, metadata, now=now, client_id=client_id, plain_http=plain_http)
    elif known.metadata != check_metadata(metadata, plain_http=plain_http):
        await update_client(tx, known, metadata, now=now, plain_http=plain_http, by=AT_THE_COMMAND_LINE)


def machine(name: str, key: SigningKey, scope: str, introspects: str, resource: str) -> ClientMetadata:
    """A program that acts in its own name, with a key."""
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


def _own_clients(settings: Settings, caisse: CaisseSlug) -> Iterator[tuple[str, ClientMetadata]]:
    adherent, documents = (
        f"{service.base.rstrip('/')}/{caisse}" for service in (settings.adherent, settings.documents)
    )
    yield PORTAL, msgspec.convert(portal_registration(settings, caisse), ClientMetadata)
    key = SigningKey.from_pem(settings.documents.client_key)
    yield "documents", machine("Service des documents", key, "standing.read", documents, adherent)
    key = SigningKey.from_pem(settings.adherent.client_key)
    yield "adherent", machine("Service des adhérents", key, "", adherent, adherent)
