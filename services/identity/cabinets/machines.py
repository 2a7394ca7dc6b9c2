"""A cabinet's software enters a caisse, changes its keys or its sponsor, and leaves.

A machine is a client of the `fapi` profile that does one thing: exchange mandates
for delegated tokens. One of the cabinet's people, its sponsor, answers for it: it
can never do more than they can, and does nothing once they are gone.
"""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from libs.common.access.rights import DELEGABLE, PAYMENT_ORDER
from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError, NotFound
from libs.common.values.identifiers import new_id, public_id
from libs.common.values.one_line import is_one_line
from services.identity.cabinets import machine_store as store
from services.identity.cabinets.machine_store import Registered
from services.identity.delegation import store as mandates
from services.identity.delegation.offer import CabinetNotEligible
from services.identity.floors.raise_floor import raise_floor
from services.identity.openid.client_keys import MOST_KEYS, Jwk, kept_keys, verifies_with
from services.identity.openid.client_rules import InvalidClientMetadata, check_metadata
from services.identity.openid.clients import TOKEN_EXCHANGE, ClientMetadata
from services.identity.openid.foreign_jwt import PROFILE_ALGORITHMS
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, Hand, disable_client, register_client

OPEN_TO_MACHINES = DELEGABLE - {PAYMENT_ORDER}
"""The firm that lets the cabinet's software act is told: never to order a payment."""

LONGEST_NAME = 100
"""Characters: the firms read it."""

KID = r"[A-Za-z0-9_-][A-Za-z0-9._~:@=+-]{0,199}"
"""What an address can name: a key is retired by its `kid`, and one that was stolen in a hurry."""

_metadata = msgspec.json.Decoder(ClientMetadata)


class NotASponsor(DomainError):
    """A sponsor works for the machine's cabinet and is not suspended."""


class MachineAlreadyThere(DomainError):
    """The cabinet has a machine of this name in this caisse; nothing was changed."""


class LastKey(DomainError):
    """A machine without a key could prove nothing: add the next one first, or disable it."""


def metadata_of(machine: Registered) -> ClientMetadata:
    return _metadata.decode(machine.metadata)


def keys_of(machine: Registered) -> list[Jwk]:
    keys: list[Jwk] = (metadata_of(machine).jwks or {}).get("keys", [])
    return keys


def ceiling(scopes: Collection[str]) -> str:
    """The most a machine may ever hold. Raises `InvalidClientMetadata`."""
    if not scopes or not frozenset(scopes) <= OPEN_TO_MACHINES:
        raise InvalidClientMetadata("The ceiling names rights that a mandate gives, payment.order apart.")
    return " ".join(sorted(frozenset(scopes)))


def key_set(keys: Sequence[Jwk]) -> dict[str, Any]:
    """Public keys that the `fapi` profile verifies with, each by a `kid` of its own. Raises `InvalidClientMetadata`."""
    kids = [key.get("kid") for key in keys]
    if not all(isinstance(kid, str) and re.fullmatch(KID, kid) for kid in kids):
        raise InvalidClientMetadata("A kid is 1 to 200 letters, digits and signs among . _ ~ : @ = + -.")
    if len(set(kids)) < len(kids):
        raise InvalidClientMetadata("Each key has a kid of its own.")
    if not all(verifies_with(key, PROFILE_ALGORITHMS["fapi"]) for key in keys):
        raise InvalidClientMetadata("A key is not one that the fapi profile verifies with.")
    if len(keys) > MOST_KEYS:
        raise InvalidClientMetadata("A machine has twenty keys at most.")
    return {"keys": list(kept_keys(keys))}


async def register_machine(
    tx: Tx,
    cabinet_id: UUID,
    name: str,
    *,
    sponsor_id: UUID,
    scopes: Collection[str],
    keys: Sequence[Jwk],
    resources: Sequence[str],
    now: datetime,
    by: Hand = AT_THE_COMMAND_LINE,
) -> Registered:
    """Add a machine of this cabinet to the transaction's caisse.

    `resources` are the audiences it may ask tokens for. Raises `CabinetNotEligible`, `NotASponsor`,
    `InvalidClientMetadata`, `MachineAlreadyThere`.
    """
    if not is_one_line(name, longest=LONGEST_NAME):
        raise InvalidClientMetadata("The name is one line of 1 to 100 characters.")
    if not await mandates.may_be_given_power(tx, cabinet_id):
        raise CabinetNotEligible
    if not await store.may_sponsor(tx, cabinet_id, sponsor_id):
        raise NotASponsor
    metadata = ClientMetadata(
        client_name=name,
        profile="fapi",
        grant_types=(TOKEN_EXCHANGE,),
        response_types=(),
        scope=ceiling(scopes),
        resources=tuple(resources),
        jwks=key_set(keys),
        dpop_bound_access_tokens=True,
    )
    client = await register_client(tx, metadata, now=now, by=by)
    machine_id = new_id()
    if not await store.add(tx, machine_id, client.client_id, cabinet_id, name, sponsor_id, now):
        raise MachineAlreadyThere
    machine = await find_machine(tx, machine_id)
    await _note(tx, machine, "machine.registered", now, by, scopes=sorted(scopes))
    return machine


