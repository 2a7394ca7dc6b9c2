"""SQL of the memory of DPoP proofs: `dpop_proof`, four slots that are emptied whole in turn."""

from libs.common.database.transaction import Tx

SLOTS = 4

REMEMBER_PROOF = (
    "INSERT INTO dpop_proof (slot, memory_key) VALUES ($1, $2) ON CONFLICT (slot, memory_key) DO NOTHING"
)


async def remember_proof(tx: Tx, slot: int, memory_key: bytes) -> bool:
    """Note a proof; False when it was seen before, in this process or any other."""
    return await tx.execute(REMEMBER_PROOF, slot, memory_key) == 1


async def empty_slot(tx: Tx, slot: int) -> None:
    """Forget a slot's proofs at once: a truncation leaves neither dead rows nor work for the vacuum."""
    await tx.execute("SELECT empty_dpop_slot($1)", slot)


async def slot_is_empty(tx: Tx, slot: int) -> bool:
    return not await tx.fetchval("SELECT EXISTS (SELECT FROM dpop_proof WHERE slot = $1)", slot)
