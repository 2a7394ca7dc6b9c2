"""A new caisse: a row, its keys, its calendar; no deployment and no DDL."""

from libs.common.database import journal, outbox
from libs.common.database.transaction import Tx
from libs.common.events.identity import CaisseAdded
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.identifiers import new_id
from services.identity.caisses import store
from services.identity.caisses.caisse import Caisse
from services.identity.signing_keys.rotation import create_keys


class CaisseAlreadyThere(Exception):
    """The slug is taken; nothing was changed. Told to an operator, at the command line only."""


async def add_caisse(tx: Tx, keys: KeyEncryption, caisse: Caisse) -> None:
    """Open a tenant, in a transaction of that tenant (`db.transaction(caisse.slug)`).

    Its issuer answers from the commit on. Records `CaisseAdded`. Raises `CaisseAlreadyThere`.
    """
    if not await store.add(tx, caisse):
        raise CaisseAlreadyThere(caisse.slug)
    await create_keys(tx, keys, caisse.created_at)
    await journal.record(
        tx,
        journal.Act(
            action="caisse.added", subject_kind="caisse", subject_id=caisse.slug, at=caisse.created_at
        ),
    )
    await outbox.record(
        tx,
        CaisseAdded(
            event_id=new_id(),
            at=caisse.created_at,
            name=caisse.name,
            siren=caisse.siren,
            address=caisse.address,
            phone=caisse.phone,
            email=caisse.email,
            website=caisse.website,
            colour=caisse.settings.colour,
        ),
    )
