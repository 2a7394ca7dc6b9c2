"""The administration API: who may, what it does, and that it is the command line's own doing."""

import asyncio
from typing import Any

import pytest

from libs.common.access.service_client import DpopAuth
from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.values.identifiers import public_id
from services.identity.admin.routes import HANDLERS
from services.identity.sign_in.session import sid_of
from tests.conftest import HeldClock
from tests.identity.admin.machines import EVERYTHING, Machine, a_machine, described, of_machines
from tests.openid.party import Issuer, callback

A_KEY = "0123456789abcdef"
ROUTES = sorted(
    (method, path.removeprefix("/admin"), handler.opt["access"].any_of[0])
    for handler in HANDLERS
    for path in handler.paths
    for method in handler.http_methods
    if method in {"GET", "POST", "PUT", "DELETE"}
)


def filled(path: str) -> str:
    """An address of this route that names nothing real."""
    for hole in ("{client_id:str}", "{person:str}", "{sid:str}", "{machine:str}", "{kid:str}"):
        path = path.replace(hole, "nobody")
    return path


def a_client(**changes: Any) -> dict[str, Any]:
    """Metadata of a machine client with keys of its own and no right."""
    return of_machines("", jwks={"keys": [SigningKey.generate("ES256").published_jwk()]}, **changes)


async def acts(db: Database, issuer: Issuer, subject: str) -> list[tuple[str, str]]:
    async with db.transaction(issuer.caisse) as tx:
        rows = await tx.fetch(
            "SELECT action, details->>'by' FROM journal WHERE subject_id = $1 ORDER BY at, id", subject
        )
    return [(row[0], row[1]) for row in rows]


# Who may


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_each_route_wants_its_own_right(issuer: Issuer, method: str, path: str, scope: str) -> None:
    others = {"caisse.read", "client.manage", "key.manage", "letters.issue", "session.manage"} - {scope}
    lacking = await a_machine(issuer, " ".join(sorted(others)))
    refused = await lacking.ask(method, filled(path), {}, key=A_KEY)

    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:espace:problem:insufficient-scope"
    assert f'scope="{scope}"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_nobody_comes_in_without_a_token(issuer: Issuer, method: str, path: str, scope: str) -> None:
    async with issuer.http() as http:
        refused = await http.request(method, f"/{issuer.caisse}/admin{filled(path)}")

    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("DPoP ")
    # RFC 9728 §5.1: it says where to learn what to bring.
    where = f"{issuer.settings.identity.base}/.well-known/oauth-protected-resource/{issuer.caisse}"
    assert f'resource_metadata="{where}"' in refused.headers["www-authenticate"]


async def test_a_token_of_one_caisse_opens_nothing_at_another(machine: Machine, elsewhere: Issuer) -> None:
    assert (await machine.ask("GET", "/clients")).status_code == 200
    assert (await machine.ask("GET", "/clients", caisse=elsewhere.caisse)).status_code == 401
    assert (await machine.ask("GET", "/clients", caisse="nowhere")).status_code in {401, 404}


async def test_a_person_never_holds_a_right_of_administration(issuer: Issuer) -> None:
    """A client whose ceiling names the right asks for it in a person's name."""
    party = await issuer.client(scope="openid client.manage")
    who = await (await issuer.person()).sign_in()
    answer = await party.answer(who, scope="openid client.manage")
    if "code" in answer:
        tokens = (await party.redeem(answer["code"])).json()
        assert "client.manage" not in tokens["scope"].split()
        person = Machine(party, tokens["access_token"])
        assert (await person.ask("GET", "/clients")).status_code == 403
    else:
        assert answer["error"] == "invalid_scope"


# The caisse


async def test_a_caisse_describes_itself(machine: Machine) -> None:
    shown = (await machine.ask("GET", "/caisse")).json()

    assert shown["slug"] == "mediterranee"
    assert shown["settings"]["confirmation_hours"] == 72


# Clients


