"""Registering, changing, disabling a client: used by the command line, the demonstration and RFC 7591/7592."""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from libs.common.access import rights
from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError
from services.identity.caisses import store as caisses
from services.identity.caisses.caisse import OpenRegistration
from services.identity.floors.raise_floor import raise_floor
from services.identity.openid import client_store, store
from services.identity.openid.client_rules import InvalidClientMetadata, check_metadata
from services.identity.openid.clients import CLIENT_ID, Client, ClientMetadata, Profile
from services.identity.openid.issuer import OPENID_SCOPES

NAMEABLE = f"(?!(per|adh|cab|mch|acc|mdt)_){CLIENT_ID}"
"""A client's own subject can never be mistaken for a person's or a firm's (openid.md, line 23)."""


class BeyondOwnRights(DomainError):
    """The client holds, or would hold, a right of administration that the caller lacks."""


class OnlyTheOperators(DomainError):
    """The client is the platform's own, or would be: only the command line makes and changes those."""


class Hand(NamedTuple):
    """Who changes a client: the command line, the client itself (RFC 7592), or a program by its token.

    Every function below that takes a hand asks it first, so that no way to a client leads around the rule
    (openid.md §2, delegated administration: nobody grants what they lack).
    """

    name: str
    token_jti: str | None = None
    held: frozenset[str] | None = None
    """The rights of a program's token. None bounds the others: the operator may all, and what a
    client says of itself is read within its profile (`registration.dynamic.read_metadata`)."""

    @property
    def actor(self) -> Actor:
        return Actor(token_jti=self.token_jti)

    @property
    def is_a_program(self) -> bool:
        return self.held is not None

    def touches(self, client: ClientMetadata) -> None:
        """Act on a client that is. Raises `BeyondOwnRights`, `OnlyTheOperators`.

        Whoever changes, stops or gives a new secret to a client that asks nobody's consent, or that introspects
        others' tokens, holds the rights of everybody who signs in.
        """
        if self.held is None:
            return
        if client.consent == "implicit" or client.introspects:
            raise OnlyTheOperators
        if not frozenset(client.scope.split()) & rights.SERVICE <= self.held:
            raise BeyondOwnRights

    def writes(self, *descriptions: ClientMetadata) -> None:
        """Say what a client is, or was until now. Raises `BeyondOwnRights`, `OnlyTheOperators`."""
        for description in descriptions:
            self.touches(description)
            self.gives(description.profile)

    def asks_anew(self, before: ClientMetadata, after: ClientMetadata) -> bool:
        """Whether everybody is asked again. A program's change may hand the client to another. A client's own changes
        its keys as it likes, but the address that people were shown is what they agreed to be led to. An operator
        knows who the client is.
        """
        if self.is_a_program:
            return _hears_elsewhere(before, after) or _proves_otherwise(before, after)
        return self == ITSELF and _hears_elsewhere(before, after)

    def keeps(self, before: ClientMetadata, after: ClientMetadata) -> ClientMetadata:
        """RFC 7592 §2.2: a client's own update replaces what is the client's to say. What an operator gave it is
        neither lost nor widened: consent that is implied by who answers at its addresses is implied at no other, and
        all of it goes with the proof it was given for. Who holds a registration access token may be anybody.
        """
        if self != ITSELF:
            return after
        own = [word for word in after.scope.split() if word in OPENID_SCOPES]
        if _proves_otherwise(before, after):
            return replace(after, resources=(), introspects=(), consent="explicit", scope=" ".join(own))
        given = [word for word in before.scope.split() if word not in OPENID_SCOPES]
        return replace(
            after,
            resources=before.resources,
            introspects=before.introspects,
            consent="explicit" if _hears_elsewhere(before, after) else before.consent,
            scope=" ".join(own + given),
        )

    def gives(self, profile: Profile) -> None:
        """openid.md §1: `compat` is off until an operator sets it. Raises `OnlyTheOperators`."""
        if self.is_a_program and profile == "compat":
            raise OnlyTheOperators


