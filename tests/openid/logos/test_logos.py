"""A client's logo, from its address to the consent page: read by the worker, served by us, never hot-linked."""

import asyncio
import re
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from services.identity.openid.guarded_fetcher import GuardedFetcher
from services.identity.openid.logos.keep_logos import AT_ONCE, FRESH_FOR, LEASE, WAITS, read_due
from services.identity.openid.write_client import AT_THE_COMMAND_LINE, disable_client, update_client
from tests.openid.listener import Listener
from tests.openid.logos.conftest import Round
from tests.openid.logos.pictures import SVG, picture
from tests.openid.oidc_config.test_what_a_caisse_opens import a_caisse
from tests.openid.party import Issuer, Party, Somebody


async def asking(issuer: Issuer, **changes: Any) -> Party:
    """A client whose consent page is shown."""
    return await issuer.client(consent="explicit", **changes)


async def consent_page(client: Party, who: Somebody) -> httpx.Response:
    page = await client.authorize(who)
    assert 'id="accept"' in page.text
    return page


def shown_in(page: httpx.Response) -> str | None:
    found = re.search(r'<img id="logo" src="([^"]+)"', page.text)
    return found[1] if found else None


async def get(issuer: Issuer, address: str) -> httpx.Response:
    async with issuer.http() as http:
        return await http.get(address)


async def kept(issuer: Issuer, client: Party) -> Any:
    async with issuer.db.transaction(issuer.caisse) as tx:
        return await tx.fetchrow("SELECT * FROM client_logo WHERE client_id = $1", client.client_id)


# ── From the address to the page ─────────────────────────────────────────────


async def test_the_logo_is_shown_from_our_own_origin(
    issuer: Issuer, who: Somebody, server: Listener, worker: Round
) -> None:
    client = await asking(issuer, logo_uri=server.url("/logo.png"))
    assert shown_in(await consent_page(client, who)) is None
    assert await worker()
    page = await consent_page(client, who)
    address = shown_in(page)
    assert address is not None and re.fullmatch(rf"/{issuer.caisse}/client-logos/[0-9a-f]{{32}}", address)
    assert server.url("") not in page.text
    image = await get(issuer, address)
    assert image.status_code == 200 and image.content.startswith(b"\x89PNG")
    assert len(server.asked) == 1, "the page must have nobody read the client's server"


async def test_the_image_is_an_image_and_nothing_else(
    issuer: Issuer, who: Somebody, server: Listener, worker: Round
) -> None:
    client = await asking(issuer, logo_uri=server.url("/logo.png"))
    await worker()
    headers = (await get(issuer, str(shown_in(await consent_page(client, who))))).headers
    assert headers["content-type"] == "image/png" and headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox; frame-ancestors 'none'"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "set-cookie" not in headers


async def test_another_caisse_does_not_serve_it(
    issuer: Issuer, keys: KeyEncryption, who: Somebody, server: Listener, worker: Round
) -> None:
    client = await asking(issuer, logo_uri=server.url("/logo.png"))
    await worker()
    address = str(shown_in(await consent_page(client, who)))
    other = await a_caisse(issuer, keys)
    answer = await get(issuer, address.replace(issuer.caisse, other.caisse, 1))
    assert answer.status_code == 404


@pytest.mark.parametrize("name", ["0" * 32, "x", "..%2f..%2fetc%2fpasswd", "A" * 32, "0" * 33])
async def test_a_name_that_is_nobodys_is_not_found(issuer: Issuer, name: str) -> None:
    assert (await get(issuer, f"/{issuer.caisse}/client-logos/{name}")).status_code == 404


