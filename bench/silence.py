"""What an answer's time tells of an address: whether it has an account here must not be told (reliability.md P9).

The same form is posted for addresses that have an account and for as many that have none, in an order drawn by
chance, each from a network of its own. The two lists of times are compared by the Mann–Whitney rank test: |z| under
2.58 means that a difference as large as the one seen comes by chance more than once in a hundred runs. So are their
fractions of a millisecond: what waits for a timer of whole milliseconds ends in its work's own.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bench.espace_installation import CAISSE, Installation
from bench.http_load import Answer, Connection, Wrong, ask_once, connections, form_token, request
from bench.rounds import percentile
from libs.common.values.identifiers import new_id
from services.identity.sign_in.password import Passwords


class Question(NamedTuple):
    """A form that anybody may post for any address, and the status that it always has."""

    path: str
    form: dict[str, str]
    status: int
    at_once: int
    """One at a time where a processor works for the answer, more where the answer waits."""


FORGOTTEN = Question(f"/{CAISSE}/forgotten-password", {}, 200, 16)
WRONG_PASSWORD = Question(f"/{CAISSE}/sign-in", {"password": "un-mot-de-passe-faux"}, 422, 1)


async def silence(inst: Installation, host: str, *, quick: bool) -> dict[str, Any]:
    """z and the medians of each question, 1,000 addresses of each sort (100 when quick)."""
    count, seed = (100 if quick else 1000), secrets.randbelow(10_000)
    return {
        "addresses_of_each_sort": count,
        "seed": seed,
        "forgotten_password": await compared(inst, host, FORGOTTEN, count, random.Random(seed)),
        "wrong_password": await compared(inst, host, WRONG_PASSWORD, count, random.Random(seed)),
    }


async def compared(
    inst: Installation, host: str, question: Question, count: int, chance: random.Random
) -> dict[str, Any]:
    known = await people(inst, count)
    unknown = [f"{secrets.token_hex(8)}@exemple.fr" for _ in known]
    asked = [*known, *unknown]
    chance.shuffle(asked)
    took = await times(host, question, asked)
    ours, others = [took[email] for email in known], [took[email] for email in unknown]
    return {
        "z": round(mann_whitney(ours, others), 2),
        "z_of_fractions": round(mann_whitney([one % 1 for one in ours], [one % 1 for one in others]), 2),
        "known_ms_p50": round(percentile(ours, 0.5), 3),
        "unknown_ms_p50": round(percentile(others, 0.5), 3),
    }


async def people(inst: Installation, count: int) -> list[str]:
    """New persons with a password."""
    passwords, now = Passwords(), datetime.now(UTC)
    try:
        encoded = await passwords.hash(secrets.token_urlsafe(12))
    finally:
        passwords.close()
    rows = [(new_id(), f"{secrets.token_hex(8)}@exemple.fr", encoded, now) for _ in range(count)]
    async with inst.db.transaction(CAISSE) as tx:
        await tx.executemany(
            """
            INSERT INTO person (id, email, email_key, full_name, password_hash, created_at)
            VALUES ($1, $2, $2, 'Camille Martin', $3, $4)
            """,
            rows,
        )
    return [email for _, email, _, _ in rows]


async def times(host: str, question: Question, emails: Sequence[str]) -> dict[str, float]:
    """Milliseconds of each address. Raises `Wrong` at an answer that does not have the question's status."""
    page = await ask_once(host, request("GET", host, f"/{CAISSE}/sign-in", headers={"Accept": "text/html"}))
    cookies, token = form_token(page)
    took: dict[str, float] = {}
    waiting, pool = iter(emails), await connections(host, question.at_once)

    async def work(one: Connection) -> None:
        for email in waiting:
            network = ".".join(str(secrets.randbelow(250) + 1) for _ in range(3))
            headers = {
                "Cookie": cookies, "Origin": f"http://{host}", "X-Forwarded-For": f"{network}.7",
                "Accept": "text/html",
            }  # fmt: skip
            form = {"csrf_token": token, "email": email, **question.form}
            raw, began = request("POST", host, question.path, headers=headers, form=form), time.perf_counter()
            answer: Answer = await one.ask(raw)
            took[email] = (time.perf_counter() - began) * 1000
            if answer.status != question.status:
                raise Wrong(f"{answer.status} at {question.path}: {answer.body[:300]!r}")

    try:
        async with asyncio.timeout(300):
            await asyncio.gather(*(work(one) for one in pool))
    finally:
        for one in pool:
            one.close()
    return took


def mann_whitney(some: Sequence[float], others: Sequence[float]) -> float:
    """z of the rank sum, by the normal approximation: both lists are long, and times do not tie."""
    ranked = sorted([(value, True) for value in some] + [(value, False) for value in others])
    ranks = sum(rank for rank, (_, is_ours) in enumerate(ranked, 1) if is_ours)
    n, m = len(some), len(others)
    return (ranks - n * (n + m + 1) / 2) / (n * m * (n + m + 1) / 12) ** 0.5
