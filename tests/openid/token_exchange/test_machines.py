"""A cabinet's software exchanges a mandate by itself: what it gets, what it never gets, who answers for it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from libs.common.access.access_token import TokenVerifier
from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import public_id
from services.identity.cabinets.machine_store import Registered
from services.identity.cabinets.machines import (
    LastKey,
    add_key,
    change_ceiling,
    change_sponsor,
    disable_machine,
    find_machine,
    retire_key,
)
from services.identity.openid.clients import CLIENT_CREDENTIALS
from services.identity.openid.token_exchange import ACCESS_TOKEN, PER_CABINET
from services.identity.sign_in import store as people
from services.identity.sign_in.throttle import bucket_of
from tests.identity.delegation.parties import HERE, a_scene, an_active_mandate
from tests.openid.party import Issuer, Party, claims_of
from tests.openid.token_exchange.delegations import (
    Delegation,
    a_machine,
    by_a_machine,
    by_a_person,
    delegated,
    refused,
)


@pytest.fixture
async def delegation(issuer: Issuer, identity_db: Database) -> Delegation:
    return await delegated(identity_db, issuer, "machine")


def machine_of(delegation: Delegation) -> Registered:
    assert delegation.machine is not None
    return delegation.machine


async def a_resource_server(issuer: Issuer) -> Party:
    return await issuer.client(
        grant_types=(CLIENT_CREDENTIALS,), response_types=(), redirect_uris=(), introspects=(issuer.adherent,)
    )


async def last_act(db: Database, action: str) -> tuple[str | None, dict[str, object]]:
    """The person and the details of the newest line of this action."""
    async with db.transaction(HERE) as tx:
        row = await tx.fetchrow(
            "SELECT person_id::text, details::text FROM journal WHERE action = $1 ORDER BY id DESC LIMIT 1",
            action,
        )
    assert row is not None
    return row[0], msgspec.json.decode(row[1])


async def floors_of(db: Database, key: str) -> int:
    async with db.transaction(HERE) as tx:
        return await tx.fetchval(
            "SELECT count(*) FROM outbox WHERE subject LIKE '%floor_raised%' "
            "AND position($1::text IN convert_from(body, 'UTF8')) > 0",
            f'"key":"{key}"',
        )


async def test_the_token_names_firm_machine_sponsor_and_cabinet(
    delegation: Delegation, identity_db: Database
) -> None:
    answer = await delegation.exchange(scope="declaration.read declaration.submit")
    assert answer.status_code == 200, answer.text
    claims, scene = claims_of(answer.json()["access_token"]), delegation.scene

    assert claims["sub"] == public_id("adh", scene.adherent_id)
    assert claims["act"] == {
        "sub": public_id("mch", machine_of(delegation).id),
        "iss": delegation.issuer.url,
        "sub_profile": "service",
        "sponsor": public_id("per", scene.member),
        "org": public_id("cab", scene.cabinet_id),
        "org_siren": claims["act"]["org_siren"],
    }
    assert claims["client_id"] == machine_of(delegation).client_id
    assert claims["scope"] == "declaration.read declaration.submit"
    # Nobody signed in: no API takes this token for a second factor, and no session ends it.
    assert not {"acr", "amr", "auth_time", "sid"} & claims.keys()


async def test_the_resource_servers_believe_it_and_know_who_answers(
    delegation: Delegation, issuer: Issuer
) -> None:
    token = (await delegation.exchange()).json()["access_token"]
    believed = await verified(issuer, token)

    assert believed.actor is not None and believed.is_delegated and not believed.is_service
    assert believed.person_id is None
    assert believed.actor.machine_id == machine_of(delegation).id
    assert believed.actor.sponsor_id == delegation.scene.member


async def verified(issuer: Issuer, token: str):
    from libs.common.access.signatures import VerifyingKey, verifying_key

    keys = (await published(issuer))["keys"]

    class Published:
        async def find(self, caisse: str, kid: str) -> VerifyingKey | None:
            return next((verifying_key(key, key["alg"]) for key in keys if key["kid"] == kid), None)

        def edition(self, caisse: str) -> int:
            return 0

    verifier = TokenVerifier(
        Published(),
        issuer_base=issuer.settings.identity.base,
        audience_base=issuer.settings.adherent.base,
        clock=lambda: issuer.clock().timestamp(),
    )
    return await verifier.verify(token, issuer.caisse)


async def published(issuer: Issuer) -> dict[str, list[dict[str, str]]]:
    async with issuer.http() as http:
        return (await http.get((await issuer.told())["jwks_uri"])).json()


async def test_the_journal_names_the_machine_and_its_sponsor_and_no_person_as_the_hand(
    delegation: Delegation, identity_db: Database
) -> None:
    await delegation.exchange()
    person, details = await last_act(identity_db, "token.delegated")

    assert person is None
    assert details["machine"] == public_id("mch", machine_of(delegation).id)
    assert details["sponsor"] == public_id("per", delegation.scene.member)


async def test_case_23_a_mandate_for_persons_only_refuses_the_machine(
    issuer: Issuer, identity_db: Database
) -> None:
    scene = await a_scene(identity_db, issuer.clock(), caisse=issuer.caisse)
    mandate = await an_active_mandate(identity_db, scene, issuer.clock(), machine=False)
    by_machine = await by_a_machine(identity_db, issuer, scene, mandate)
    by_person = await by_a_person(identity_db, issuer, scene, mandate)

    refused(await by_machine.exchange())
    assert (await by_person.exchange()).status_code == 200


async def test_case_24_a_machine_never_orders_a_payment(issuer: Issuer, identity_db: Database) -> None:
    """Neither by its ceiling, which cannot name the right, nor by a ceiling written behind our back."""
    scene = await a_scene(identity_db, issuer.clock(), caisse=issuer.caisse)
    mandate = await an_active_mandate(identity_db, scene, issuer.clock(), "declare_and_pay", machine=True)
    it = await by_a_machine(identity_db, issuer, scene, mandate, scopes=["payment.read", "payment.prepare"])
    async with identity_db.transaction(issuer.caisse) as tx:
        await tx.execute(
            """UPDATE client SET metadata = metadata || '{"scope": "payment.order payment.read"}'
                WHERE client_id = $1""",
            it.client.client_id,
        )
    answer = await it.exchange()
    assert answer.json()["scope"] == "payment.read"
    assert "amount_cap_cents" not in answer.json()["authorization_details"][0]
    refused(await it.exchange(scope="payment.order"), "invalid_scope")


async def test_another_cabinet_s_machine_gets_nothing_even_with_the_same_sponsor(
    delegation: Delegation, issuer: Issuer, identity_db: Database
) -> None:
    from services.identity.cabinets.register import add_collaborator

    other = await a_scene(identity_db, issuer.clock(), caisse=issuer.caisse)
    async with identity_db.across_caisses() as tx:
        await add_collaborator(tx, other.cabinet_id, delegation.scene.member, "member", now=issuer.clock())
    _, theirs = await a_machine(identity_db, issuer, other._replace(member=delegation.scene.member))
    refused(await Delegation(issuer, other, delegation.mandate, theirs, None).exchange())


async def test_an_ordinary_client_says_for_whom_it_asks(delegation: Delegation, issuer: Issuer) -> None:
    from tests.openid.token_exchange.delegations import cabinet_client

    plain = Delegation(issuer, delegation.scene, delegation.mandate, await cabinet_client(issuer), None)
    refused(await plain.exchange(), "invalid_request")
    refused(await plain.exchange(actor_token_type=ACCESS_TOKEN), "invalid_request")


async def test_a_machine_carries_no_person_s_token(
    delegation: Delegation, issuer: Issuer, identity_db: Database
) -> None:
    person = await by_a_person(identity_db, issuer, delegation.scene, delegation.mandate)
    refused(await delegation.exchange(actor_token=person.actor, actor_token_type=ACCESS_TOKEN))


@pytest.mark.parametrize("grant_type", [CLIENT_CREDENTIALS, "refresh_token", "authorization_code"])
async def test_a_machine_has_no_other_grant(delegation: Delegation, grant_type: str) -> None:
    answer = await delegation.client.post(
        "/token", {"grant_type": grant_type, "code": "x", "refresh_token": "x"}
    )
    assert answer.json()["error"] == "unauthorized_client", answer.text


# Its sponsor


async def test_a_sponsor_who_left_stops_it_and_the_journal_says_why(
    delegation: Delegation, identity_db: Database
) -> None:
    async with identity_db.across_caisses() as tx:
        await tx.execute(
            "UPDATE collaborator SET state = 'left' WHERE person_id = $1", delegation.scene.member
        )
    refused(await delegation.exchange())
    _, details = await last_act(identity_db, "grant.refused")
    assert (details["reason"], details["sponsor"]) == (
        "sponsor_left",
        public_id("per", delegation.scene.member),
    )


async def test_what_it_held_when_its_sponsor_was_suspended_stays_dead_once_they_are_restored(
    issuer: Issuer, identity_db: Database
) -> None:
    it = await delegated(identity_db, issuer, "machine")
    server = await a_resource_server(issuer)
    before = (await it.exchange()).json()["access_token"]
    async with identity_db.across_caisses() as tx:
        assert await people.suspend(tx, it.scene.member, now=issuer.clock())
    issuer.clock.forward(seconds=1)
    async with identity_db.across_caisses() as tx:
        assert await people.restore(tx, it.scene.member, now=issuer.clock())
    assert (await server.post("/introspect", {"token": before})).json() == {"active": False}

    issuer.clock.forward(seconds=1)
    after = (await it.exchange()).json()["access_token"]
    assert (await server.post("/introspect", {"token": after})).json()["active"]


async def test_another_sponsor_answers_with_their_own_power_and_the_former_tokens_die(
    issuer: Issuer, identity_db: Database
) -> None:
    it = await delegated(identity_db, issuer, "machine")
    server = await a_resource_server(issuer)
    before = (await it.exchange()).json()["access_token"]
    issuer.clock.forward(seconds=1)
    async with identity_db.transaction(issuer.caisse) as tx:
        await change_sponsor(tx, machine_of(it).id, it.scene.owner, now=issuer.clock())
        again = await change_sponsor(tx, machine_of(it).id, it.scene.owner, now=issuer.clock())
    assert again.sponsor_name == "Line Ferrand"
    assert await floors_of(identity_db, public_id("mch", machine_of(it).id)) == 1
    assert (await server.post("/introspect", {"token": before})).json() == {"active": False}

    issuer.clock.forward(seconds=1)
    claims = claims_of((await it.exchange()).json()["access_token"])
    assert claims["act"]["sponsor"] == public_id("per", it.scene.owner)


# Its keys


async def test_keys_overlap_and_a_retired_one_proves_nothing(issuer: Issuer, identity_db: Database) -> None:
    it = await delegated(identity_db, issuer, "machine")
    machine, first, second = machine_of(it).id, it.client.key, SigningKey.generate("ES256")
    async with identity_db.transaction(issuer.caisse) as tx:
        await add_key(tx, machine, second.published_jwk(), now=issuer.clock())
        await add_key(tx, machine, second.published_jwk(), now=issuer.clock())
    for key in (first, second):
        it.client.key = key
        assert (await it.exchange()).status_code == 200

    async with identity_db.transaction(issuer.caisse) as tx:
        await retire_key(tx, machine, first.kid, now=issuer.clock())
        with pytest.raises(LastKey):
            await retire_key(tx, machine, second.kid, now=issuer.clock())
    assert (await it.exchange()).status_code == 200
    it.client.key = first
    refused(await it.exchange(), "invalid_client", 401)
    assert await floors_of(identity_db, public_id("mch", machine)) == 1


async def test_two_keys_added_at_once_are_both_there(issuer: Issuer, identity_db: Database) -> None:
    it = await delegated(identity_db, issuer, "machine")
    keys = [SigningKey.generate("ES256") for _ in range(4)]

    async def add(key: SigningKey) -> None:
        async with identity_db.transaction(issuer.caisse) as tx:
            await add_key(tx, machine_of(it).id, key.published_jwk(), now=issuer.clock())

    await asyncio.gather(*map(add, keys))
    for key in keys:
        it.client.key = key
        assert (await it.exchange()).status_code == 200


# What takes its tokens


async def test_introspection_tells_the_same_until_the_power_ends(
    issuer: Issuer, identity_db: Database
) -> None:
    """Case 35, and what ends the power of a machine's token."""
    server = await a_resource_server(issuer)

    async def ceiling_down(it: Delegation) -> None:
        async with identity_db.transaction(issuer.caisse) as tx:
            await change_ceiling(tx, machine_of(it).id, ["declaration.read"], now=issuer.clock())

    async def disabled(it: Delegation) -> None:
        async with identity_db.transaction(issuer.caisse) as tx:
            await disable_machine(tx, machine_of(it).id, now=issuer.clock())

    async def sponsor_gone(it: Delegation) -> None:
        async with identity_db.across_caisses() as tx:
            await tx.execute("UPDATE collaborator SET state = 'left' WHERE person_id = $1", it.scene.member)

    async def revoked_by_itself(it: Delegation) -> None:
        await it.client.post("/revoke", {"token": token})

    async def sponsor_suspended_and_restored(it: Delegation) -> None:
        async with identity_db.across_caisses() as tx:
            await tx.execute("UPDATE person SET state = 'suspended' WHERE id = $1", it.scene.member)
            await tx.execute(
                "UPDATE person SET state = 'active', suspended_at = $2 WHERE id = $1",
                it.scene.member,
                issuer.clock(),
            )

    for befall in (ceiling_down, disabled, sponsor_gone, sponsor_suspended_and_restored, revoked_by_itself):
        it = await delegated(identity_db, issuer, "machine")
        token = (await it.exchange()).json()["access_token"]
        told = (await server.post("/introspect", {"token": token})).json()
        assert told == {"active": True, "token_type": "DPoP"} | claims_of(token)
        await befall(it)
        assert (await server.post("/introspect", {"token": token})).json() == {"active": False}, befall


