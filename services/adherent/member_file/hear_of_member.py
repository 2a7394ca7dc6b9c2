"""What identity tells of a member becomes this service's own file."""

from libs.common.database.transaction import Tx
from libs.common.events.identity import AdherentImported
from services.adherent.member_file import store


async def hear_of_member(tx: Tx, told: AdherentImported) -> None:
    """Keep the newest file of a member, whatever the order in which facts arrive.

    The fact carries the whole file and its version: an older or equal one changes
    nothing, so late, repeated and reordered facts all end in the same rows.
    """
    if await store.write_newer(tx, told, told.at):
        await store.drop_other_establishments(
            tx, told.adherent_id, [site.establishment_id for site in told.establishments]
        )
        await store.write_establishments(tx, told.adherent_id, told.establishments)
