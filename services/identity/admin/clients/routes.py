"""The clients of a caisse, for its own programs: what `espace client` does. Right: `client.manage`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database.pool import Database
from libs.common.http.application import Clock
from libs.common.http.documented import IdempotencyKey, needs, refusals
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.admin.clients.manage_clients import (
    MetadataRefused,
    NoSecret,
    client_named,
    hand_of,
    judge,
    metadata_judged,
)
from services.identity.admin.once import once
from services.identity.caisses.caisse import Caisse
from services.identity.openid import client_store
from services.identity.openid.clients import CLIENT_ID, Client, ClientMetadata, Profile
from services.identity.openid.provider import Provider
from services.identity.openid.report import departures
from services.identity.openid.write_client import (
    MOST_DAYS,
    MOST_USES,
    BeyondOwnRights,
    ClientAlreadyThere,
    OnlyTheOperators,
    disable_client,
    invite,
    register_client,
    rotate_secret,
    update_client,
)

PROBLEMS.update(
    {
        MetadataRefused: Problem(422, "client-metadata-refused", "La description de ce client est refusée."),
        BeyondOwnRights: Problem(
            403, "beyond-own-rights", "Ce client aurait un droit que votre jeton ne donne pas."
        ),
        OnlyTheOperators: Problem(
            403, "operators-client", "Ce client ne se change qu'à la ligne de commande de l'installation."
        ),
        NoSecret: Problem(
            409, "no-client-secret", "Ce client n'a pas de secret : il change ses clés chez lui."
        ),
        ClientAlreadyThere: Problem(409, "client-already-there", "Un client porte déjà cet identifiant."),
    }
)

SCOPE = "client.manage"
ACCESS = Scopes(SCOPE, delegable=False)


class ClientWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client to register (RFC 7591 §2). Its identifier is drawn unless it is named here."""

    metadata: ClientMetadata
    client_id: Annotated[str, Meta(pattern=f"^{CLIENT_ID}$")] | None = None


class ClientShown(Struct, frozen=True, kw_only=True):
    """A client as registered; never its secret. Metadata that stand at their default are left out."""

    client_id: str
    state: Literal["active", "disabled"]
    metadata: ClientMetadata


class ClientAdded(ClientShown, frozen=True, kw_only=True):
    """With the secret, shown this once; only clients of the `compat` profile have one."""

    client_secret: str | None = None


class Clients(Struct, frozen=True):
    """By identifier."""

    clients: list[ClientShown]


class NewSecret(Struct, frozen=True):
    """Shown this once; the former secret is worth nothing any more."""

    client_id: str
    client_secret: str


class DepartureShown(Struct, frozen=True):
    """One expectation of RFC 9700 or FAPI 2.0 that the client does not meet, and how to mend it (French)."""

    clause: str
    what: str
    remedy: str


class Report(Struct, frozen=True):
    """Empty for a client without reproach."""

    client_id: str
    departures: list[DepartureShown]


class Reports(Struct, frozen=True):
    """One for each client of the caisse."""

    reports: list[Report]


class InvitationWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """How many clients of which profile somebody may register themselves, and for how many days."""

    profile: Profile = "standard"
    uses: Annotated[int, Meta(ge=1, le=MOST_USES)] = 1
    days: Annotated[int, Meta(ge=1, le=MOST_DAYS)] = 7


class InvitationShown(Struct, frozen=True, kw_only=True):
    """An initial access token (RFC 7591 §3), shown this once."""

    initial_access_token: str
    profile: Profile
    uses: int
    expires_at: datetime


@get("/admin/clients", access=ACCESS, security=needs(SCOPE), responses=refusals(), tags=["clients"])
async def list_clients(caisse: NamedDependency[Caisse], db: NamedDependency[Database]) -> Clients:
    """Every client of the caisse, disabled ones included."""
    async with db.transaction(caisse.slug) as tx:
        return Clients([_shown(one) for one in await client_store.every(tx)])


