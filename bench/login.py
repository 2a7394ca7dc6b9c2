"""A login by password, whole, against the slow hash alone; and what else the process does meanwhile.

Whole: the posted form with its CSRF token, the throttles, Argon2id, a session row, a new device, the redirect to
the portal. Everybody signs in once, from a network of their own (`X-Forwarded-For` of the one trusted proxy), as
on the morning a declaration is due.
"""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any

from bench.espace_installation import CAISSE, Installation
from bench.espace_party import email_of
from bench.figures import spread
from bench.http_load import Answer, Prepared, ask_once, closed_loop, form_token, open_loop, request
from bench.oauth_party import Party
from bench.operations import introspection
from bench.processes import on_server_core
from bench.rounds import Measured, one_window, percentile
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.identity.sign_in.password import Passwords
from services.identity.sign_in.session import cookie_name
from services.registry import ROOT

PASSWORD = "trois-camions-sur-le-port"
AT_ONCE = 8
CHECKS_PER_SECOND = 40


class Visitors:
    """People who have not signed in yet, one page's CSRF token, and the forms they will post."""

    def __init__(
        self, inst: Installation, host: str, encoded: str, csrf: dict[CaisseSlug, tuple[str, str]]
    ) -> None:
        self._inst, self._host, self._encoded, self._csrf = inst, host, encoded, csrf

    @classmethod
    async def at(cls, inst: Installation, host: str, caisses: list[CaisseSlug] | None = None) -> "Visitors":
        passwords = Passwords()
        try:
            encoded = await passwords.hash(PASSWORD)
        finally:
            passwords.close()
        csrf = {slug: await _form_token(host, slug) for slug in (caisses or [CAISSE])}
        return cls(inst, host, encoded, csrf)

    @property
    def encoded(self) -> str:
        return self._encoded

    async def prepare(self, party: Party, count: int) -> list[Prepared]:
        """One login each, spread over the caisses."""
        people, now, slugs = [new_id() for _ in range(count)], datetime.now(UTC), list(self._csrf)
        async with self._inst.db.transaction(CAISSE) as tx:
            await tx.executemany(
                """
                INSERT INTO person (id, email, email_key, full_name, password_hash, created_at)
                VALUES ($1, $2, $2, 'Camille Martin', $3, $4)
                """,
                [(person, email_of(person), self._encoded, now) for person in people],
            )
        return [self._posted(slugs[place % len(slugs)], email_of(one)) for place, one in enumerate(people)]

    def _posted(self, slug: CaisseSlug, email: str) -> Prepared:
        cookies, token = self._csrf[slug]
        network = ".".join(str(secrets.randbelow(250) + 1) for _ in range(3))
        headers = {
            "Cookie": cookies, "Origin": f"http://{self._host}", "X-Forwarded-For": f"{network}.7",
            "Accept": "text/html",
        }  # fmt: skip
        form = {"csrf_token": token, "email": email, "password": PASSWORD}
        raw = request("POST", self._host, f"/{slug}/sign-in", headers=headers, form=form)
        opened = cookie_name(slug)

        def is_signed_in(answer: Answer) -> bool:
            return answer.status == 303 and any(
                line.startswith(opened) for line in answer.headers("set-cookie")
            )

        return Prepared(raw, is_signed_in)


async def _form_token(host: str, slug: CaisseSlug) -> tuple[str, str]:
    """The browser's cookie and the token of the sign-in page."""
    page = request("GET", host, f"/{slug}/sign-in", headers={"Accept": "text/html"})
    return form_token(await ask_once(host, page))


async def login(inst: Installation, espace: Measured, *, rounds: int, quick: bool) -> dict[str, Any]:
    """Bare, whole, bare, whole …; then token checks beside logins that fill the queue."""
    seconds = 1.0 if quick else 3.0
    visitors = await Visitors.at(inst, espace.party.host)
    bare: list[tuple[float, float]] = []
    whole: list[dict[str, float]] = []
    await closed_loop(espace.party.host, await visitors.prepare(espace.party, 16), at_once=AT_ONCE)
    for _ in range(rounds):
        bare.append(await _bare(seconds, visitors.encoded))
        people = await visitors.prepare(espace.party, max(AT_ONCE, int(bare[-1][0] * seconds)))
        whole.append(await one_window(espace, people, AT_ONCE))
    rates, costs = [one for one, _ in bare], [one for _, one in bare]
    spent = [one["cpu_us"] + one["database_cpu_us"] for one in whole]
    return {
        "bare_argon2_per_second": spread(rates),
        "logins_per_second": spread([one["per_second"] for one in whole]),
        "logins_over_bare": spread(
            [one["per_second"] / rate for one, rate in zip(whole, rates, strict=True)]
        ),
        "bare_argon2_cpu_us": spread(costs, 0),
        "login_cpu_us": spread([one["cpu_us"] for one in whole], 0),
        "login_database_cpu_us": spread([one["database_cpu_us"] for one in whole], 0),
        # The same question asked of the CPU: another program on this core disturbs it less.
        "bare_cpu_over_login_cpu": spread([cost / one for cost, one in zip(costs, spent, strict=True)]),
        "token_checks": await _checks_meanwhile(espace, visitors, rates[-1], rounds=rounds, seconds=seconds),
    }


async def _bare(seconds: float, encoded: str) -> tuple[float, float]:
    """A second, and CPU in µs of one."""
    with on_server_core():
        process = await asyncio.create_subprocess_exec(
            str(ROOT / ".venv" / "bin" / "python"), "-m", "bench.bare_argon2", str(seconds), encoded, PASSWORD,
            stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
    said, _ = await process.communicate()
    rate, cost = map(float, said.split())
    return rate, cost


async def _checks_meanwhile(
    espace: Measured, visitors: Visitors, rate: float, *, rounds: int, seconds: float
) -> dict[str, Any]:
    """Introspections at a fixed rate, alone and beside four times as many logins as there are cores."""
    alone: list[float] = []
    beside: list[float] = []
    host, count = espace.party.host, int(CHECKS_PER_SECOND * seconds)
    for _ in range(rounds):
        checks = await introspection(espace.party, count)
        alone += (await open_loop(host, checks, per_second=CHECKS_PER_SECOND)).latencies_ms
        people = await visitors.prepare(espace.party, int(rate * (seconds + 0.5)))
        logins = asyncio.create_task(closed_loop(host, people, at_once=AT_ONCE))
        await asyncio.sleep(0.2)
        beside += (await open_loop(host, checks, per_second=CHECKS_PER_SECOND)).latencies_ms
        await logins
    return {
        "rate": CHECKS_PER_SECOND,
        "p50_ms_alone": round(percentile(alone, 0.5), 2),
        "p99_ms_alone": round(percentile(alone, 0.99), 2),
        "p50_ms_while_logins_saturate": round(percentile(beside, 0.5), 2),
        "p99_ms_while_logins_saturate": round(percentile(beside, 0.99), 2),
    }