AT_THE_COMMAND_LINE = Hand("operator")
ITSELF = Hand("dynamic")


class ClientAlreadyThere(DomainError):
    """The identifier is taken; nothing was changed."""


class ItIsAMachine(DomainError):
    """A cabinet's software changes by the commands of machines alone, which keep it what the firms consented to."""


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
    by: Hand = AT_THE_COMMAND_LINE,
) -> RegisteredClient:
    """Add a client to the transaction's caisse.

    `client_id` is drawn unless an operator names it. `plain_http` allows loopback
    addresses (demonstration). `by` is told to the journal. Raises `InvalidClientMetadata`, `ClientAlreadyThere`,
    and what `Hand.writes` does.
    """
    by.writes(metadata)
    metadata = check_metadata(metadata, plain_http=plain_http)
    if client_id is not None and not re.fullmatch(NAMEABLE, client_id):
        raise InvalidClientMetadata("This client_id is not a client's.")
    name = client_id or f"client_{secrets.token_hex(12)}"
    secret = secrets.token_urlsafe(32) if metadata.has_a_secret else None
    client = RegisteredClient(
        client_id=name, state="active", secret_hash=_hash(secret), metadata=metadata, secret=secret
    )
    if not await client_store.add(tx, client, registered_by, _hash(registration_token), now):
        raise ClientAlreadyThere(name)
    await journal.record(
        tx,
        Act(action="client.registered", subject_kind="client", subject_id=name, at=now, actor=by.actor,
            details={"profile": metadata.profile, "by": by.name if registered_by == "operator" else registered_by}),
    )  # fmt: skip
    return client


async def update_client(
    tx: Tx, client: Client, metadata: ClientMetadata, *, now: datetime, plain_http: bool, by: Hand
) -> RegisteredClient:
    """Replace the whole metadata, judged anew; with a secret when the new method is the first to need one.

    A right or an audience that it loses bites at once: the client's floor is raised. One that proves itself no
    more loses its grants: a confidential client's refresh tokens are bound to that proof alone (RFC 6749 §6).

    Raises `InvalidClientMetadata`, `ItIsAMachine`, and what `Hand.writes` does.
    """
    # Whatever was written since it was read counts: a secret taken away meanwhile does not come back.
    client = await client_store.held(tx, client.client_id) or client
    by.writes(client.metadata, metadata)
    metadata = check_metadata(by.keeps(client.metadata, metadata), plain_http=plain_http)
    secret = secrets.token_urlsafe(32) if metadata.has_a_secret and client.secret_hash is None else None
    kept = client.secret_hash if metadata.has_a_secret else None
    loses_its_proof = client.is_confidential and not metadata.is_confidential
    changed = RegisteredClient(
        client_id=client.client_id,
        state=client.state,
        secret_hash=kept if secret is None else _hash(secret),
        metadata=metadata,
        not_before=now if loses_its_proof else client.not_before,
        secret=secret,
    )
    if not await client_store.replace(tx, changed, now):
        raise ItIsAMachine
    if loses_its_proof or _is_narrower(client.metadata, metadata):
        await raise_floor(tx, "client", client.client_id, now)
    if by.asks_anew(client.metadata, metadata):
        await client_store.end_consents(tx, client.client_id, now)
    await _note(tx, "client.updated", client.client_id, now, by)
    return changed


async def disable_client(tx: Tx, client_id: str, *, now: datetime, by: Hand = AT_THE_COMMAND_LINE) -> bool:
    """Everything it holds dies: grants here, access tokens everywhere by the client's floor.

    Raises what `Hand.touches` does.
    """
    client = await store.load_client(tx, client_id)
    if client is None:
        return False
    by.touches(client.metadata)
    if not await client_store.disable(tx, client_id, now):
        return False
    await raise_floor(tx, "client", client_id, now)
    await _note(tx, "client.disabled", client_id, now, by)
    return True


