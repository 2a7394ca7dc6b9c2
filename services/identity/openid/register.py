"""Registering, changing, disabling a client: used by the command line, the demonstration and RFC 7591/7592."""

import hashlib
import secrets
from datetime import datetime

from libs.common.database import journal, outbox
from libs.common.database.journal import Act
from libs.common.database.transaction import Tx
from libs.common.events.identity import FloorRaised
from libs.common.refusals import DomainError
from libs.common.values.identifiers import new_id
from services.identity.openid import client_store
from services.identity.openid.client_rules import check_metadata
from services.identity.openid.clients import Client, ClientMetadata


class ClientAlreadyThere(DomainError):
    """The identifier is taken; nothing was changed."""


class RegisteredClient(Client, frozen=True, kw_only=True):
    """A client with the secret shown once, if its method has one."""

    secret: str | None = None


async def register_client(
    tx: Tx,
    metadata: ClientMetadata,
    *,
    now: datetime,
    client_id: str | None = None,
    plain_http: bool = False,
    registered_by: str = "operator",
    registration_token: str | None = None,
) -> RegisteredClient:
    """Add a client to the transaction's caisse.

    `client_id` is drawn unless an operator names it. `plain_http` allows loopback
    addresses (demonstration). Raises `InvalidClientMetadata`, `ClientAlreadyThere`.
    """
    check_metadata(metadata, plain_http=plain_http)
    name = client_id or f"client_{secrets.token_hex(12)}"
    secret = secrets.token_urlsafe(32) if metadata.token_endpoint_auth_method.startswith("client_secret") else None
    client = RegisteredClient(
        client_id=name, state="active", secret_hash=_hash(secret), metadata=metadata, secret=secret
    )
    if not await client_store.add(tx, client, registered_by, _hash(registration_token), now):
        raise ClientAlreadyThere(name)
    await journal.record(
        tx,
        Act(action="client.registered", subject_kind="client", subject_id=name, at=now,
            details={"profile": metadata.profile, "by": registered_by}),
    )  # fmt: skip
    return client


async def update_client(tx: Tx, client: Client, metadata: ClientMetadata, *, now: datetime, plain_http: bool) -> Client:
    """Replace the whole metadata, judged anew. A narrower ceiling bites at once: the client's floor is raised."""
    check_metadata(metadata, plain_http=plain_http)
    await client_store.replace_metadata(tx, client.client_id, metadata, now)
    if not client.scopes <= frozenset(metadata.scope.split()):
        await _raise_floor(tx, client.client_id, now)
    await journal.record(tx, Act(action="client.updated", subject_kind="client", subject_id=client.client_id, at=now))
    return Client(
        client_id=client.client_id, state=client.state, secret_hash=client.secret_hash, metadata=metadata
    )


async def disable_client(tx: Tx, client_id: str, *, now: datetime) -> bool:
    """Everything it holds dies: grants here, access tokens everywhere by the client's floor."""
    if not await client_store.disable(tx, client_id, now):
        return False
    await _raise_floor(tx, client_id, now)
    await journal.record(tx, Act(action="client.disabled", subject_kind="client", subject_id=client_id, at=now))
    return True


async def rotate_secret(tx: Tx, client_id: str, *, now: datetime) -> str | None:
    """A new secret, shown once; `None` when the client has none. The old one is dead from the commit on."""
    secret = secrets.token_urlsafe(32)
    if not await client_store.replace_secret(tx, client_id, hashlib.sha256(secret.encode()).digest(), now):
        return None
    await journal.record(tx, Act(action="client.secret_rotated", subject_kind="client", subject_id=client_id, at=now))
    return secret


async def _raise_floor(tx: Tx, client_id: str, now: datetime) -> None:
    await outbox.record(tx, FloorRaised(event_id=new_id(), at=now, kind="client", key=client_id, not_before=now))


def _hash(secret: str | None) -> bytes | None:
    return None if secret is None else hashlib.sha256(secret.encode()).digest()
