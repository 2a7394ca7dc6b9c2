"""Dynamic registration (RFC 7591) and its management (RFC 7592).

An initial access token names the profile; the metadata of the request can only
ask for what that profile allows, and an update is judged whole, as a new client is.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import asdict

from libs.common.database.transaction import Tx
from libs.common.values.foreign_json import UnreadableJson, read_json
from services.identity.caisses import store as caisses
from services.identity.openid import client_store
from services.identity.openid.answers import Answer
from services.identity.openid.client_rules import InvalidClientMetadata
from services.identity.openid.clients import CODE, Client, ClientMetadata, Profile, may_name_a_client
from services.identity.openid.issuer import OPENID_SCOPES, Issuer
from services.identity.openid.judge_metadata import judge_metadata
from services.identity.openid.provider import Provider
from services.identity.openid.write_client import ITSELF, disable_client, register_client, update_client
from services.identity.sign_in import throttle

OURS = frozenset({"profile", "consent", "introspects", "resources"})
"""What a client never says of itself: an operator, or the initial access token, does. Nor of its scope, what is more
than `OPENID_SCOPES`. An update leaves all that as it is (`write_client.Hand.keeps`)."""

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
KNOWN = frozenset(ClientMetadata.__struct_fields__)

_objects = msgspec.json.Decoder(dict[str, Any])


def refused(error: str, description: str, status: int = 400) -> Answer:
    """RFC 7591 §3.2.2."""
    headers = dict(NO_STORE)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    if status == 429:
        headers["Retry-After"] = str(int(PER_NETWORK.every.total_seconds()))
    return Answer(status, {"error": error, "error_description": description}, headers)


PER_NETWORK = throttle.Allowance(timedelta(seconds=5), 200)
"""Requests to register and to manage, by neighbourhood: each may have us read an address of a stranger's choice."""

PER_CLIENT = throttle.Allowance(timedelta(seconds=10), 30)

NO_TOKEN = refused("invalid_token", "A valid initial access token is required.", 401)
NOT_MANAGED = refused("invalid_token", "The registration access token is not valid.", 401)
TOO_FAST = refused("slow_down", "Too many registrations come from here: ask anew in a moment.", 429)


def bearer(authorization: str | None) -> bytes | None:
    scheme, _, token = (authorization or "").partition(" ")
    return (
        hashlib.sha256(token.strip().encode()).digest()
        if scheme.lower() == "bearer" and token.strip()
        else None
    )


async def answer_register(
    provider: Provider, issuer: Issuer, authorization: str | None, body: bytes, network: str, now: datetime
) -> Answer:
    """RFC 7591 §3. The token is spent with the registration, or not at all.

    `network` is where the request comes from. Whatever the client's own addresses must say is read between two
    transactions, never in one.
    """
    management = secrets.token_urlsafe(32)
    try:
        async with provider.db.transaction(issuer.caisse) as tx:
            await throttle.spend(tx, "registration", network, PER_NETWORK, now=now)
            profile = await profile_offered(tx, authorization, now)
        if profile is None:
            return NO_TOKEN
        metadata = read_metadata(body, profile)
        await _judge(provider, issuer, metadata)
        async with provider.db.transaction(issuer.caisse) as tx:
            if await profile_spent(tx, authorization, now) != profile:
                return NO_TOKEN
            client = await register_client(
                tx,
                metadata,
                now=now,
                plain_http=provider.settings.demonstration,
                registered_by="dynamic",
                registration_token=management,
                by=ITSELF,
            )
    except throttle.Throttled:
        return TOO_FAST
    except InvalidClientMetadata as error:
        return refused(error.error, str(error))
    return Answer(201, described(issuer, client, management, client.secret, now), NO_STORE)


async def profile_offered(tx: Tx, authorization: str | None, now: datetime) -> Profile | None:
    """RFC 7591 §3: what the initial access token allows, else what the caisse opens to everybody; none by default.

    A token that is shown must be good: a wrong one is never taken for nothing.
    """
    if authorization is not None:
        token_hash = bearer(authorization)
        return (
            None if token_hash is None else await client_store.profile_of_initial_token(tx, token_hash, now)
        )
    caisse = await caisses.find(tx, tx.the_caisse)
    if caisse is None or caisse.settings.open_registration == "closed":
        return None
    return caisse.settings.open_registration


async def profile_spent(tx: Tx, authorization: str | None, now: datetime) -> Profile | None:
    """As `profile_offered`, with one use of the token fewer."""
    token_hash = bearer(authorization)
    if token_hash is not None:
        return await client_store.spend_initial_token(tx, token_hash, now)
    return await profile_offered(tx, authorization, now)