async def test_a_client_is_registered_shown_changed_reported_and_disabled(
    machine: Machine, identity_db: Database
) -> None:
    added = await machine.ask(
        "POST", "/clients", {"client_id": "atelier", "metadata": a_client()}, key="k" * 16
    )
    shown = await machine.ask("GET", "/clients/atelier")
    changed = await machine.ask("PUT", "/clients/atelier", a_client(client_name="Atelier du port"))
    report = await machine.ask("GET", "/clients/atelier/report")
    disabled = await machine.ask("POST", "/clients/atelier/disable")
    again = await machine.ask("POST", "/clients/atelier/disable")
    everyone = (await machine.ask("GET", "/clients")).json()["clients"]
    reports = (await machine.ask("GET", "/reports")).json()["reports"]

    assert added.status_code == 201
    assert added.json()["client_secret"] is None
    assert added.headers["cache-control"] == "no-store"
    assert shown.json() == {name: added.json()[name] for name in ("client_id", "state", "metadata")}
    assert changed.json()["metadata"]["client_name"] == "Atelier du port"
    assert report.json() == {
        "client_id": "atelier",
        "departures": [
            {
                "clause": "FAPI 2.0 §5.4.1",
                "what": "peut signer ses assertions en RS256",
                "remedy": "fixer token_endpoint_auth_signing_alg",
            }
        ],
    }
    assert disabled.json()["state"] == again.json()["state"] == "disabled"
    assert "atelier" in [one["client_id"] for one in everyone]
    assert report.json() in reports
    who = machine.party.client_id
    assert await acts(identity_db, machine.party.issuer, "atelier") == [
        ("client.registered", who),
        ("client.updated", who),
        ("client.disabled", who),
    ]


async def test_a_registration_sent_twice_is_one_client(machine: Machine) -> None:
    body = {"metadata": a_client()}
    first, second = await asyncio.gather(
        machine.ask("POST", "/clients", body, key="twins-" + "0" * 16),
        machine.ask("POST", "/clients", body, key="twins-" + "0" * 16),
    )
    later = await machine.ask("POST", "/clients", {"metadata": a_client()}, key="twins-" + "0" * 16)

    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert later.status_code == 409
    assert later.json()["type"] == "urn:espace:problem:key-reused"


async def test_a_kept_answer_is_sealed_and_forgotten_after_a_day(
    machine: Machine, identity_db: Database, clock: HeldClock
) -> None:
    body = {"profile": "fapi"}
    first = await machine.ask("POST", "/initial-access-tokens", body, key="day-" + "0" * 16)
    issuer = machine.party.issuer
    async with identity_db.transaction(issuer.caisse) as tx:
        kept = await tx.fetchval(
            "SELECT answer_encrypted FROM admin_receipt WHERE client_id = $1", machine.party.client_id
        )
    clock.forward(days=1, minutes=1)
    fresh = await a_machine(issuer)
    await fresh.ask("POST", "/initial-access-tokens", body, key="other-" + "0" * 16)
    async with identity_db.transaction(issuer.caisse) as tx:
        left = await tx.fetchval(
            "SELECT count(*) FROM admin_receipt WHERE client_id = $1", machine.party.client_id
        )

    assert first.json()["initial_access_token"].encode() not in kept
    assert left == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"metadata": {"client_name": "x", "grant_types": ["password"], "response_types": []}}, 422),
        ({"metadata": {"client_name": "x", "redirect_uris": ["https://a.example/#b"]}}, 422),
        ({"metadata": {"client_name": "x", "sector_identifier_uri": "https://10.0.0.1/x"} | a_client()}, 422),
        (
            {
                "metadata": {"client_name": "a\u0000b"}
                | {n: v for n, v in a_client().items() if n != "client_name"}
            },
            400,
        ),
        ({"metadata": a_client(default_max_age=10**18)}, 422),
        ({"metadata": a_client(), "client_id": "per_01J"}, 422),
        ({"metadata": a_client(), "client_id": "a b"}, 400),
        ({"metadata": a_client(), "wish": 1}, 400),
        ({"metadata": {"client_name": "x", "wish": 1}}, 400),
        ({"metadata": {}}, 400),
        ([], 400),
    ],
)
async def test_what_breaks_a_rule_is_told(machine: Machine, body: Any, status: int) -> None:
    refused = await machine.ask("POST", "/clients", body, key=A_KEY)

    assert refused.status_code == status, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert (refused.json().get("detail") is not None) == (status == 422)


async def test_an_audience_that_the_caisse_does_not_have_is_named(machine: Machine) -> None:
    party = machine.party
    mistyped = party.issuer.adherent + "e"
    wrong = a_client(resources=[party.issuer.documents, mistyped])
    refusals = [
        await machine.ask("POST", "/clients", {"metadata": wrong}, key=A_KEY),
        await machine.ask("PUT", f"/clients/{party.client_id}", wrong),
    ]

    assert [one.status_code for one in refusals] == [422, 422]
    for told in (one.json()["detail"] for one in refusals):
        assert mistyped in told and party.issuer.documents not in told