async def test_the_whole_cabinet_shares_one_rate(issuer: Issuer, identity_db: Database) -> None:
    """Refused exchanges count too; another cabinet's machines, and people, never wait for them."""
    it = await delegated(identity_db, issuer, "machine")
    person = await by_a_person(identity_db, issuer, it.scene, it.mandate)
    _, twin = await a_machine(identity_db, issuer, it.scene, name="Paie, seconde")
    other = await delegated(identity_db, issuer, "machine")
    async with identity_db.across_caisses() as tx:
        await tx.execute(
            "INSERT INTO throttle (key, ready_at) VALUES ($1, $2)",
            bucket_of("machines", f"{issuer.caisse}/{it.scene.cabinet_id}"),
            issuer.clock() + PER_CABINET.at_once,
        )
    assert (await it.exchange()).status_code == 200
    slowed = await it.exchange()
    refused(slowed, "slow_down", 429)
    assert slowed.headers["retry-after"] == "1"
    refused(await Delegation(issuer, it.scene, it.mandate, twin, None).exchange(), "slow_down", 429)
    assert (await person.exchange()).status_code == 200
    assert (await other.exchange()).status_code == 200

    issuer.clock.forward(seconds=1)
    for _ in range(20):
        assert (await it.exchange(subject_token="mdt_nonsense")).status_code == 400
    refused(await it.exchange(), "slow_down", 429)


