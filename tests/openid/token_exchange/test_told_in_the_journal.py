"""openid.md §2, audit events: each refusal and grant of power leaves a line, with the true actor."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from libs.common.database.pool import Database
from libs.common.values.identifiers import new_id, public_id
from services.identity.account.change_account import end_other_session
from services.identity.openid.clients import CLIENT_CREDENTIALS
from tests.openid.party import Issuer, Party
from tests.openid.token_exchange.delegations import delegated

Act = Callable[[], Awaitable[Any]]


async def lines(db: Database, issuer: Issuer) -> list[dict[str, Any]]:
    async with db.transaction(issuer.caisse) as tx:
        rows = await tx.fetch(
            "SELECT id, action, subject_kind, subject_id, person_id, details::text FROM journal"
        )
    return [dict(row) | {"details": msgspec.json.decode(row["details"])} for row in rows]


async def told_by(db: Database, issuer: Issuer, act: Act) -> list[dict[str, Any]]:
    """The lines that `act` added."""
    before = {line["id"] for line in await lines(db, issuer)}
    await act()
    return [line for line in await lines(db, issuer) if line["id"] not in before]


async def the_line(db: Database, issuer: Issuer, act: Act, action: str) -> dict[str, Any]:
    added = await told_by(db, issuer, act)
    assert [line["action"] for line in added] == [action], added
    return added[0]


async def test_a_code_shown_twice_tells_whose_grant_died(issuer: Issuer, identity_db: Database) -> None:
    client, who = await issuer.client(), await (await issuer.person()).sign_in()
    code = await client.code(who)
    await client.redeem(code)

    line = await the_line(identity_db, issuer, lambda: client.redeem(code), "grant.revoked")
    assert line["details"] == {
        "reason": "code_replayed", "by": client.client_id, "person": public_id("per", who.id)
    }  # fmt: skip


async def test_a_public_client_s_refresh_token_shown_twice_too(issuer: Issuer, identity_db: Database) -> None:
    client = await issuer.client(token_endpoint_auth_method="none")
    tokens = await client.tokens(await (await issuer.person()).sign_in())
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200

    line = await the_line(
        identity_db, issuer, lambda: client.refresh(tokens["refresh_token"]), "grant.revoked"
    )
    assert line["details"]["reason"] == "refresh_replayed"
    assert not [
        line
        for line in await told_by(identity_db, issuer, lambda: client.refresh(tokens["refresh_token"]))
        if line["action"] == "grant.revoked"
    ], "a grant dies once"


@pytest.mark.parametrize("token", ["refresh_token", "access_token"])
async def test_what_a_client_takes_back(issuer: Issuer, identity_db: Database, token: str) -> None:
    client = await issuer.client()
    tokens = await client.tokens(await (await issuer.person()).sign_in())

    line = await the_line(
        identity_db, issuer, lambda: client.post("/revoke", {"token": tokens[token]}),
        "grant.revoked" if token == "refresh_token" else "token.revoked",
    )  # fmt: skip
    assert client.client_id in (line["details"].get("by"), line["subject_id"])


@pytest.mark.parametrize("actor", ["person", "machine"])
async def test_a_refused_exchange_names_who_asked(issuer: Issuer, identity_db: Database, actor: str) -> None:
    it = await delegated(identity_db, issuer, actor)
    unknown = public_id("mdt", new_id())

    line = await the_line(identity_db, issuer, lambda: it.exchange(subject_token=unknown), "token.refused")
    assert line["details"]["error"] == "invalid_grant"
    if it.machine is None:
        assert (line["subject_kind"], line["person_id"]) == ("client", it.scene.member)
    else:
        assert line["subject_id"] == public_id("mch", it.machine.id)
        assert line["details"]["sponsor"] == public_id("per", it.scene.member)

    assert await told_by(identity_db, issuer, lambda: it.exchange(subject_token=unknown)) == [], (
        "one line a minute"
    )
    issuer.clock.forward(minutes=1)
    await it.again()
    assert await told_by(identity_db, issuer, lambda: it.exchange(subject_token=unknown))


async def test_a_stranger_s_actor_token_names_nobody(issuer: Issuer, identity_db: Database) -> None:
    it = await delegated(identity_db, issuer, "person")
    theirs = await (await issuer.client()).tokens(await (await issuer.person()).sign_in())

    line = await the_line(
        identity_db, issuer, lambda: it.exchange(actor_token=theirs["access_token"]), "token.refused"
    )
    assert line["person_id"] is None


async def test_whoever_signs_as_a_client_with_another_key(issuer: Issuer, identity_db: Database) -> None:
    client, another = await issuer.client(), await issuer.client()
    thief = Party(issuer, client.client_id, another.key, client.metadata)

    line = await the_line(identity_db, issuer, lambda: thief.refresh("no matter"), "client.not_proven")
    assert (line["subject_id"], line["person_id"]) == (client.client_id, None)
    assert await told_by(identity_db, issuer, lambda: thief.refresh("no matter")) == []


async def test_a_session_ended_by_its_person(issuer: Issuer, identity_db: Database) -> None:
    who = await (await issuer.person()).sign_in()
    first = who.session_id
    await who.sign_in()

    async def end() -> None:
        assert first is not None
        async with identity_db.transaction(issuer.caisse) as tx:
            await end_other_session(tx, who.id, first, now=issuer.clock())

    line = await the_line(identity_db, issuer, end, "session.ended")
    assert (line["subject_id"], line["person_id"]) == (public_id("ses", first or new_id()), who.id)


async def test_a_program_that_may_administer_the_caisse(issuer: Issuer, identity_db: Database) -> None:
    program = await issuer.client(
        grant_types=(CLIENT_CREDENTIALS,), response_types=(), redirect_uris=(),
        scope="key.manage standing.read", resources=(issuer.url, issuer.adherent),
    )  # fmt: skip

    async def ask(scope: str, resource: str) -> None:
        form = {"grant_type": CLIENT_CREDENTIALS, "scope": scope, "resource": resource}
        assert (await program.post("/token", form)).status_code == 200

    line = await the_line(identity_db, issuer, lambda: ask("key.manage", issuer.url), "token.administration")
    assert line["details"]["scopes"] == ["key.manage"]
    before = len(await lines(identity_db, issuer))
    await ask("standing.read", issuer.adherent)
    assert len(await lines(identity_db, issuer)) == before, "a figure of /metrics, not a line"