async def test_a_body_nested_without_end_is_the_callers_fault(machine: Machine) -> None:
    issuer = machine.party.issuer
    deep = '{"metadata":{"client_name":"x","jwks":{"keys":' + "[" * 9000 + "]" * 9000 + "}}}"
    refused = await _raw(machine, deep.encode())
    large = await _raw(machine, b'{"metadata":{"client_name":"' + b"x" * 70_000 + b'"}}')

    assert issuer.caisse in str(refused.request.url)
    assert refused.status_code == 400
    assert large.status_code == 413


@pytest.mark.parametrize(
    "body", [b'{"metadata":{"client_name":"\xff"}}', b"\xff", b'{"a":"\\u0000"}', b"{", b"[" * 40]
)
async def test_a_body_that_is_no_text_is_the_callers_fault(machine: Machine, body: bytes) -> None:
    refused = await _raw(machine, body)

    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:espace:problem:unreadable-body"


async def _raw(machine: Machine, body: bytes) -> Any:
    issuer = machine.party.issuer
    auth = DpopAuth(machine.party.dpop, machine.token, clock=lambda: issuer.clock().timestamp())
    async with issuer.http() as http:
        return await http.post(
            f"/{issuer.caisse}/admin/clients", content=body, headers={"Idempotency-Key": A_KEY}, auth=auth
        )


async def test_a_taken_identifier_changes_nothing(machine: Machine) -> None:
    first = await machine.ask("POST", "/clients", {"client_id": "pris", "metadata": a_client()}, key="1" * 16)
    second = await machine.ask(
        "POST", "/clients", {"client_id": "pris", "metadata": a_client()}, key="2" * 16
    )

    assert (first.status_code, second.status_code) == (201, 409)
    assert (await machine.ask("GET", "/clients/pris")).json()["metadata"] == first.json()["metadata"]


async def test_nobody_grants_what_they_lack(issuer: Issuer) -> None:
    """Else `client.manage` would be every right: by a new client, a changed one, another's secret, or its end."""
    clerk = await a_machine(issuer, "client.manage")
    strong = await a_machine(issuer, "key.manage")
    beyond = of_machines("key.manage", jwks={"keys": [clerk.party.key.published_jwk()]})
    name = strong.party.client_id
    refusals = [
        await clerk.ask("POST", "/clients", {"metadata": beyond}, key=A_KEY),
        await clerk.ask("PUT", f"/clients/{name}", beyond),
        await clerk.ask("PUT", f"/clients/{name}", a_client()),
        await clerk.ask("PUT", f"/clients/{clerk.party.client_id}", beyond),
        await clerk.ask("POST", f"/clients/{name}/secret"),
        await clerk.ask("POST", f"/clients/{name}/disable"),
    ]

    assert [one.status_code for one in refusals] == [403] * 6
    assert {one.json()["type"] for one in refusals} == {"urn:espace:problem:beyond-own-rights"}
    assert (await strong.ask("GET", "/keys")).status_code == 200


def for_people(key: SigningKey, **changes: Any) -> dict[str, Any]:
    """Metadata of a client that people sign in to."""
    return {
        "client_name": "Rien",
        "redirect_uris": ["https://clerk.example/cb"],
        "scope": "openid declaration.submit payment.order bank.manage",
        "jwks": {"keys": [key.published_jwk()]},
        **changes,
    }


@pytest.mark.parametrize("right", ["client.manage", EVERYTHING])
async def test_no_program_makes_or_changes_what_is_the_operator_s(issuer: Issuer, right: str) -> None:
    """A client that asks nobody's consent, or introspects, holds the rights of everybody; `compat` is an operator's."""
    program, key = await a_machine(issuer, right), SigningKey.generate()
    portal = await issuer.client()
    service = await issuer.client(**of_machines("", introspects=(issuer.adherent,), consent="explicit"))
    plain = await issuer.plain_client(consent="explicit", jwks=None)
    wanted = [
        for_people(key, consent="implicit"),
        for_people(key, introspects=[issuer.adherent]),
        for_people(key, profile="compat"),
    ]
    refusals = [
        *[await program.ask("POST", "/clients", {"metadata": one}, key=A_KEY) for one in wanted],
        *[
            await program.ask("PUT", f"/clients/{one.client_id}", body)
            for one in (portal, service, plain)
            for body in (described(one.metadata), for_people(key))
        ],
        *[
            await program.ask("POST", f"/clients/{one.client_id}/{act}")
            for one in (portal, service)
            for act in ("disable", "secret")
        ],
        await program.ask("POST", "/initial-access-tokens", {"profile": "compat"}, key=A_KEY),
    ]

    assert [one.status_code for one in refusals] == [403] * len(refusals)
    assert {one.json()["type"] for one in refusals} == {"urn:espace:problem:operators-client"}
    assert (await portal.post("/introspect", {"token": "x"})).status_code == 200


