"""Power withdrawn is withdrawn at once: introspection says what the floors say, and no token slips by meanwhile."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from libs.common.access.access_token import TokenVerifier
from libs.common.access.revocations import Floors, Verdict
from libs.common.access.signatures import VerifyingKey, verifying_key
from libs.common.database.pool import Database
from libs.common.events.envelope import decode
from libs.common.events.identity import FloorRaised
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.cabinets.access_groups import change_group, create_group, take_from_group
from services.identity.cabinets.leave import remove_collaborator
from services.identity.delegation.parties import MayAnswerForCabinet
from services.identity.floors.raise_floor import raise_floor
from services.identity.openid import store as clients
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, update_client
from services.identity.sign_in.session import end_session
from tests.identity.delegation.parties import a_scene, an_active_mandate
from tests.openid.party import Issuer, Party, claims_of
from tests.openid.token_exchange.delegations import (
    CLIENT_CREDENTIALS,
    Delegation,
    by_a_machine,
    by_a_person,
    refused,
)

BOTH = "declaration.read declaration.submit"


class Grouped:
    """A mandate seen through one access group, in a collaborator's hand."""

    def __init__(self, it: Delegation, group: Any, by: MayAnswerForCabinet) -> None:
        self.it, self.group, self.by = it, group, by


async def grouped(issuer: Issuer, db: Database, *, actor: Any = by_a_person) -> Grouped:
    scene = await a_scene(db, issuer.clock(), caisse=issuer.caisse, open_to_all=False)
    mandate = await an_active_mandate(db, scene, issuer.clock(), machine=True)
    async with db.transaction(issuer.caisse) as tx:
        group = await create_group(
            tx, scene.cabinet, "Paie", people=[scene.member], clients=[scene.adherent_id], now=issuer.clock()
        )
    return Grouped(await actor(db, issuer, scene, mandate), group, scene.cabinet)


async def a_service(issuer: Issuer) -> Party:
    return await issuer.client(
        grant_types=(CLIENT_CREDENTIALS,), response_types=(), redirect_uris=(),
        introspects=(issuer.adherent, issuer.url),
    )  # fmt: skip


async def told(issuer: Issuer, token: str) -> dict[str, Any]:
    return (await (await a_service(issuer)).post("/introspect", {"token": token})).json()


async def token_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


@pytest.mark.parametrize("actor", [by_a_person, by_a_machine])
async def test_a_right_that_the_group_lost_is_gone_from_introspection(
    issuer: Issuer, identity_db: Database, actor: Any
) -> None:
    that = await grouped(issuer, identity_db, actor=actor)
    token = await token_of(await that.it.exchange(scope=BOTH))
    assert (await told(issuer, token))["active"]

    issuer.clock.forward(seconds=2)
    async with identity_db.transaction(issuer.caisse) as tx:
        await change_group(
            tx, that.by, that.group, scopes=["declaration.read"], ends_at=None, now=issuer.clock()
        )

    assert await told(issuer, token) == {"active": False}
    issuer.clock.forward(minutes=1)
    await that.it.again()
    anew = await that.it.exchange(scope=BOTH)
    assert anew.json()["scope"] == "declaration.read"
    assert (await told(issuer, anew.json()["access_token"]))["active"]


async def test_whoever_left_the_wide_group_keeps_the_narrow_one_s_power_only(
    issuer: Issuer, identity_db: Database
) -> None:
    that = await grouped(issuer, identity_db)
    scene = that.it.scene
    async with identity_db.transaction(issuer.caisse) as tx:
        await create_group(
            tx, that.by, "Lecture", people=[scene.member], clients=[scene.adherent_id],
            scopes=["declaration.read"], now=issuer.clock(),
        )  # fmt: skip
    token = await token_of(await that.it.exchange(scope="declaration.read"))
    issuer.clock.forward(seconds=2)
    async with identity_db.transaction(issuer.caisse) as tx:
        await take_from_group(tx, that.by, that.group, person_id=scene.member, now=issuer.clock())

    assert await told(issuer, token) == {"active": False}


async def test_a_right_that_the_client_lost_is_gone_from_every_token(
    issuer: Issuer, identity_db: Database
) -> None:
    that = await grouped(issuer, identity_db)
    own = that.it.actor or ""
    token = await token_of(await that.it.exchange(scope=BOTH))
    async with identity_db.transaction(issuer.caisse) as tx:
        await tx.execute(
            "UPDATE client SET metadata = metadata || jsonb_build_object('scope', 'declaration.read')"
            " WHERE client_id = $1",
            that.it.client.client_id,
        )

    assert await told(issuer, token) == {"active": False}
    assert await told(issuer, own) == {"active": False}


@pytest.mark.parametrize("kind", ["actor", "sid", "client", "group", "cabinet"])
async def test_introspection_judges_by_every_floor_that_the_services_judge_by(
    issuer: Issuer, identity_db: Database, kind: Any
) -> None:
    that = await grouped(issuer, identity_db)
    token = await token_of(await that.it.exchange(scope=BOTH))
    claims = claims_of(token)
    key = {
        "actor": claims["act"]["sub"],
        "sid": claims["sid"],
        "client": claims["client_id"],
        "group": claims["authorization_details"][0]["group"],
        "cabinet": claims["act"]["org"],
    }[kind]
    async with identity_db.transaction(issuer.caisse) as tx:
        await raise_floor(tx, kind, key, issuer.clock())

    assert await told(issuer, token) == {"active": False}
    assert await verdict(issuer, identity_db, token) is Verdict.REVOKED


class Keys:
    """The caisse's published keys, as a service would have fetched them."""

    def __init__(self, published: list[dict[str, Any]]) -> None:
        self._keys = {key["kid"]: verifying_key(key, key["alg"], kid=key["kid"]) for key in published}

    async def find(self, caisse: CaisseSlug, kid: str) -> VerifyingKey | None:
        return self._keys.get(kid)

    def edition(self, caisse: CaisseSlug) -> int:
        return 0