async def find_machine(tx: Tx, machine_id: UUID) -> Registered:
    """Raises `NotFound` alike for an unknown machine and for another caisse's."""
    machine = await store.find(tx, machine_id)
    if machine is None:
        raise NotFound
    return machine


async def change_sponsor(
    tx: Tx, machine_id: UUID, sponsor_id: UUID, *, now: datetime, by: Hand = AT_THE_COMMAND_LINE
) -> Registered:
    """Another of the cabinet's people answers from now on; tokens cut from the former one's power die.

    Twice is once. Raises `NotFound`, `NotASponsor`.
    """
    machine = await _hold(tx, machine_id)
    if not await store.may_sponsor(tx, machine.cabinet_id, sponsor_id):
        raise NotASponsor
    if await store.change_sponsor(tx, machine_id, sponsor_id, now):
        machine = await find_machine(tx, machine_id)
        await raise_floor(tx, "actor", public_id("mch", machine_id), now)
        await _note(tx, machine, "machine.sponsor_changed", now, by)
    return machine


async def change_ceiling(
    tx: Tx, machine_id: UUID, scopes: Collection[str], *, now: datetime, by: Hand = AT_THE_COMMAND_LINE
) -> Registered:
    """A right it loses is dead within a second. Raises `NotFound`, `InvalidClientMetadata`."""
    machine = await _hold(tx, machine_id)
    before = metadata_of(machine)
    if frozenset(before.scope.split()) == frozenset(scopes):
        return machine
    await _write(tx, machine, replace(before, scope=ceiling(scopes)), now)
    if not frozenset(before.scope.split()) <= frozenset(scopes):
        await _kill_tokens(tx, machine_id, now)
    await _note(tx, machine, "machine.ceiling_changed", now, by, scopes=sorted(scopes))
    return await find_machine(tx, machine_id)


async def add_key(
    tx: Tx, machine_id: UUID, key: Jwk, *, now: datetime, by: Hand = AT_THE_COMMAND_LINE
) -> Registered:
    """One more public key, good beside the others until these are retired. The very same one twice is once.

    Raises `NotFound`, `InvalidClientMetadata` (another key has its `kid`).
    """
    machine = await _hold(tx, machine_id)
    known = key_set(keys_of(machine))["keys"]
    [new] = key_set([key])["keys"]
    if new in known:
        return machine
    jwks = key_set([*known, new])
    await _write(tx, machine, replace(metadata_of(machine), jwks=jwks), now)
    await _note(tx, machine, "machine.key_added", now, by, kid=key["kid"])
    return await find_machine(tx, machine_id)


async def retire_key(
    tx: Tx, machine_id: UUID, kid: str, *, now: datetime, by: Hand = AT_THE_COMMAND_LINE
) -> Registered:
    """It proves nothing from the commit on, and the tokens of the machine die: perhaps it was stolen.

    Raises `NotFound` (no such key either), `LastKey`.
    """
    machine = await _hold(tx, machine_id)
    kept = [key for key in keys_of(machine) if key["kid"] != kid]
    if len(kept) == len(keys_of(machine)):
        raise NotFound
    if not kept:
        raise LastKey
    await _write(tx, machine, replace(metadata_of(machine), jwks=key_set(kept)), now)
    await _kill_tokens(tx, machine_id, now)
    await _note(tx, machine, "machine.key_retired", now, by, kid=kid)
    return await find_machine(tx, machine_id)


async def disable_machine(
    tx: Tx, machine_id: UUID, *, now: datetime, by: Hand = AT_THE_COMMAND_LINE
) -> Registered:
    """For good: it obtains nothing more, and its tokens die everywhere. Twice is once. Raises `NotFound`."""
    machine = await _hold(tx, machine_id)
    await disable_client(tx, machine.client_id, now=now, by=by)
    return await find_machine(tx, machine_id)


async def _hold(tx: Tx, machine_id: UUID) -> Registered:
    machine = await store.hold(tx, machine_id)
    if machine is None:
        raise NotFound
    return machine


async def _write(tx: Tx, machine: Registered, metadata: ClientMetadata, now: datetime) -> None:
    metadata = check_metadata(metadata)
    await store.replace_metadata(tx, machine.id, msgspec.json.encode(metadata).decode(), now)


async def _kill_tokens(tx: Tx, machine_id: UUID, now: datetime) -> None:
    await store.kill_tokens(tx, machine_id, now)
    await raise_floor(tx, "actor", public_id("mch", machine_id), now)


async def _note(
    tx: Tx, machine: Registered, action: str, now: datetime, by: Hand, **told: str | list[str]
) -> None:
    """Each line names the machine and its sponsor: who answered for it that day."""
    act = Act(
        action=action,
        subject_kind="machine",
        subject_id=public_id("mch", machine.id),
        at=now,
        actor=Actor(cabinet_id=machine.cabinet_id, token_jti=by.token_jti),
        details={
            "by": by.name,
            "client_id": machine.client_id,
            "name": machine.name,
            "sponsor": public_id("per", machine.sponsor_id),
            **told,
        },
    )
    await journal.record(tx, act)
