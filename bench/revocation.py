"""From the commit of a revocation to the first refusal, in each service, while identity carries half its load.

The path is the real one: outbox, relay of `espace work identity`, JetStream, the floors of each process. Each
service is asked again a hundredth of a second after it has answered, with a fresh proof, so what is measured includes
one call and that wait; asked without a pause, the two services filled the core by themselves.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from msgspec.structs import replace

from bench.espace_installation import CAISSE, DATABASE, Installation
from bench.espace_party import Member, a_delegation, a_member
from bench.http_load import Answer, Connection, Wrong, ask_once, closed_loop, connections, open_loop, request
from bench.oauth_party import Delegation, Party
from bench.operations import exchange_requests, introspection
from bench.rounds import Measured, percentile
from libs.common.access.dpop import dpop_proof
from libs.common.runtime.migrate import bring_up_to_date
from libs.common.runtime.settings import DatabaseSettings
from libs.common.values.identifiers import new_id, parse_public_id, public_id
from services.identity.delegation.notices import Notices
from services.identity.delegation.parties import MayManageMandates
from services.identity.delegation.revoke import revoke
from services.identity.mail.enqueue import Mail

SERVICES = ("adherent", "documents")
ASKED_FOR = {"adherent": "", "documents": "/attestations"}
STANDING = (200, 403, 404)
"""Whatever an API says of a token that it believes."""

REFUSED_WITHIN = 5.0


class Asking(NamedTuple):
    """One service, the delegated token it is shown, and the connection kept with it."""

    service: str
    url: str
    token: str
    one: Connection


async def revocation(inst: Installation, espace: Measured, *, times: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        for service in await _all_services(inst):
            host = inst.settings.service(service).base.removeprefix("http://")
            await stack.enter_async_context(inst.served(["libs.common.runtime.cli", "serve", service], host))
        rate = await stack.enter_async_context(half_load(espace))
        seen: dict[str, list[float]] = {service: [] for service in SERVICES}
        for turn in range(times + 1):
            for service, took in (await _one(inst, espace.party)).items():
                # The first one meets a relay that has just started.
                if turn:
                    seen[service].append(took)
    return {
        "revocations": times,
        "introspections_per_second_meanwhile": round(rate),
        **{
            f"{service}_ms": {
                "p50": round(percentile(values, 0.5), 1),
                "p99": round(percentile(values, 0.99), 1),
            }
            for service, values in seen.items()
        },
    }


async def _all_services(inst: Installation) -> tuple[str, ...]:
    admin = DatabaseSettings(admin_dsn=inst.postgres.dsn(DATABASE))
    await bring_up_to_date(replace(inst.settings, database=admin))
    return SERVICES


@asynccontextmanager
async def half_load(espace: Measured) -> AsyncIterator[float]:
    """Introspections at half of what a closed loop of eight gives, while the block runs; their rate."""
    host = espace.party.host
    rate = (await closed_loop(host, await introspection(espace.party, 600), at_once=8)).per_second / 2

    async def go_on() -> None:
        while True:
            # A token lives ten minutes; one is asked for each second of load.
            await open_loop(host, await introspection(espace.party, int(rate)), per_second=rate)

    load = asyncio.create_task(go_on())
    try:
        yield rate
        if load.done():
            load.result()
    finally:
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)


async def _one(inst: Installation, party: Party) -> dict[str, float]:
    """A fresh mandate, a token for each service, the revocation; milliseconds from commit to refusal."""
    member = await a_member(inst)
    delegation = await a_delegation(inst, member)
    asking = [await _shown(inst, party, member, delegation, service) for service in SERVICES]
    try:
        for each in asking:
            await _until(party, each, standing=True)
        waiting = [asyncio.create_task(_until(party, each, standing=False)) for each in asking]
        await asyncio.sleep(0.02)
        firm = MayManageMandates(member.person_id, member.adherent_id, is_stepped_up=True)
        notices, mandate_id = Notices(Mail(inst.keys), inst.settings.identity.base), delegation.mandate
        async with inst.db.transaction(CAISSE) as tx:
            await revoke(
                tx, firm, parse_public_id("mdt", mandate_id), key=str(new_id()), now=datetime.now(UTC),
                notices=notices,
            )  # fmt: skip
        committed = time.perf_counter()
        refused = await asyncio.gather(*waiting)
    finally:
        for each in asking:
            each.one.close()
    return {each.service: (at - committed) * 1000 for each, at in zip(asking, refused, strict=True)}


async def _shown(
    inst: Installation, party: Party, member: Member, delegation: Delegation, service: str
) -> Asking:
    base = inst.settings.service(service).base
    aimed = Delegation(delegation.mandate, f"{base}/{CAISSE}", delegation.cookies)
    (exchange,) = await exchange_requests(party, aimed, 1)
    answer = await ask_once(party.host, exchange.raw)
    if not exchange.check(answer):
        raise Wrong(f"{answer.status} {answer.body[:300]!r}")
    url = f"{base}/{CAISSE}/adherents/{public_id('adh', member.adherent_id)}{ASKED_FOR[service]}"
    (one,) = await connections(base.removeprefix("http://"), 1)
    return Asking(service, url, str(answer.json()["access_token"]), one)


async def _until(party: Party, asking: Asking, *, standing: bool) -> float:
    """The moment of the first answer that says so. Raises `Wrong` on any other kind of answer, and when none comes."""
    nonce: str | None = None
    deadline = time.perf_counter() + REFUSED_WITHIN
    while time.perf_counter() < deadline:
        answer = await _asked(party, asking, nonce)
        nonce = answer.header("dpop-nonce") or nonce
        if answer.status == 401 and "nonce" in answer.header("www-authenticate"):
            continue
        if answer.status not in (*STANDING, 401):
            raise Wrong(f"{asking.service}: {answer.status} {answer.body[:300]!r}")
        if (answer.status != 401) == standing:
            return time.perf_counter()
        await asyncio.sleep(0.01)
    raise Wrong(f"{asking.service}: the token {'never stood' if standing else 'was never refused'}")


async def _asked(party: Party, asking: Asking, nonce: str | None) -> Answer:
    key = party.clients["bound"].dpop
    assert key is not None
    host, _, path = asking.url.removeprefix("http://").partition("/")
    proof = dpop_proof(key, "GET", asking.url, access_token=asking.token, nonce=nonce)
    headers = {"Authorization": f"DPoP {asking.token}", "DPoP": proof}
    return await asking.one.ask(request("GET", host, f"/{path}", headers=headers))