async def verdict(issuer: Issuer, db: Database, token: str) -> Verdict:
    """What a service says of the token that has heard every revocation committed."""
    async with issuer.http() as http:
        published = (await http.get(f"/{issuer.caisse}/jwks")).json()["keys"]
    verifier = TokenVerifier(
        Keys(published), issuer_base=issuer.settings.identity.base,
        audience_base=issuer.settings.adherent.base, clock=lambda: issuer.clock().timestamp(),
    )  # fmt: skip
    floors = Floors()
    async with db.transaction(issuer.caisse) as tx:
        rows = await tx.fetch(
            "SELECT subject, body FROM outbox WHERE subject LIKE '%authz%' ORDER BY position"
        )
    for row in rows:
        caisse, event = decode(row["subject"], row["body"])
        assert isinstance(event, FloorRaised)
        floors.raise_floor(caisse, event)
    return floors.judge(await verifier.verify(token, issuer.caisse))


async def withdraw(what: str, tx: Any, that: Grouped, now: datetime) -> None:
    member = that.it.scene.member
    if what == "collaborator removed":
        await remove_collaborator(tx, that.by, member, now=now)
    elif what == "group reduced":
        await take_from_group(tx, that.by, that.group, person_id=member, now=now)
    else:
        session = await tx.fetchval(
            "SELECT id FROM session WHERE person_id = $1 ORDER BY created_at DESC LIMIT 1", member
        )
        await end_session(tx, session, now=now)


WITHDRAWALS = ("collaborator removed", "group reduced", "session ended")


async def a_second_later(issuer: Issuer) -> None:
    """Of the database's clock, which dates floors."""
    await asyncio.sleep(1.1)
    issuer.clock.now = datetime.now(UTC)


@pytest.mark.parametrize("what", WITHDRAWALS)
@pytest.mark.parametrize("read", ["before the floor is dated", "after, and before the commit"])
async def test_a_token_decided_on_the_state_of_before_is_under_the_floor(
    issuer: Issuer, identity_db: Database, what: str, read: str
) -> None:
    """Whoever revokes has read the clock a second before the exchange did, or commits a second after it."""
    issuer.clock.now = datetime.now(UTC)
    that = await grouped(issuer, identity_db)
    async with identity_db.transaction(issuer.caisse) as tx:
        early = issuer.clock()
        if read.startswith("after"):
            await withdraw(what, tx, that, early)
        await a_second_later(issuer)
        token = await token_of(await that.it.exchange(scope="declaration.read"))
        if read.startswith("before"):
            await withdraw(what, tx, that, early)

    assert await verdict(issuer, identity_db, token) is Verdict.REVOKED
    assert await told(issuer, token) == {"active": False}
    issuer.clock.forward(seconds=2)
    refused(await that.it.exchange(scope="declaration.read"))


async def test_a_revocation_that_is_undone_dates_nothing(issuer: Issuer, identity_db: Database) -> None:
    issuer.clock.now = datetime.now(UTC)
    that = await grouped(issuer, identity_db)
    token = await token_of(await that.it.exchange(scope="declaration.read"))
    with pytest.raises(ZeroDivisionError):
        async with identity_db.transaction(issuer.caisse) as tx:
            await withdraw("group reduced", tx, that, issuer.clock())
            await a_second_later(issuer)
            raise ZeroDivisionError

    assert await verdict(issuer, identity_db, token) is not Verdict.REVOKED
    assert (await told(issuer, token))["active"]


async def test_another_s_revocation_makes_nobody_wait(issuer: Issuer, identity_db: Database) -> None:
    that, another = await grouped(issuer, identity_db), await grouped(issuer, identity_db)
    async with identity_db.transaction(issuer.caisse) as tx:
        await withdraw("group reduced", tx, another, issuer.clock())
        assert (await asyncio.wait_for(that.it.exchange(), 2)).status_code == 200


async def test_a_refresh_during_a_narrowing_is_under_the_floor_and_the_next_gets_what_is_left(
    issuer: Issuer, identity_db: Database
) -> None:
    """Nobody is signed out because their client's ceiling changed while they refreshed."""
    issuer.clock.now = datetime.now(UTC)
    client = await issuer.client()
    tokens = await client.tokens(await (await issuer.person()).sign_in())
    async with identity_db.transaction(issuer.caisse) as tx:
        found = await clients.load_client(tx, client.client_id)
        assert found is not None
        less = found.metadata.scope.replace(" declaration.submit", "")
        await update_client(
            tx,
            found,
            replace(found.metadata, scope=less),
            now=issuer.clock(),
            plain_http=True,
            by=AT_THE_COMMAND_LINE,
        )
        await a_second_later(issuer)
        during = await client.refresh(tokens["refresh_token"])
    assert await told(issuer, during.json()["access_token"]) == {"active": False}

    issuer.clock.forward(seconds=2)
    answer = await client.refresh(during.json().get("refresh_token", tokens["refresh_token"]))
    assert answer.status_code == 200, answer.text
    assert "declaration.submit" not in claims_of(answer.json()["access_token"])["scope"].split()


async def test_the_floor_says_who_and_until_when(issuer: Issuer, identity_db: Database) -> None:
    that = await grouped(issuer, identity_db)
    async with identity_db.transaction(issuer.caisse) as tx:
        await withdraw("collaborator removed", tx, that, issuer.clock())
        [row] = await tx.fetch(
            "SELECT not_before FROM revocation_floor WHERE name = $1",
            f"actor/{public_id('per', that.it.scene.member)}",
        )
    assert row["not_before"] >= issuer.clock()
