"""What an activation changes, and how one is brought to its last step."""

import httpx

from libs.common.database.pool import Database
from tests.identity.sign_in.visitors import CAISSE, Firm, Post, Visitor, link_in, to_the_mailbox

BASE = f"/{CAISSE}/first-connection"


async def mailed_link(visitor: Visitor, firm: Firm, email: str, post: Post) -> str:
    await to_the_mailbox(visitor, firm, email)
    return link_in(await post.newest(email), "link=").partition("link=")[2]


async def press(visitor: Visitor, link: str, **more: str) -> httpx.Response:
    return await visitor.post(f"{BASE}/confirm", link=link, **more)


async def accounts_of(db: Database, firm: Firm) -> list[str]:
    async with db.transaction(CAISSE) as tx:
        rows = await tx.fetch("SELECT state FROM account WHERE adherent_id = $1", firm.adherent_id)
    return [row[0] for row in rows]


async def state_of(db: Database, firm: Firm) -> dict[str, object]:
    """Everything an activation changes, as one may see it afterwards."""
    async with db.transaction(CAISSE) as tx:
        pair = await tx.fetchval("SELECT state FROM letter_pair WHERE id = $1", firm.pair_id)
        journal = await tx.fetchval(
            "SELECT count(*) FROM journal WHERE adherent_id = $1 AND action = 'account.activated'",
            firm.adherent_id,
        )
        facts = await tx.fetchval(
            "SELECT count(*) FROM outbox WHERE subject LIKE '%account.activated.v1'"
            " AND convert_from(body, 'UTF8') LIKE '%' || $1 || '%'",
            str(firm.adherent_id),
        )
    return {"accounts": await accounts_of(db, firm), "pair": pair, "journal": journal, "facts": facts}


BEFORE = {"accounts": [], "pair": "mailed", "journal": 0, "facts": 0}
AFTER = {"accounts": ["active"], "pair": "redeemed", "journal": 1, "facts": 1}