async def test_policy_and_terms_are_links_that_say_where_they_lead(issuer: Issuer, who: Somebody) -> None:
    client = await asking(
        issuer, policy_uri="https://privacy.client.example/p?a=1", tos_uri="https://xn--clint-esa.example/t"
    )
    # Typography binds short words by a no-break space.
    text = (await consent_page(client, who)).text.replace("\xa0", " ")
    policy = re.search(r'<a id="policy" href="([^"]+)" rel="noopener noreferrer">([^<]+)</a>', text)
    terms = re.search(r'<a id="terms" href="([^"]+)" rel="noopener noreferrer">([^<]+)</a>', text)
    assert policy and policy[1] == "https://privacy.client.example/p?a=1"
    assert policy[2] == "Comment vos données sont utilisées, sur privacy.client.example"
    assert terms and terms[2] == "Conditions d’utilisation, sur xn--clint-esa.example"


# ── Following the client ─────────────────────────────────────────────────────


async def test_an_update_reads_it_again_and_another_address_drops_the_former_at_once(
    issuer: Issuer, who: Somebody, server: Listener, worker: Round
) -> None:
    server.pages["/logo.png"] = picture(colour=(1, 2, 3))
    client = await asking(issuer, logo_uri=server.url("/logo.png"))
    await worker()
    former = shown_in(await consent_page(client, who))
    server.pages["/logo.png"] = picture(colour=(200, 0, 0))
    issuer.clock.forward(seconds=1)
    await updated(issuer, client, logo_uri=server.url("/logo.png"))
    await worker()
    second = shown_in(await consent_page(client, who))
    assert second not in (former, None)
    server.pages["/other.png"] = picture(colour=(0, 200, 0))
    issuer.clock.forward(seconds=1)
    await updated(issuer, client, logo_uri=server.url("/other.png"))
    assert shown_in(await consent_page(client, who)) is None
    await worker()
    assert shown_in(await consent_page(client, who)) not in (former, second, None)
    assert (await get(issuer, str(former))).status_code == 404


async def updated(issuer: Issuer, client: Party, **changes: Any) -> None:
    from msgspec.structs import replace

    from services.identity.openid import store

    async with issuer.db.transaction(issuer.caisse) as tx:
        known = await store.load_client(tx, client.client_id)
        assert known is not None
        await update_client(
            tx, known, replace(known.metadata, **changes), now=issuer.clock(), plain_http=True, by=AT_THE_COMMAND_LINE
        )  # fmt: skip


async def test_the_sweep_reads_it_again_after_a_week_and_not_before(
    issuer: Issuer, server: Listener, worker: Round
) -> None:
    await asking(issuer, logo_uri=server.url("/logo.png"))
    await worker()
    issuer.clock.now += FRESH_FOR - timedelta(seconds=1)
    await worker()
    assert len(server.asked) == 1
    issuer.clock.forward(seconds=1)
    await worker()
    assert len(server.asked) == 2


async def test_a_client_that_is_disabled_or_has_no_logo_any_more_leaves_nothing(
    issuer: Issuer, server: Listener, worker: Round
) -> None:
    gone, plain = [await asking(issuer, logo_uri=server.url("/logo.png")) for _ in range(2)]
    await worker()
    issuer.clock.forward(seconds=1)
    async with issuer.db.transaction(issuer.caisse) as tx:
        await disable_client(tx, gone.client_id, now=issuer.clock())
    await updated(issuer, plain, logo_uri=None)
    await worker()
    assert await kept(issuer, gone) is None and await kept(issuer, plain) is None


# ── Dead, slow and hostile addresses ─────────────────────────────────────────


async def test_a_dead_address_shows_nothing_and_is_asked_less_and_less(
    issuer: Issuer, who: Somebody, listener: Listener, worker: Round
) -> None:
    client = await asking(issuer, logo_uri=listener.url("/nothing.png"))
    await worker()
    page = await consent_page(client, who)
    assert "<img" not in page.text
    for wait in (*WAITS, WAITS[-1]):
        asked = len(listener.asked)
        issuer.clock.now += wait - timedelta(seconds=1)
        await worker()
        assert len(listener.asked) == asked
        issuer.clock.forward(seconds=1)
        await worker()
        assert len(listener.asked) == asked + 1


