"""The cabinets of the demonstration and the people who work there."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.identifiers import new_id
from services.demonstration import store
from services.identity.cabinets import store as cabinets
from services.identity.cabinets.register import CollaboratorRole, add_collaborator, create_cabinet
from services.identity.sign_in import store as people
from services.identity.sign_in import totp
from services.identity.sign_in.factors import store as factors

PASSWORD = "trois-grues-sur-le-port"
"""Printed on the screen: these accounts exist in the demonstration alone."""


class Colleague(NamedTuple):
    full_name: str
    email: str
    role: CollaboratorRole


class DemonstrationCabinet(NamedTuple):
    siren: str
    name: str
    colleagues: tuple[Colleague, ...]


CABINETS = (
    DemonstrationCabinet(
        "910000017",
        "Cabinet Fontvieille & Associés",
        (
            Colleague("Solène Fontvieille", "solene@fontvieille.example", "owner"),
            Colleague("Karim Bensaïd", "karim@fontvieille.example", "member"),
        ),
    ),
    DemonstrationCabinet(
        "910000025",
        "L’Œil du Comptable — Société d’expertise comptable du Vaucluse",
        (Colleague("Anne-Lise Œillet d’Haumont", "anne-lise@oeil-du-comptable.example", "owner"),),
    ),
)


async def open_cabinet(tx: Tx, cabinet: DemonstrationCabinet, *, now: datetime) -> UUID:
    """The cabinet's id: made now, or by an earlier run that was cut short."""
    known = await cabinets.find_active(tx, cabinet.siren, None)
    if known is not None:
        return known.id
    return await create_cabinet(tx, cabinet.siren, cabinet.name, now=now, open_to_all=True)


async def hire(
    tx: Tx, keys: KeyEncryption, cabinet_id: UUID, colleague: Colleague, *, password_hash: str, now: datetime
) -> str:
    """Give the colleague an account with a password and a second factor; the secret of that factor.

    What the enrolment page does, without its page. Run again, it makes a new secret.
    """
    person_id = await store.person_of(tx, new_id(), colleague.email, colleague.full_name, now)
    await people.set_password(tx, person_id, password_hash, now=now)
    await add_collaborator(tx, cabinet_id, person_id, colleague.role, now=now)
    person = await people.find_person(tx, person_id=person_id)
    assert person is not None
    await factors.remove_totp(tx, person_id)
    enrolment = await totp.propose_totp(tx, keys, person, shown_to=person_id, issuer="Espace", now=now)
    await factors.confirm_totp(tx, person_id, person_id, step=0, now=now)
    return enrolment.secret