class Counting(Database):
    """The same database, each message to it counted."""

    def __init__(self, real: Database) -> None:
        super().__init__(real._connections, real._size)  # pyright: ignore[reportPrivateUsage]
        self.messages: list[str] = []

    async def _read_alone(self, verb: Any, sql: str, args: Sequence[object]) -> Any:
        self.messages.append("read")
        return await super()._read_alone(verb, sql, args)

    async def _read_together(self, sql: str, callers: Sequence[Sequence[object]]) -> Any:
        self.messages.append("read")
        return await super()._read_together(sql, callers)

    async def write_alone(
        self, caisse: CaisseSlug, sql: str, args: Sequence[object], *, shares: bool
    ) -> None:
        self.messages.append("write")
        await super().write_alone(caisse, sql, args, shares=shares)

    def transaction(self, caisse: CaisseSlug) -> Any:
        self.messages.append("transaction")
        return super().transaction(caisse)


async def test_an_exchange_is_one_message_to_read_and_one_to_write(delegation: Delegation) -> None:
    """Decision 0004, rate, journal and last use included; a refused one too."""
    transport: Any = delegation.issuer.transport
    provider = transport.app.state.provider
    await delegation.exchange()  # the keys of the caisse are read once a second
    provider.db, real = Counting(provider.db), provider.db
    try:
        assert (await delegation.exchange()).status_code == 200
        assert (await delegation.exchange(subject_token="mdt_nonsense")).status_code == 400
        assert provider.db.messages == ["read", "write"] * 2
    finally:
        provider.db = real


