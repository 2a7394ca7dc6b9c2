"""The machines of cabinets, for a caisse's own programs: what `espace client machine` does. Right: `client.manage`."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import delete, get, post, put
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
from libs.common.refusals import NotFound
from libs.common.values.identifiers import InvalidPublicId, parse_public_id, public_id
from services.identity.admin.clients.manage_clients import hand_of, metadata_judged
from services.identity.admin.once import once
from services.identity.cabinets import machine_store, machines
from services.identity.cabinets.machine_store import Registered
from services.identity.cabinets.machines import (
    LastKey,
    MachineAlreadyThere,
    NotASponsor,
    keys_of,
    metadata_of,
)
from services.identity.caisses.caisse import Caisse
from services.identity.openid.audiences import of_services
from services.identity.openid.provider import Provider
from services.identity.openid.write_client import ItIsAMachine

PROBLEMS.update(
    {
        NotASponsor: Problem(
            422, "not-a-sponsor", "Le répondant doit travailler au cabinet et ne pas être suspendu."
        ),
        MachineAlreadyThere: Problem(
            409, "machine-already-there", "Ce cabinet a déjà un logiciel de ce nom."
        ),
        LastKey: Problem(409, "last-key", "C'est la dernière clé : ajoutez d'abord la suivante."),
        ItIsAMachine: Problem(
            409, "client-is-a-machine", "Ce client est le logiciel d'un cabinet : il a ses propres commandes."
        ),
    }
)

SCOPE = "client.manage"
ACCESS = Scopes(SCOPE, delegable=False)

Right = Annotated[str, Meta(pattern="^[a-z]+\\.[a-z]+$", max_length=64)]
Rights = Annotated[list[Right], Meta(min_length=1, max_length=40)]


class Jwks(Struct, frozen=True, forbid_unknown_fields=True):
    """Public keys (RFC 7517 §5), each with a `kid` of its own."""

    keys: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=20)]


class MachineWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cabinet's software: of which cabinet (`cab_…`), who answers for it (`per_…`, one of its people), the most
    it may ever do, and its public keys."""

    cabinet: Annotated[str, Meta(pattern="^cab_[0-9A-Z]{26}$")]
    name: Annotated[str, Meta(pattern="^[^\\x00-\\x1f]{1,100}$")]
    sponsor: Annotated[str, Meta(pattern="^per_[0-9A-Z]{26}$")]
    scopes: Rights
    jwks: Jwks


class SponsorWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the cabinet's people, `per_…`."""

    sponsor: Annotated[str, Meta(pattern="^per_[0-9A-Z]{26}$")]


class CeilingWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """The most that the machine may ever do."""

    scopes: Rights


class KeyWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """One public key (JWK) with a `kid` that no other key of the machine has."""

    key: dict[str, Any]


class MachineShown(Struct, frozen=True, kw_only=True):
    """A machine. `id` is its name in tokens and in the journal, `client_id` the one it authenticates with.

    `sponsor_may_answer` is false once the sponsor has left or is suspended: the machine then obtains nothing.
    """

    id: str
    client_id: str
    state: Literal["active", "disabled"]
    name: str
    cabinet: str
    cabinet_name: str
    cabinet_siren: str
    sponsor: str
    sponsor_name: str
    sponsor_may_answer: bool
    scopes: list[str]
    jwks: Jwks
    created_at: datetime
    last_used_at: datetime | None


class Machines(Struct, frozen=True):
    """By cabinet, then by name."""

    machines: list[MachineShown]


@get("/admin/machine-clients", access=ACCESS, security=needs(SCOPE), responses=refusals(), tags=["machines"])
async def list_machines(caisse: NamedDependency[Caisse], db: NamedDependency[Database]) -> Machines:
    """Every machine of the caisse, disabled ones included."""
    async with db.transaction(caisse.slug) as tx:
        return Machines([_shown(one) for one in await machine_store.every(tx)])


