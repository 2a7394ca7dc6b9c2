"""Discovery says what each caisse opens, both directions, and follows its changes within a second."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import new_id
from services.identity.app import create_app
from services.identity.caisses.caisse import OpenRegistration
from services.identity.openid import client_store, discovery
from services.identity.openid.clients import CLIENT_CREDENTIALS
from services.identity.openid.write_client import disable_client
from services.identity.signing_keys.rotation import create_keys
from tests.openid.listener import Listener
from tests.openid.party import Issuer, Somebody, add_row_of_caisse

CALLBACK = "https://client.example/cb"
METHODS = (*discovery.AUTHENTICATION_METHODS, *discovery.COMPAT_METHODS)
WITHIN = 5.0
"""Seconds: the second that is promised, and the time to ask on a machine that does other things."""


@pytest.fixture(scope="module")
async def caisses(issuer: Issuer, keys: KeyEncryption) -> dict[str, Issuer]:
    """One caisse of each kind, whose settings no test changes."""
    return {choice: await a_caisse(issuer, keys, choice) for choice in ("closed", "standard", "compat")}  # type: ignore[misc]


async def a_caisse(issuer: Issuer, keys: KeyEncryption, choice: OpenRegistration = "closed") -> Issuer:
    slug = parse_caisse_slug(f"caisse-{secrets.token_hex(4)}")
    await add_row_of_caisse(issuer.db, slug, issuer.clock())
    async with issuer.db.transaction(slug) as tx:
        await create_keys(tx, keys, issuer.clock())
    here = replace(issuer, caisse=slug)
    await here.opens(choice)
    return here


async def registers(here: Issuer, **metadata: Any) -> httpx.Response:
    """Somebody without a token registers."""
    body = {"redirect_uris": [CALLBACK], "jwks": {"keys": [SigningKey.generate("ES256").published_jwk()]}}
    async with here.http() as http:
        return await http.post(f"/{here.caisse}/register", json=body | metadata)


async def until(here: Issuer, holds: Callable[[dict[str, Any]], bool]) -> float:
    """Seconds until the document says so; fails past `WITHIN`."""
    began = time.monotonic()
    while not holds(await here.told()):
        assert time.monotonic() - began < WITHIN, "the document did not follow"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def says_compat(told: dict[str, Any]) -> bool:
    """All of what compat means, or nothing of it: never one member without another."""
    said = {
        told["request_uri_parameter_supported"],
        *(method in told[f"{place}_endpoint_auth_methods_supported"]
          for place in ("token", "revocation", "introspection") for method in discovery.COMPAT_METHODS),
    }  # fmt: skip
    assert len(said) == 1, told
    return said.pop()


# ── Both directions, caisse by caisse ────────────────────────────────────────


@pytest.mark.parametrize("choice", ["closed", "standard", "compat"])
async def test_registration_is_advertised_where_it_is_accepted(
    caisses: dict[str, Issuer], choice: str
) -> None:
    here = caisses[choice]
    accepted = (await registers(here, token_endpoint_auth_method="none")).status_code == 201
    assert accepted == ("registration_endpoint" in await here.told()) == (choice != "closed")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("choice", ["standard", "compat"])
async def test_a_method_is_advertised_where_somebody_can_register_it(
    caisses: dict[str, Issuer], choice: str, method: str
) -> None:
    here = caisses[choice]
    accepted = (await registers(here, token_endpoint_auth_method=method)).status_code == 201
    assert accepted == (method in (await here.told())["token_endpoint_auth_methods_supported"])


@pytest.mark.parametrize("choice", ["closed", "standard", "compat"])
async def test_every_method_advertised_opens_the_token_endpoint(
    caisses: dict[str, Issuer], choice: str
) -> None:
    here = caisses[choice]
    quiet: dict[str, Any] = {"grant_types": (CLIENT_CREDENTIALS,), "response_types": (), "redirect_uris": ()}
    for method in (await here.told())["token_endpoint_auth_methods_supported"]:
        if method == "none":
            continue
        profile = "compat" if method in discovery.COMPAT_METHODS else "standard"
        client = await here.client(**quiet, profile=profile, token_endpoint_auth_method=method)
        answer = await client.post("/token", {"grant_type": CLIENT_CREDENTIALS})
        assert answer.status_code == 200, (method, answer.text)


@pytest.mark.parametrize("choice", ["closed", "standard", "compat"])
async def test_every_id_token_algorithm_advertised_may_be_registered(
    caisses: dict[str, Issuer], choice: str
) -> None:
    """RS256 too, in every caisse: Discovery §3 requires it, and a `standard` client may choose it."""
    here = caisses[choice]
    told = (await here.told())["id_token_signing_alg_values_supported"]
    assert "RS256" in told
    for algorithm in told:
        await here.client(id_token_signed_response_alg=algorithm)


@pytest.mark.parametrize("choice", ["closed", "standard", "compat"])
async def test_a_request_uri_is_fetched_where_it_is_advertised(
    caisses: dict[str, Issuer], choice: str, listener: Listener
) -> None:
    here = caisses[choice]
    told = await here.told()
    key, address = SigningKey.generate("ES256"), listener.url("/request")
    # Elsewhere than in `compat` its address cannot even be registered.
    compat = told["request_uri_parameter_supported"]
    registered = {"profile": "compat", "request_uris": (address,)} if compat else {"profile": "standard"}
    client = await here.client(
        **registered, key=key, jwks={"keys": [key.published_jwk()]},
        token_endpoint_auth_method="private_key_jwt", id_token_signed_response_alg="ES256",
    )  # fmt: skip
    claims = {"iss": client.client_id, "aud": here.url, "client_id": client.client_id, "response_type": "code",
              "redirect_uri": CALLBACK, "scope": "openid", "state": "s"}  # fmt: skip
    listener.pages["/request"] = sign_compact(key, {"alg": "ES256", "kid": key.kid}, claims).encode()
    visitor = Somebody(here, new_id(), "nobody@example.test")
    answer = await visitor.get(
        f"/{here.caisse}/authorize?{urlencode({'client_id': client.client_id, 'request_uri': address})}"
    )
    if compat:
        assert "/sign-in" in answer.headers["location"] and listener.asked
    else:
        assert answer.status_code == 400 and "request_uri_not_supported" in answer.text
        assert listener.asked == []


# ── It follows the caisse, in every process ──────────────────────────────────


@pytest.fixture
async def elsewhere(issuer: Issuer) -> AsyncIterator[httpx.ASGITransport]:
    """Another process of the same installation: an application with its own rings and documents."""
    app = create_app(issuer.settings, clock=issuer.clock)
    started, over = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        async with app.lifespan():
            started.set()
            await over.wait()

    serving = asyncio.create_task(serve())
    await started.wait()
    yield httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    over.set()
    await serving


async def test_what_is_opened_then_closed_is_told_within_a_second_by_every_process(
    issuer: Issuer, keys: KeyEncryption, elsewhere: httpx.ASGITransport
) -> None:
    here = await a_caisse(issuer, keys)
    both = (here, replace(here, transport=elsewhere))
    for one in both:
        assert not says_compat(await one.told())
    choices: tuple[OpenRegistration, ...] = ("compat", "standard", "closed")
    for choice in choices:
        await here.opens(choice)
        for one in both:
            await until(one, lambda told, choice=choice: says_compat(told) == (choice == "compat"))
            await until(
                one, lambda told, choice=choice: ("registration_endpoint" in told) == (choice != "closed")
            )


async def test_a_compat_client_of_the_operator_opens_what_it_uses_and_only_as_long_as_it_is_there(
    issuer: Issuer, keys: KeyEncryption
) -> None:
    here = await a_caisse(issuer, keys)
    assert not says_compat(await here.told())
    client = await here.plain_client()
    await until(here, says_compat)
    assert "registration_endpoint" not in await here.told()
    async with here.db.transaction(here.caisse) as tx:
        await disable_client(tx, client.client_id, now=here.clock())
    await until(here, lambda told: not says_compat(told))


@pytest.mark.parametrize(("profile", "compat"), [("standard", False), ("compat", True)])
async def test_an_initial_access_token_opens_registration_until_it_is_spent(
    issuer: Issuer, keys: KeyEncryption, profile: str, compat: bool
) -> None:
    here = await a_caisse(issuer, keys)
    token, now = secrets.token_urlsafe(24), here.clock()
    hashed = hashlib.sha256(token.encode()).digest()
    async with here.db.transaction(here.caisse) as tx:
        await client_store.add_initial_token(
            tx, hashed, profile=profile, uses=1, expires_at=now + timedelta(days=1), now=now
        )
    await until(here, lambda told: "registration_endpoint" in told)
    assert says_compat(await here.told()) == compat
    async with here.db.transaction(here.caisse) as tx:
        await client_store.spend_initial_token(tx, hashed, now)
    await until(here, lambda told: "registration_endpoint" not in told)


async def test_another_caisse_opens_nothing_here(caisses: dict[str, Issuer]) -> None:
    assert says_compat(await caisses["compat"].told())
    assert not says_compat(await caisses["closed"].told())
    assert not says_compat(await caisses["standard"].told())