async def answer_management(
    provider: Provider, issuer: Issuer, client_id: str, authorization: str | None, method: str, body: bytes,
    network: str, now: datetime,
) -> Answer:  # fmt: skip
    """RFC 7592 §2: read, update, delete. A wrong token and an unknown client are one answer (§2.1)."""
    token_hash = bearer(authorization)
    if token_hash is None or not may_name_a_client(client_id):
        return NOT_MANAGED
    try:
        async with provider.db.transaction(issuer.caisse) as tx:
            await throttle.spend(tx, "registration", network, PER_NETWORK, now=now)
            client = await client_store.registered_with(tx, client_id, token_hash)
            if client is None:
                return NOT_MANAGED
            await throttle.spend(tx, "registered", f"{issuer.caisse}:{client_id}", PER_CLIENT, now=now)
            if method == "DELETE":
                await disable_client(tx, client_id, now=now, by=ITSELF)
                return Answer(204, "", NO_STORE)
        secret = None
        if method == "PUT":
            metadata = read_metadata(body, client.profile, managed=client)
            await _judge(provider, issuer, metadata)
            async with provider.db.transaction(issuer.caisse) as tx:
                # As it is now, and stays until this is written: disabled meanwhile, it is managed no more.
                await client_store.held(tx, client_id)
                client = await client_store.registered_with(tx, client_id, token_hash)
                if client is None or client.profile != metadata.profile:
                    return NOT_MANAGED
                changed = await update_client(
                    tx, client, metadata, now=now, plain_http=provider.settings.demonstration, by=ITSELF
                )
            client, secret = changed, changed.secret
    except throttle.Throttled:
        return TOO_FAST
    except InvalidClientMetadata as error:
        return refused(error.error, str(error))
    token = (authorization or "").partition(" ")[2].strip()
    return Answer(200, described(issuer, client, token, secret, None), NO_STORE)


def read_metadata(body: bytes, profile: Profile, *, managed: Client | None = None) -> ClientMetadata:
    """The request's metadata within the profile. Unknown members are ignored (RFC 7591 §2).

    RFC 7592 §2.2: an update names the client `managed`, and its secret if any; other members of our answers that
    come back are not read.
    """
    try:
        said = read_json(body, _objects)
    except UnreadableJson as error:
        raise InvalidClientMetadata("The body is not a JSON object that can be kept.") from error
    if managed is not None:
        if said.get("client_id") != managed.client_id:
            raise InvalidClientMetadata("The client_id does not match.")
        secret = said.get("client_secret")
        if secret is not None and not (isinstance(secret, str) and managed.check_client_secret(secret)):
            raise InvalidClientMetadata("The client_secret does not match.")
    asked = {name: value for name, value in said.items() if name in KNOWN - OURS and value is not None}
    if managed is not None:
        # What we told of its profile, said back to us, is no wish of its own: it would outlive the profile.
        for name in told_of_the_profile(managed):
            if asked.get(name) is True and not getattr(managed.metadata, name):
                del asked[name]
    asked.setdefault("client_name", "Client")
    asked.setdefault("scope", " ".join(sorted(OPENID_SCOPES)))
    try:
        return msgspec.convert({**_with_defaults(asked, profile), "profile": profile}, ClientMetadata)
    except msgspec.ValidationError as error:
        raise InvalidClientMetadata(str(error)) from error


def _with_defaults(asked: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """openid.md §1: the specification's defaults in `compat`, safer ones elsewhere; the answer tells them.

    Raises `msgspec.ValidationError`.
    """
    if profile == "compat":
        asked.setdefault("id_token_signed_response_alg", "RS256")
        asked.setdefault("token_endpoint_auth_method", "client_secret_basic")
    asked.setdefault("grant_types", [CODE])
    if CODE not in msgspec.convert(asked["grant_types"], tuple[str, ...]):
        asked.setdefault("response_types", [])
    asked["scope"] = " ".join(
        word for word in msgspec.convert(asked["scope"], str).split() if word in OPENID_SCOPES
    )
    return asked


async def _judge(provider: Provider, issuer: Issuer, metadata: ClientMetadata) -> None:
    """Raises `InvalidClientMetadata`."""
    plain_http = provider.settings.demonstration
    await judge_metadata(metadata, issuer.audiences, provider.fetcher, plain_http=plain_http)


def told_of_the_profile(client: Client) -> dict[str, bool]:
    """What the profile demands, whatever was asked (RFC 9126 §6, RFC 9449 §5.2)."""
    return {
        "require_pushed_authorization_requests": client.needs_pushed_requests,
        "dpop_bound_access_tokens": client.needs_dpop,
    }


def described(
    issuer: Issuer, client: Client, management: str, secret: str | None, issued_at: datetime | None
) -> dict[str, Any]:
    """RFC 7591 §3.2.1, RFC 7592 §3: everything registered, the defaults applied included."""
    metadata = {name: value for name, value in asdict(client.metadata).items() if value is not None}
    told: dict[str, Any] = {name: value for name, value in metadata.items() if name not in OURS - {"profile"}}
    told |= {
        **told_of_the_profile(client),
        "client_id": client.client_id,
        "registration_access_token": management,
        "registration_client_uri": issuer.endpoint(f"/register/{client.client_id}"),
    }
    if issued_at is not None:
        told["client_id_issued_at"] = int(issued_at.timestamp())
    if secret is not None:
        told |= {"client_secret": secret, "client_secret_expires_at": 0}
    return told
