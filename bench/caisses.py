"""One caisse against a thousand on one installation: creation, documents, tokens, logins, in the same rounds.

The requests of the large one are spread evenly over all its caisses: each of them comes back once in a thousand
requests, so that what is kept per caisse must serve, or cost. Both have an empty database otherwise.
"""

import time
from datetime import UTC, datetime
from typing import Any

from bench.espace_installation import CAISSE, Installation, open_caisse
from bench.espace_party import EVERYTHING
from bench.figures import spread
from bench.http_load import Prepared, ask_each
from bench.login import Visitors
from bench.oauth_party import REDIRECT, Client, Party
from bench.operations import Prepare, has
from bench.rounds import Measured, closed_rounds, open_rounds
from libs.common.access.signatures import SigningKey
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, ClientMetadata
from services.identity.openid.write_client import register_client
from services.identity.signing_keys import store as signing_keys
from services.identity.signing_keys.sealing import PURPOSE, context

AT_ONCE = 8


async def populate(inst: Installation, count: int) -> tuple[list[CaisseSlug], list[float]]:
    """Create caisses until there are `count`; their slugs, and the milliseconds that each creation took."""
    slugs, took = [CAISSE], list[float]()
    for place in range(count - 1):
        slug = parse_caisse_slug(f"caisse-{place}")
        began = time.perf_counter()
        await open_caisse(inst.db, inst.keys, slug)
        took.append((time.perf_counter() - began) * 1000)
        slugs.append(slug)
    await _give_rsa_keys(inst, slugs)
    return slugs, took


async def _give_rsa_keys(inst: Installation, slugs: list[CaisseSlug]) -> None:
    """One pair for all: each caisse makes its own at its first request, a quarter of a second we need not wait for."""
    for key in (SigningKey.generate("PS256"), SigningKey.generate("RS256")):
        for slug in slugs:
            sealed = inst.keys.seal(PURPOSE, key.pem().encode(), context=context(slug, key.kid))
            async with inst.db.transaction(slug) as tx:
                await signing_keys.add(
                    tx, kid=key.kid, algorithm=key.alg, state="active", public_jwk=key.published_jwk(),
                    sealed=sealed, now=datetime.now(UTC),
                )  # fmt: skip


async def with_clients(inst: Installation, name: str, slugs: list[CaisseSlug]) -> list[Party]:
    """A party a caisse, each with its own client that has a secret."""
    parties: list[Party] = []
    said = ClientMetadata(
        client_name="Logiciel mesuré", profile="compat", token_endpoint_auth_method="client_secret_basic",
        redirect_uris=(REDIRECT,), grant_types=(CODE, CLIENT_CREDENTIALS), scope=EVERYTHING,
    )  # fmt: skip
    for slug in slugs:
        async with inst.db.transaction(slug) as tx:
            made = await register_client(tx, said, now=datetime.now(UTC), plain_http=True)
        client = Client(made.client_id, made.secret, SigningKey.generate("ES256"), None)
        issuer = f"{inst.settings.identity.base}/{slug}"
        parties.append(Party(name, inst.host, issuer, {"plain": client}))
    return parties


def over_all(by_name: dict[str, list[Party]], kind: str) -> Prepare:
    """Requests that go round the caisses of the party's installation."""

    async def prepare(party: Party, count: int) -> list[Prepared]:
        each = by_name[party.name]
        if kind == "discovery":
            once = [Prepared(one.get("/.well-known/openid-configuration"), has("issuer")) for one in each]
        else:
            form = {"grant_type": "client_credentials"}
            once = [Prepared(one.post("/token", "plain", form), has("access_token")) for one in each]
        return [once[place % len(once)] for place in range(count)]

    return prepare


async def one_against_many(
    few: Installation, few_pid: int, many: Installation, many_pid: int, slugs: list[CaisseSlug],
    took: list[float], *, rounds: int, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    by_name = {
        "one": await with_clients(few, "one", [CAISSE]),
        "many": await with_clients(many, "many", slugs),
    }
    pair = [
        Measured(by_name["one"][0], few_pid, few.postgres_pid),
        Measured(by_name["many"][0], many_pid, many.postgres_pid),
    ]
    # Every caisse is opened once before anything is counted.
    await ask_each(many.host, [one.get("/jwks") for one in by_name["many"]])
    visitors = {
        "one": await Visitors.at(few, few.host),
        "many": await Visitors.at(many, many.host, slugs[:200]),
    }

    async def logins(party: Party, count: int) -> list[Prepared]:
        return await visitors[party.name].prepare(party, count)

    operations: dict[str, Prepare] = {
        "discovery": over_all(by_name, "discovery"), "client_credentials": over_all(by_name, "token"),
        "login": logins,
    }  # fmt: skip
    return {
        "caisses": len(slugs),
        "caisse_created_ms": spread(took, 1),
        **{
            name: await _compared(
                pair, prepare, rounds=rounds, seconds=seconds * (6 if name == "login" else 1)
            )
            for name, prepare in operations.items()
        },
    }


async def _compared(pair: list[Measured], prepare: Prepare, *, rounds: int, seconds: float) -> dict[str, Any]:
    closed = await closed_rounds(pair, prepare, rounds=rounds, seconds=seconds, at_once=[AT_ONCE])
    slowest = min(by[f"c{AT_ONCE}"]["per_second"]["median"] for by in closed.values())
    opened = await open_rounds(pair, prepare, rounds=rounds, seconds=seconds, per_second=slowest / 2)
    one, many = closed["one"][f"c{AT_ONCE}"], closed["many"][f"c{AT_ONCE}"]
    return {
        "cpu_us_one": one["cpu_us"],
        "cpu_us_many": many["cpu_us"],
        "cpu_many_over_one": round(many["cpu_us"]["median"] / one["cpu_us"]["median"], 3),
        "p99_ms_one": opened["one"]["p99_ms"],
        "p99_ms_many": opened["many"]["p99_ms"],
        "p99_many_over_one": round(opened["many"]["p99_ms"]["median"] / opened["one"]["p99_ms"]["median"], 3),
    }