@post(
    "/admin/machine-clients",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(409, 422, body=True),
    tags=["machines"],
)
async def add_machine(
    data: JSONBody[MachineWanted],
    idempotency_key: IdempotencyKey,
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    keys: NamedDependency[KeyEncryption],
    provider: NamedDependency[Provider],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> MachineShown:
    """Register a cabinet's software."""
    now = clock()
    issuer = await provider.issuer(caisse.slug)
    async with db.transaction(caisse.slug) as tx:

        async def register() -> MachineShown:
            with_rules = machines.register_machine(
                tx,
                _named("cab", data.cabinet),
                data.name,
                sponsor_id=_named("per", data.sponsor),
                scopes=data.scopes,
                keys=data.jwks.keys,
                resources=of_services(issuer),
                now=now,
                by=hand_of(token),
            )
            with metadata_judged():
                return _shown(await with_rules)

        return await once(
            tx, keys, token.client_id, idempotency_key, "machines.add", data, register, MachineShown, now=now
        )


@get(
    "/admin/machine-clients/{machine:str}",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(),
    tags=["machines"],
)
async def show_machine(
    machine: FromPath[str], caisse: NamedDependency[Caisse], db: NamedDependency[Database]
) -> MachineShown:
    """One machine."""
    async with db.transaction(caisse.slug) as tx:
        return _shown(await machines.find_machine(tx, _named("mch", machine)))


@put(
    "/admin/machine-clients/{machine:str}/sponsor",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(422, body=True),
    tags=["machines"],
)
async def change_sponsor(
    machine: FromPath[str],
    data: JSONBody[SponsorWanted],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> MachineShown:
    """Another of the cabinet's people answers for it; tokens cut from the former one's power die. Twice is once."""
    sponsor_id = _named("per", data.sponsor)
    async with db.transaction(caisse.slug) as tx:
        return _shown(
            await machines.change_sponsor(
                tx, _named("mch", machine), sponsor_id, now=clock(), by=hand_of(token)
            )
        )


@put(
    "/admin/machine-clients/{machine:str}/ceiling",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(422, body=True),
    tags=["machines"],
)
async def change_ceiling(
    machine: FromPath[str],
    data: JSONBody[CeilingWanted],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> MachineShown:
    """The most it may ever do. A right it loses is dead within a second."""
    with metadata_judged():
        async with db.transaction(caisse.slug) as tx:
            return _shown(
                await machines.change_ceiling(
                    tx, _named("mch", machine), data.scopes, now=clock(), by=hand_of(token)
                )
            )


@post(
    "/admin/machine-clients/{machine:str}/keys",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(422, body=True),
    status_code=200,
    tags=["machines"],
)
async def add_key(
    machine: FromPath[str],
    data: JSONBody[KeyWanted],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> MachineShown:
    """One more public key, good beside the others. The same key twice is once."""
    with metadata_judged():
        async with db.transaction(caisse.slug) as tx:
            return _shown(
                await machines.add_key(tx, _named("mch", machine), data.key, now=clock(), by=hand_of(token))
            )


@delete(
    "/admin/machine-clients/{machine:str}/keys/{kid:str}",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(409),
    status_code=200,
    tags=["machines"],
)
async def retire_key(
    machine: FromPath[str],
    kid: FromPath[str],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> MachineShown:
    """It proves nothing any more, and the machine's tokens die: perhaps it was stolen. Never the last one."""
    async with db.transaction(caisse.slug) as tx:
        return _shown(
            await machines.retire_key(tx, _named("mch", machine), kid, now=clock(), by=hand_of(token))
        )


@post(
    "/admin/machine-clients/{machine:str}/disable",
    access=ACCESS,
    security=needs(SCOPE),
    responses=refusals(),
    status_code=200,
    tags=["machines"],
)
async def disable_machine(
    machine: FromPath[str],
    caisse: NamedDependency[Caisse],
    db: NamedDependency[Database],
    token: NamedDependency[AccessToken],
    clock: NamedDependency[Clock],
) -> MachineShown:
    """For good: it obtains nothing more, and its tokens die within a second. Twice is once."""
    async with db.transaction(caisse.slug) as tx:
        return _shown(
            await machines.disable_machine(tx, _named("mch", machine), now=clock(), by=hand_of(token))
        )


def _named(prefix: str, written: str) -> UUID:
    """What is not even an identifier is unknown."""
    try:
        return parse_public_id(prefix, written)
    except InvalidPublicId as error:
        raise NotFound from error


def _shown(machine: Registered) -> MachineShown:
    return MachineShown(
        id=public_id("mch", machine.id),
        client_id=machine.client_id,
        state=machine.state,
        name=machine.name,
        cabinet=public_id("cab", machine.cabinet_id),
        cabinet_name=machine.cabinet_name,
        cabinet_siren=machine.cabinet_siren,
        sponsor=public_id("per", machine.sponsor_id),
        sponsor_name=machine.sponsor_name,
        sponsor_may_answer=machine.sponsor_may_answer,
        scopes=metadata_of(machine).scope.split(),
        jwks=Jwks(keys_of(machine)),
        created_at=machine.created_at,
        last_used_at=machine.last_used_at,
    )


ROUTES = [
    list_machines,
    add_machine,
    show_machine,
    change_sponsor,
    change_ceiling,
    add_key,
    retire_key,
    disable_machine,
]