def exchange_of(delegation: Delegation) -> dict[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": public_id("mdt", delegation.mandate.id),
        "subject_token_type": "urn:espace:params:oauth:token-type:mandate",
        "resource": delegation.issuer.adherent,
    }


async def test_an_assertion_serves_once(delegation: Delegation) -> None:
    said, form = delegation.client.credentials(), exchange_of(delegation)
    answers = await asyncio.gather(
        *(delegation.client.post("/token", form, credentials=said) for _ in range(2))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401]


async def test_a_slowed_exchange_has_spent_its_assertion(
    delegation: Delegation, identity_db: Database
) -> None:
    """What was shown is spent, so the software comes back with a new one; nothing else was written."""
    async with identity_db.across_caisses() as tx:
        await tx.execute(
            "INSERT INTO throttle (key, ready_at) VALUES ($1, $2)",
            bucket_of("machines", f"{delegation.issuer.caisse}/{delegation.scene.cabinet_id}"),
            delegation.issuer.clock() + 2 * PER_CABINET.at_once,
        )
    said = delegation.client.credentials()
    refused(
        await delegation.client.post("/token", exchange_of(delegation), credentials=said), "slow_down", 429
    )
    refused(
        await delegation.client.post("/token", exchange_of(delegation), credentials=said),
        "invalid_client",
        401,
    )


async def test_its_last_use_is_noted_to_the_minute(delegation: Delegation, identity_db: Database) -> None:
    await delegation.exchange()
    first = delegation.issuer.clock()
    delegation.issuer.clock.forward(seconds=5)
    await delegation.exchange()
    async with identity_db.transaction(HERE) as tx:
        noted = await find_machine(tx, machine_of(delegation).id)
    assert noted.last_used_at == first