@pytest.mark.parametrize("change", ["keys", "redirects", "secret"])
async def test_who_takes_a_client_over_inherits_nobody_s_consent(issuer: Issuer, change: str) -> None:
    """People consented to the client as it was; another behind its name is another, and asks anew."""
    clerk = await a_machine(issuer, "client.manage")
    who = await (await issuer.person()).sign_in()
    if change == "secret":
        client = await issuer.plain_client(consent="explicit")
    else:
        client = await issuer.client(consent="explicit")
    await client.code(who)
    assert "code" in callback(await client.authorize(who))
    name, key = f"/clients/{client.client_id}", SigningKey.generate()
    renamed = described(client.metadata) | {"client_name": "Autrement"}
    if change == "secret":
        client.secret = (await clerk.ask("POST", f"{name}/secret")).json()["client_secret"]
    else:
        assert (await clerk.ask("PUT", name, renamed)).status_code == 200
        assert "code" in callback(await client.authorize(who)), "the same client, renamed"
        changed = {
            "keys": {"jwks": {"keys": [key.published_jwk()]}},
            "redirects": {"redirect_uris": ["https://client.example/cb", "https://clerk.example/cb"]},
        }[change]
        assert (await clerk.ask("PUT", name, renamed | changed)).status_code == 200
        client.key = key if change == "keys" else client.key

    assert 'id="accept"' in (await client.authorize(who)).text


async def test_a_new_secret_kills_the_former(machine: Machine, issuer: Issuer) -> None:
    party = await issuer.plain_client(token_endpoint_auth_method="client_secret_post", consent="explicit")
    former = party.secret
    answer = (await machine.ask("POST", f"/clients/{party.client_id}/secret")).json()
    refused = await machine.ask("POST", f"/clients/{machine.party.client_id}/secret")
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    before = await party.post("/token", form)
    party.secret = answer["client_secret"]
    after = await party.post("/token", form)

    assert answer["client_secret"] != former
    assert refused.status_code == 409
    assert (before.json()["error"], after.json()["error"]) == ("invalid_client", "invalid_grant")


async def test_clients_of_another_caisse_are_not_there(machine: Machine, elsewhere: Issuer) -> None:
    foreign = (await elsewhere.client()).client_id
    answers = [
        await machine.ask("GET", f"/clients/{foreign}"),
        await machine.ask("PUT", f"/clients/{foreign}", a_client()),
        await machine.ask("POST", f"/clients/{foreign}/disable"),
        await machine.ask("POST", f"/clients/{foreign}/secret"),
        await machine.ask("GET", f"/clients/{foreign}/report"),
    ]
    everyone = (await machine.ask("GET", "/clients")).json()["clients"]

    assert [one.status_code for one in answers] == [404] * 5
    assert foreign not in [one["client_id"] for one in everyone]


async def test_an_invitation_registers_a_client_of_its_profile(machine: Machine, issuer: Issuer) -> None:
    invited = await machine.ask("POST", "/initial-access-tokens", {"profile": "fapi"}, key="i" * 16)
    token = invited.json()["initial_access_token"]
    metadata = {
        "redirect_uris": ["https://app.example/cb"],
        "jwks": {"keys": [SigningKey.generate("ES256").published_jwk()]},
    }
    async with issuer.http() as http:
        registered = await http.post(
            f"/{issuer.caisse}/register", json=metadata, headers={"Authorization": f"Bearer {token}"}
        )

    assert invited.status_code == 201
    assert invited.json()["uses"] == 1
    assert registered.status_code == 201
    found = await machine.ask("GET", f"/clients/{registered.json()['client_id']}")
    assert found.json()["metadata"]["profile"] == "fapi"


# Keys


async def test_the_next_key_signs_and_the_former_verifies(machine: Machine, issuer: Issuer) -> None:
    before = (await machine.ask("GET", "/keys")).json()["keys"]
    rotated = await machine.ask("POST", "/keys/rotations", {"algorithm": "EdDSA"}, key="r" * 16)
    again = await machine.ask("POST", "/keys/rotations", {"algorithm": "EdDSA"}, key="r" * 16)
    after = (await machine.ask("GET", "/keys")).json()["keys"]
    async with issuer.http() as http:
        published = (await http.get(f"/{issuer.caisse}/jwks")).json()["keys"]

    def state(keys: list[dict[str, str]], name: str) -> list[str]:
        return [one["kid"] for one in keys if one["algorithm"] == "EdDSA" and one["state"] == name]

    assert rotated.json() == again.json() == {"algorithm": "EdDSA", "kid": state(before, "prepublished")[0]}
    assert state(after, "active") == state(before, "prepublished")
    assert state(after, "verify_only") == state(before, "active")
    assert {one["kid"] for one in after} == {one["kid"] for one in published}
    assert {name for one in after for name in one} == {"kid", "algorithm", "state"}


