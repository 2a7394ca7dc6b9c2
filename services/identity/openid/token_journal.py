"""What the token endpoint has the journal say: whom it refused and why, and who may administer the caisse."""

from uuid import UUID

from authlib.oauth2.rfc6749.errors import OAuth2Error

from libs.common.database.journal import Act, Actor
from libs.common.values.identifiers import public_id
from services.identity.cabinets.machine_store import Machine
from services.identity.openid.caller import Caller
from services.identity.openid.effects import Note, NoteOnce, RevokeGrant
from services.identity.openid.refusals import SlowDown, UseDpopNonce
from services.identity.openid.snapshot import Grant

UNTOLD = (UseDpopNonce, SlowDown)
"""Not refusals of anything: come back with the nonce, or in a second."""

TOLD = (Note, NoteOnce, RevokeGrant)
"""Effects that say in the journal, more precisely, what a refusal would."""


def note_refusal(caller: Caller, reason: str, grant: Grant) -> None:
    """The precise reason goes to the journal; the caller gets the public one."""
    act = Act(
        action="grant.refused",
        subject_kind="person",
        subject_id=public_id("per", grant.subject.person_id),
        at=caller.snapshot.now,
        adherent_id=grant.subject.adherent_id,
        details={"reason": reason, "client_id": grant.client_id},
    )
    caller.effects.append(Note(act))


def note_machine_refusal(caller: Caller, reason: str, machine: Machine) -> None:
    """As `note_refusal`: the journal names the machine and its sponsor."""
    act = Act(
        action="grant.refused",
        subject_kind="machine",
        subject_id=public_id("mch", machine.id),
        at=caller.snapshot.now,
        actor=Actor(cabinet_id=machine.cabinet_id),
        details={
            "reason": reason,
            "client_id": machine.client_id,
            "sponsor": public_id("per", machine.sponsor_id),
        },
    )
    caller.effects.append(Note(act))


def note_administration(caller: Caller, scopes: frozenset[str]) -> None:
    """A program may now administer the caisse."""
    act = Act(
        action="token.administration",
        subject_kind="client",
        subject_id=caller.client.client_id,
        at=caller.snapshot.now,
        details={"scopes": sorted(scopes)},
    )
    caller.effects.append(Note(act))


def note_token_refused(caller: Caller, error: OAuth2Error) -> None:
    """openid.md §2, audit events: a line a minute for this actor and error, unless a more precise one is there."""
    if (
        not caller.is_proven
        or isinstance(error, UNTOLD)
        or any(isinstance(one, TOLD) for one in caller.effects)
    ):
        return
    client_id, machine, person_id = caller.client.client_id, caller.snapshot.machine, _person_named(caller)
    grant_type = caller.asked.grant_type
    named = {} if machine is None else {"sponsor": public_id("per", machine.sponsor_id)}
    act = Act(
        action="token.refused",
        subject_kind="client" if machine is None else "machine",
        subject_id=client_id if machine is None else public_id("mch", machine.id),
        at=caller.snapshot.now,
        actor=Actor(person_id=person_id, cabinet_id=None if machine is None else machine.cabinet_id),
        details={"client_id": client_id, "error": error.error or "", "grant_type": grant_type, **named},
    )
    caller.effects.append(NoteOnce(act, f"{grant_type}/{error.error}/{person_id}"))


def _person_named(caller: Caller) -> UUID | None:
    """Whose grant this client presented: of another client's, it proves nothing of who acts."""
    snapshot = caller.snapshot
    presented = (
        snapshot.grant,
        snapshot.refresh and snapshot.refresh.grant,
        snapshot.code and snapshot.code.grant,
    )
    for grant in presented:
        if grant is not None and grant.check_client(caller.client):
            return grant.subject.person_id
    return None
