"""Schemathesis against the administration API: no 5xx, no status and no shape that the document does not tell.

`ESPACE_FUZZ_SEED` plays another run; `ESPACE_FUZZ_EXAMPLES` a longer one.
"""

import os
from collections.abc import Iterator
from typing import Any, cast
from zlib import crc32

import httpx
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, seed, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from libs.common.values.identifiers import public_id
from services.identity.admin.routes import described
from services.identity.app import create_app
from services.identity.cabinets.machines import keys_of
from services.identity.sign_in.session import sid_of
from services.identity.signing_keys import store as signing_keys
from services.identity.signing_keys.revocation import revoke_key
from services.identity.signing_keys.rotation import create_keys
from tests.conftest import HeldClock
from tests.identity.admin.conftest import HERE
from tests.identity.admin.machines import Itself, a_machine
from tests.identity.admin.served import THE_MACHINE, Loop, ToTheApplication
from tests.identity.cabinets.software import a_machine as a_machine_of_a_cabinet
from tests.identity.delegation.parties import a_scene
from tests.identity.sign_in.visitors import living
from tests.openid.party import Issuer, add_row_of_caisse

SEED = int(os.environ.get("ESPACE_FUZZ_SEED", "20261123"))
EXAMPLES = int(os.environ.get("ESPACE_FUZZ_EXAMPLES", "12"))
KEY_REVOKED = "/admin/keys/revocations/{kid}"
"""The other `kid` is a machine's."""
BASE = f"https://id.example.test/{HERE}"

load_all_checks()
document = msgspec.json.decode(msgspec.json.encode(described() | {"servers": [{"url": BASE}]}))
schema = schemathesis.openapi.from_dict(document)
schema.config.update(base_url=BASE)


@schema.auth()
class AsTheMachine:
    """Token and proof are the session's to put in place."""

    def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str:
        return THE_MACHINE

    def set(self, case: schemathesis.Case, data: str, context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = data


class Target:
    """The running service: the session that reaches it, and names of things that exist."""

    def __init__(self, session: requests.Session, known: dict[str, str]) -> None:
        self.session = session
        self.known = known
        self.met: dict[str, set[int]] = {}


@pytest.fixture(scope="module")
def target(settings: Settings, keys: KeyEncryption) -> Iterator[Target]:
    print(f"schemathesis: seed {SEED}, {EXAMPLES} examples an operation")
    with Loop().running() as loop:
        itself, clock = Itself(), HeldClock()
        outside = httpx.AsyncClient(transport=httpx.ASGITransport(cast(Any, itself)))
        app = itself.app = create_app(settings, clock=clock, http=outside)
        db = loop.run(Database.open(settings.identity.dsn, name="tests", max_size=4))
        lived = living(app)
        loop.run(lived.__aenter__())
        issuer = Issuer(settings, HERE, db, clock, httpx.ASGITransport(cast(Any, app)))
        machine, known = loop.run(_things(issuer, keys))
        session = requests.Session()
        session.mount("https://", ToTheApplication(loop, machine))
        yield Target(session, known)
        loop.run(lived.__aexit__(None, None, None))
        loop.run(db.close())


async def _things(issuer: Issuer, keys: KeyEncryption) -> tuple[Any, dict[str, str]]:
    now = issuer.clock()
    await add_row_of_caisse(issuer.db, HERE, now)
    async with issuer.db.transaction(HERE) as tx:
        await create_keys(tx, keys, now)
        leaked = next(key.kid for key in await signing_keys.published(tx) if key.algorithm == "EdDSA")
        made = SigningKey.generate("EdDSA")
        await revoke_key(tx, keys, leaked, now, made=made, by="operator", reason="leaked")
    who = await (await issuer.person()).sign_in()
    assert who.session_id is not None
    # One that asks people: the others are the command line's alone.
    client = await issuer.plain_client(key=SigningKey.generate("ES256"), consent="explicit")
    software = await a_machine_of_a_cabinet(issuer.db, await a_scene(issuer.db, now, caisse=HERE), now)
    known = {
        "client_id": client.client_id,
        "person": public_id("per", who.id),
        "sid": sid_of(who.session_id),
        "machine": public_id("mch", software.id),
        "kid": keys_of(software)[0]["kid"],
        "revoked": leaked,
    }
    return await a_machine(issuer), known


@schema.parametrize()
@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
def test_every_answer_is_in_the_document(case: schemathesis.Case, target: Target) -> None:
    """Every second address names something that exists, so that more than the 404 is met."""
    for name, given in case.path_parameters.items():
        if crc32(repr(given).encode()) % 2:
            case.path_parameters[name] = target.known[
                name if case.operation.path != KEY_REVOKED else "revoked"
            ]
    told = document["paths"][case.operation.path][case.operation.method]["responses"]
    # Its probes would leave this session for the network: see test_nobody_comes_in_without_a_token.
    excluded = [ignored_auth]
    if "422" in told:
        # A well-formed client may break a rule of registration.
        excluded.append(positive_data_acceptance)
    answer = case.call_and_validate(session=target.session, excluded_checks=excluded)
    target.met.setdefault(case.operation.label, set()).add(answer.status_code)


def test_more_than_refusals_were_met(target: Target) -> None:
    """Registering a client or a machine and printing letters succeed in the tests beside this one."""
    unmet = [
        f"{label}: {sorted(statuses)}"
        for label, statuses in target.met.items()
        if not statuses & {200, 201, 204}
    ]
    assert {one.partition(":")[0] for one in unmet} <= {
        "POST /admin/clients",
        "PUT /admin/clients/{client_id}",
        "POST /admin/letter-pairs",
        "POST /admin/machine-clients",
        "PUT /admin/machine-clients/{machine}/ceiling",
        "PUT /admin/machine-clients/{machine}/sponsor",
        "POST /admin/machine-clients/{machine}/keys",
        "DELETE /admin/machine-clients/{machine}/keys/{kid}",
    }, unmet