async def test_a_leaked_key_is_revoked_once_and_its_successor_signs(
    machine: Machine, issuer: Issuer, identity_db: Database
) -> None:
    before = (await machine.ask("GET", "/keys")).json()["keys"]
    (leaked,) = [k["kid"] for k in before if (k["algorithm"], k["state"]) == ("EdDSA", "active")]
    (following,) = [k["kid"] for k in before if (k["algorithm"], k["state"]) == ("EdDSA", "prepublished")]
    wanted = {"kid": leaked, "reason": "found in a bucket"}
    revoked = await machine.ask("POST", "/keys/revocations", wanted, key="v" * 16)
    again = await machine.ask("POST", "/keys/revocations", wanted, key="v" * 16)
    anew = await machine.ask("POST", "/keys/revocations", {"kid": leaked}, key="w" * 16)
    other = await machine.ask("POST", "/keys/revocations", {"kid": following}, key="v" * 16)
    unknown = await machine.ask("POST", "/keys/revocations", {"kid": "no-such-key"}, key="x" * 16)
    after = (await machine.ask("GET", "/keys")).json()["keys"]

    told = revoked.json()
    assert (revoked.status_code, told["was"], told["signer"]) == (200, "active", following)
    assert again.json() == told
    assert anew.json() == told | {"was": "revoked"}
    assert (other.status_code, unknown.status_code) == (409, 404)
    assert leaked not in {key["kid"] for key in after}
    told_in_the_journal = [act for act in await acts(identity_db, issuer, leaked) if "revoked" in act[0]]
    assert told_in_the_journal == [("signing_key.revoked", machine.party.client_id)]


# Sessions


async def test_a_session_is_listed_and_ended(machine: Machine, issuer: Issuer, identity_db: Database) -> None:
    who = await (await issuer.person()).sign_in()
    assert who.session_id is not None
    person, sid = public_id("per", who.id), sid_of(who.session_id)
    listed = (await machine.ask("GET", f"/persons/{person}/sessions")).json()["sessions"]
    ended = await machine.ask("DELETE", f"/persons/{person}/sessions/{sid}")
    again = await machine.ask("DELETE", f"/persons/{person}/sessions/{sid}")

    assert [one["sid"] for one in listed] == [sid]
    assert listed[0]["acr"] == "pwd"
    assert (ended.status_code, again.status_code) == (204, 404)
    assert (await machine.ask("GET", f"/persons/{person}/sessions")).json() == {"sessions": []}
    assert (await who.get(f"/{issuer.caisse}/account/me")).status_code == 303
    assert await acts(identity_db, issuer, sid) == [("session.ended", machine.party.client_id)]


async def test_people_of_another_caisse_are_nobody_here(machine: Machine, elsewhere: Issuer) -> None:
    stranger = await (await elsewhere.person()).sign_in()
    neighbour = await machine.party.issuer.person()
    assert stranger.session_id is not None
    person, sid = public_id("per", stranger.id), sid_of(stranger.session_id)

    assert (await machine.ask("GET", f"/persons/{person}/sessions")).status_code == 404
    assert (await machine.ask("DELETE", f"/persons/{person}/sessions/{sid}")).status_code == 404
    mine = public_id("per", neighbour.id)
    assert (await machine.ask("DELETE", f"/persons/{mine}/sessions/{sid}")).status_code == 404
    assert (await machine.ask("GET", "/persons/nobody/sessions")).status_code == 404
    assert (await stranger.get(f"/{elsewhere.caisse}/account/me")).status_code == 200


# Letters


async def test_letters_join_the_same_api(machine: Machine) -> None:
    unknown = await machine.ask("POST", "/letter-pairs", {"adherent_number": "404"})
    empty = await machine.ask("POST", "/letter-pairs", {"adherent_number": ""})

    assert (unknown.status_code, empty.status_code) == (404, 400)


async def test_an_address_says_which_methods_it_takes(machine: Machine) -> None:
    refused = await machine.ask("PATCH", "/clients")

    assert refused.status_code == 405
    assert {"GET", "POST"} <= set(refused.headers["allow"].replace(" ", "").split(","))