async def rotate_secret(
    tx: Tx, client_id: str, *, now: datetime, by: Hand = AT_THE_COMMAND_LINE
) -> str | None:
    """A new secret, shown once; `None` when the client has none. The old one is dead from the commit on.

    Raises what `Hand.touches` does.
    """
    client = await store.load_client(tx, client_id)
    if client is None:
        return None
    by.touches(client.metadata)
    secret = secrets.token_urlsafe(32)
    if not await client_store.replace_secret(tx, client_id, hashlib.sha256(secret.encode()).digest(), now):
        return None
    if by.is_a_program:
        await client_store.end_consents(tx, client_id, now)
    await _note(tx, "client.secret_rotated", client_id, now, by)
    return secret


class Invitation(NamedTuple):
    """An initial access token (RFC 7591 §3), shown once, and until when it serves."""

    token: str
    expires_at: datetime


MOST_USES, MOST_DAYS = 1000, 90
"""Of one invitation."""


async def invite(
    tx: Tx, *, profile: Profile, uses: int, days: int, now: datetime, by: Hand = AT_THE_COMMAND_LINE
) -> Invitation:
    """Let somebody register `uses` clients of this profile themselves, for `days` days. Raises `OnlyTheOperators`."""
    by.gives(profile)
    invitation = Invitation(secrets.token_urlsafe(32), now + timedelta(days=days))
    hashed = hashlib.sha256(invitation.token.encode()).digest()
    await client_store.add_initial_token(
        tx, hashed, profile=profile, uses=uses, expires_at=invitation.expires_at, now=now
    )
    await journal.record(
        tx,
        Act(action="client.invited", subject_kind="caisse", subject_id=tx.the_caisse, at=now, actor=by.actor,
            details={"profile": profile, "uses": uses, "days": days, "by": by.name}),
    )  # fmt: skip
    return invitation


async def open_registration(
    tx: Tx, choice: OpenRegistration, *, now: datetime, by: Hand = AT_THE_COMMAND_LINE
) -> None:
    """Let anybody register a client of this profile in the transaction's caisse, or nobody without a token.

    Raises `OnlyTheOperators`.
    """
    if choice != "closed":
        by.gives(choice)
    await caisses.set_open_registration(tx, tx.the_caisse, choice)
    await journal.record(
        tx,
        Act(action="caisse.registration_opened" if choice != "closed" else "caisse.registration_closed",
            subject_kind="caisse", subject_id=tx.the_caisse, at=now, actor=by.actor,
            details={"profile": choice, "by": by.name}),
    )  # fmt: skip


async def _note(tx: Tx, action: str, client_id: str, now: datetime, by: Hand) -> None:
    act = Act(
        action=action,
        subject_kind="client",
        subject_id=client_id,
        at=now,
        actor=by.actor,
        details={"by": by.name},
    )
    await journal.record(tx, act)


def _is_narrower(before: ClientMetadata, after: ClientMetadata) -> bool:
    """Whether a token of before may say more than one of after: a scope, or an audience."""
    lost = set(before.scope.split()) - set(after.scope.split()) or set(before.resources) - set(
        after.resources
    )
    return bool(lost)


def _hears_elsewhere(before: ClientMetadata, after: ClientMetadata) -> bool:
    """Whether somebody else may now hear its answers, who was not agreed to."""
    return not set(after.redirect_uris) <= set(before.redirect_uris)


def _proves_otherwise(before: ClientMetadata, after: ClientMetadata) -> bool:
    """Whether somebody else may now prove to be it, who was not agreed to."""
    return any(getattr(before, name) != getattr(after, name) for name in PROVES)


PROVES = ("token_endpoint_auth_method", "jwks", "jwks_uri")
"""The metadata by which a client proves who it is."""


def _hash(secret: str | None) -> bytes | None:
    return None if secret is None else hashlib.sha256(secret.encode()).digest()