async def test_what_we_have_outlives_a_dead_server_but_not_a_wrong_answer(
    issuer: Issuer, who: Somebody, server: Listener, worker: Round
) -> None:
    client = await asking(issuer, logo_uri=server.url("/logo.png"))
    await worker()
    image = server.pages.pop("/logo.png")
    issuer.clock.now += FRESH_FOR
    await worker()
    assert shown_in(await consent_page(client, await (await issuer.person()).sign_in())) is not None
    server.pages["/logo.png"] = SVG
    issuer.clock.now += WAITS[0]
    await worker()
    assert shown_in(await consent_page(client, await (await issuer.person()).sign_in())) is None
    server.pages["/logo.png"] = image
    issuer.clock.now += WAITS[1]
    await worker()
    assert shown_in(await consent_page(client, await (await issuer.person()).sign_in())) is not None


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (SVG, "image/svg+xml", "not declared as"),
        (SVG, "image/png", "cannot be read"),
        (b"<!doctype html><script>alert(1)</script>", "image/png", "cannot be read"),
        (b"<!doctype html><script>alert(1)</script>", "text/html", "not declared as"),
        (b"\x89PNG\r\n\x1a\n" + bytes(10 * 1024 * 1024), "image/png", "too large"),
    ],
    ids=["svg", "svg-as-png", "html-as-png", "html", "ten-megabytes"],
)
async def test_what_is_no_logo_is_never_kept(
    issuer: Issuer, listener: Listener, worker: Round, body: bytes, content_type: str, said: str
) -> None:
    listener.pages["/logo"], listener.content_type = body, content_type
    client = await asking(issuer, logo_uri=listener.url("/logo"))
    await worker()
    row = await kept(issuer, client)
    assert row["image"] is None and said in row["last_answer"]


async def test_a_redirect_to_a_private_address_is_not_followed(
    issuer: Issuer, listener: Listener, worker: Round
) -> None:
    listener.redirect_to = "http://169.254.169.254/latest/meta-data"
    client = await asking(issuer, logo_uri=listener.url("/logo"))
    await worker()
    row = await kept(issuer, client)
    assert row["image"] is None and row["last_answer"] == "status 302" and len(listener.asked) == 1


async def test_a_private_address_is_never_asked(
    issuer: Issuer, server: Listener, identity_relay: Database
) -> None:
    client = await asking(issuer, logo_uri=server.url("/logo.png"))
    await read_due(GuardedFetcher(), identity_relay, issuer.clock())
    assert (await kept(issuer, client))["last_answer"] == "not https" and server.asked == []


async def test_slow_servers_delay_nobody(
    issuer: Issuer, who: Somebody, server: Listener, identity_relay: Database
) -> None:
    from tests.openid.listener import listening

    async with listening() as slow:
        slow.delay = 5.0
        for _ in range(AT_ONCE - 1):
            await asking(issuer, logo_uri=slow.url("/logo.png"))
        quick = await asking(issuer, logo_uri=server.url("/logo.png"))
        began = time.monotonic()
        await read_due(GuardedFetcher(["127.0.0.1"], longest=1.0), identity_relay, issuer.clock())
        assert time.monotonic() - began < 4.0
    assert shown_in(await consent_page(quick, who)) is not None


async def test_two_workers_read_an_address_once(issuer: Issuer, server: Listener, worker: Round) -> None:
    await asking(issuer, logo_uri=server.url("/logo.png"))
    await asyncio.gather(*(worker() for _ in range(4)))
    assert len(server.asked) == 1


async def test_a_worker_killed_while_reading_leaves_the_logo_to_the_next(
    issuer: Issuer, server: Listener, worker: Round
) -> None:
    client = await asking(issuer, logo_uri=server.url("/logo.png"))
    server.delay = 5.0
    dying = asyncio.ensure_future(worker())
    await server.arrived.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    server.delay = 0.0
    await worker()
    assert (await kept(issuer, client))["image"] is None
    issuer.clock.now += LEASE
    while await worker():
        pass
    assert (await kept(issuer, client))["image"] is not None