@post(
    "/admin/clients",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(409, 422, body=True),
    tags=["clients"],
)
async def add_client(
    data: JSONBody[ClientWanted],
    idempotency_key: IdempotencyKey,
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    keys: NamedDependency[KeyEncryption],
    provider: NamedDependency[Provider],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> ClientAdded:
    """Register a client."""
    now, by = clock(), hand_of(token)
    await judge(provider, caisse.slug, data.metadata, by)
    async with db.transaction(caisse.slug) as tx:

        async def register() -> ClientAdded:
            with metadata_judged():
                added = await register_client(
                    tx,
                    data.metadata,
                    now=now,
                    client_id=data.client_id,
                    plain_http=provider.settings.demonstration,
                    by=by,
                )
            return ClientAdded(
                client_id=added.client_id,
                state=added.state,
                metadata=added.metadata,
                client_secret=added.secret,
            )

        return await once(
            tx, keys, token.client_id, idempotency_key, "clients.add", data, register, ClientAdded, now=now
        )


@get(
    "/admin/clients/{client_id:str}",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(),
    tags=["clients"],
)
async def show_client(
    client_id: FromPath[str], caisse: NamedDependency[Caisse], db: NamedDependency[Database]
) -> ClientShown:
    """One client."""
    async with db.transaction(caisse.slug) as tx:
        return _shown(await client_named(tx, client_id))


@put(
    "/admin/clients/{client_id:str}",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(409, 422, body=True),
    tags=["clients"],
)
async def change_client(
    client_id: FromPath[str],
    data: JSONBody[ClientMetadata],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    provider: NamedDependency[Provider],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> ClientShown:
    """Replace the whole metadata, judged as a new client's is. A right it loses is dead within a second."""
    by = hand_of(token)
    await judge(provider, caisse.slug, data, by)
    async with db.transaction(caisse.slug) as tx:
        client = await client_named(tx, client_id)
        with metadata_judged():
            changed = await update_client(
                tx, client, data, now=clock(), plain_http=provider.settings.demonstration, by=by
            )
    return _shown(changed)


@post(
    "/admin/clients/{client_id:str}/disable",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(),
    status_code=200,
    tags=["clients"],
)
async def disable_one(
    client_id: FromPath[str],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> ClientShown:
    """It obtains nothing any more, and its tokens die within a second. Twice is once."""
    async with db.transaction(caisse.slug) as tx:
        await disable_client(tx, client_id, now=clock(), by=hand_of(token))
        return _shown(await client_named(tx, client_id))


@post(
    "/admin/clients/{client_id:str}/secret",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(409),
    status_code=200,
    tags=["clients"],
)
async def change_secret(
    client_id: FromPath[str],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> NewSecret:
    """A new secret; asked again after a lost answer, another one."""
    async with db.transaction(caisse.slug) as tx:
        await client_named(tx, client_id)
        secret = await rotate_secret(tx, client_id, now=clock(), by=hand_of(token))
    if secret is None:
        raise NoSecret
    return NewSecret(client_id, secret)


@get(
    "/admin/clients/{client_id:str}/report",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(),
    tags=["clients"],
)
async def report_client(
    client_id: FromPath[str], caisse: NamedDependency[Caisse], db: NamedDependency[Database]
) -> Report:
    """Where this client departs from RFC 9700 and FAPI 2.0."""
    async with db.transaction(caisse.slug) as tx:
        return _reported([await client_named(tx, client_id)])[0]


@get("/admin/reports", access=ACCESS, security=needs(SCOPE), responses=refusals(), tags=["clients"])
async def report_clients(caisse: NamedDependency[Caisse], db: NamedDependency[Database]) -> Reports:
    """Where each client departs from RFC 9700 and FAPI 2.0."""
    async with db.transaction(caisse.slug) as tx:
        return Reports(_reported(await client_store.every(tx)))


@post(
    "/admin/initial-access-tokens",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(409, body=True),
    tags=["clients"],
)
async def invite_a_client(
    data: JSONBody[InvitationWanted],
    idempotency_key: IdempotencyKey,
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    keys: NamedDependency[KeyEncryption],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> InvitationShown:
    """Let somebody register clients themselves (RFC 7591)."""
    now = clock()
    async with db.transaction(caisse.slug) as tx:

        async def draw() -> InvitationShown:
            drawn = await invite(
                tx, profile=data.profile, uses=data.uses, days=data.days, now=now, by=hand_of(token)
            )
            return InvitationShown(
                initial_access_token=drawn.token,
                profile=data.profile,
                uses=data.uses,
                expires_at=drawn.expires_at,
            )

        return await once(
            tx, keys, token.client_id, idempotency_key, "clients.invite", data, draw, InvitationShown, now=now
        )


def _shown(client: Client) -> ClientShown:
    return ClientShown(client_id=client.client_id, state=client.state, metadata=client.metadata)


def _reported(clients: Sequence[Client]) -> list[Report]:
    return [
        Report(one.client_id, [DepartureShown(*line) for line in departures(one.metadata)]) for one in clients
    ]


ROUTES = [
    list_clients,
    add_client,
    show_client,
    change_client,
    disable_one,
    change_secret,
    report_client,
    report_clients,
    invite_a_client,
]
