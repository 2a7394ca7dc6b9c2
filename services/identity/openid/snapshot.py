"""Everything a decision reads, fetched beforehand in one statement. The kernel does no I/O."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from libs.common.access.dpop import Nonces
from services.identity.cabinets.machine_store import Machine
from services.identity.delegation.power import MandatePower
from services.identity.openid.bucket_names import Place
from services.identity.openid.clients import Client
from services.identity.openid.issuer import Issuer


class Granted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person granted, frozen at that moment; a refresh only narrows it."""

    scopes: tuple[str, ...]
    resources: tuple[str, ...]
    auth_time: int
    acr: str
    amr: tuple[str, ...]
    answered_acr: str = ""
    """The level that the ID token says, when the client required some; `acr` otherwise."""
    subject: str
    """The `sub` this client sees in ID tokens and UserInfo: public, or pairwise."""
    claims: dict[str, dict[str, Any]] = {}
    details: tuple[dict[str, Any], ...] = ()
    offline: bool = False


class Subject(Struct, frozen=True, kw_only=True):
    """The person behind a grant, and everything that can stop them, as of now."""

    person_id: UUID
    person_state: str
    email: str
    full_name: str
    locale: str
    session_id: UUID
    session_ends_at: datetime | None
    """When the session behind the grant is idle or old enough to end, exclusive; `None` when it has ended."""
    session_seen_at: datetime | None = None
    account_id: UUID | None = None
    account_state: str | None = None
    is_administrator: bool = False
    rights: frozenset[str] = frozenset()
    adherent_id: UUID | None = None
    adherent_number: str | None = None
    adherent_state: str | None = None
    siret: str | None = None
    legal_name: str | None = None
    address: tuple[str, ...] = ()


class Grant(Struct, frozen=True, kw_only=True):
    """An authorization grant with its subject as of now."""

    id: UUID
    client_id: str
    granted: Granted
    created_at: datetime
    expires_at: datetime
    revoked: bool
    outdated: bool = False
    """Given before the person's last change of password, or suspension."""
    subject: Subject

    def check_client(self, client: Client) -> bool:
        return client.client_id == self.client_id

    def get_scope(self) -> str:
        return " ".join(self.granted.scopes)


class Code(Struct, frozen=True, kw_only=True):
    """An authorization code, in the shape that authlib's grant asks for."""

    place: Place
    grant: Grant
    redirect_uri: str
    code_challenge: str | None
    dpop_jkt: str | None
    nonce: str | None
    expires_at: datetime
    consumed: bool

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.grant.get_scope()


class Refresh(Struct, frozen=True, kw_only=True):
    """A refresh token, in the shape that authlib's grant asks for."""

    place: Place
    grant: Grant
    dpop_jkt: str | None
    expires_at: datetime
    spent: bool

    def check_client(self, client: Client) -> bool:
        return self.grant.check_client(client)

    def get_scope(self) -> str:
        return self.grant.get_scope()


class Snapshot(Struct, frozen=True, kw_only=True):
    """One request's view of the world."""

    issuer: Issuer
    now: datetime
    ahead: timedelta = timedelta(0)
    """How far this process's clock runs ahead of the database's: tokens are dated by the earlier."""
    nonces: Nonces
    client: Client | None = None
    client_keys: tuple[dict[str, Any], ...] = ()
    code: Code | None = None
    refresh: Refresh | None = None
    grant: Grant | None = None
    """The grant behind the token presented."""
    presented: dict[str, Any] | None = None
    """The claims of the token presented (actor token, hint, access token) when it is a JWT of ours; dates unjudged."""
    presented_is_revoked: bool = False
    floor: datetime | None = None
    """Access tokens like the one presented are dead when issued until then: the highest floor that it stands under."""
    issued_to: Client | None = None
    """The client that the token presented was issued to."""
    machine: Machine | None = None
    """The cabinet's software that the client is: the one that calls, or the one the token was issued to."""
    power: MandatePower | None = None
    establishments: frozenset[str] = frozenset()
    """The firm's own, by public id, when the request may name some of them under `power`."""
