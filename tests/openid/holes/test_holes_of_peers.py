"""openid.md §4: each class of hole found in a peer, on our endpoints.

Held elsewhere: code and refresh races (tests/openid/lines), sibling gates and
header injection (tests/openid/kernel), registration tampering
(tests/openid/oidc_dynamic), logout CSRF (tests/openid/oidc_logout), sign-in,
letters, mail and factors (tests/identity).
"""

import asyncio
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest

from services.identity.openid.client_rules import InvalidClientMetadata
from services.identity.openid.guarded_fetcher import FetchRefused, GuardedFetcher
from tests.openid.listener import Listener
from tests.openid.party import Issuer, Party, Somebody, callback, claims_of

GOOD = "https://client.example/cb"


@pytest.fixture
async def public(issuer: Issuer) -> Party:
    return await issuer.client(token_endpoint_auth_method="none")


@pytest.fixture
async def who(issuer: Issuer) -> Somebody:
    return await (await issuer.person()).sign_in()


def mutants() -> list[str]:
    """Two hundred addresses that some parser has taken for `https://client.example/cb`."""
    made = [
        "https://user@client.example/cb", "https://client.example@evil.example/cb", "https://client.example:443/cb",
        "https://evil.example@@client.example/cb", "https://client.example\\@evil.example/cb", "//client.example/cb",
        "https://client.example/cb/", "https://client.example/CB", "https://CLIENT.example/cb",
        "HTTPS://client.example/cb", "http://client.example/cb", "https://client.example/cb?", GOOD + "#", GOOD + "#x",
        "https://client.example/./cb", "https://client.example/x/../cb", "https://client.example//cb",
        "https://clientXexample/cb", "https://client.example.evil.example/cb", "https://evil.example/client.example/cb",
        "https://client.example%2fcb", "https://client.example/%63b", "https://client.example/cb%00", GOOD + "%20",
        "https://client.example/cb;x", "https://xn--client-example/cb", "https://client。example/cb",
        "https://clıent.example/cb", "https://client.example/cb\u200b", "javascript:alert(1)//client.example/cb",
        "data:text/html,https://client.example/cb", "https:client.example/cb", "https:/client.example/cb",
        "https:///client.example/cb", "https://client.example\t/cb", " https://client.example/cb", GOOD + " ",
        "https://127.0.0.1/cb", "https://localhost/cb", "https://[::1]/cb", "com.example.app:/cb", "", "*", "null",
        "https://client.example/cb?next=https://evil.example", "https://client.example/cb&x=1", "/cb", "cb",
    ]  # fmt: skip
    inserted = "@:/\\?#%.;&=+*,!~'()[]{}|^`<>\"- \t"
    places = (0, 5, 8, 14, len(GOOD) - 3, len(GOOD))
    made += [GOOD[:place] + character + GOOD[place:] for character in inserted for place in places]
    return list(dict.fromkeys(made))[:220]


async def test_redirect_parsing_two_hundred_mutants(public: Party, who: Somebody) -> None:
    path = f"/{public.issuer.caisse}/authorize?"
    assert len(mutants()) >= 200
    for mutant in mutants():
        answer = await who.get(path + urlencode({**public.request(), "redirect_uri": mutant}))
        assert answer.status_code == 400 and "location" not in answer.headers, mutant


async def test_redirect_parsing_double_encoding(public: Party, who: Somebody) -> None:
    said = {name: value for name, value in public.request().items() if name != "redirect_uri"}
    query = urlencode(said) + "&redirect_uri=" + quote(quote(GOOD, safe=""), safe="")
    assert (await who.get(f"/{public.issuer.caisse}/authorize?{query}")).status_code == 400


@pytest.mark.parametrize("mode", ["query", "form_post", "fragment", "query.jwt", "jwt", "x"])
async def test_open_redirect_by_mode(public: Party, who: Somebody, mode: str) -> None:
    for uri in ("https://evil.example", "javascript:alert(1)", "https://client.example@evil.example/cb"):
        answer = await public.authorize(who, redirect_uri=uri, response_mode=mode)
        assert answer.status_code == 400 and uri not in answer.text


async def test_session_fixation_a_flow_of_another_browser_is_refused(public: Party, issuer: Issuer) -> None:
    attacker, victim = await issuer.person(), await issuer.person()
    flow = (await public.authorize(attacker)).headers["location"].partition("flow=")[2]
    await victim.sign_in()
    answer = await victim.get(f"/{issuer.caisse}/authorize/continue?flow={flow}")
    assert answer.status_code == 400 and "location" not in answer.headers


@pytest.mark.parametrize("flow", ["", "x", "6f1c1f0e-3f5a-4c39-9a53-3a1f6d1a7b10", "' OR 1=1", "../../x"])
async def test_forged_flow_restart_enables_nothing(who: Somebody, flow: str) -> None:
    answer = await who.get(f"/{who.issuer.caisse}/authorize/continue?{urlencode({'flow': flow})}")
    assert answer.status_code == 400


async def test_a_finished_flow_gives_nothing_more(public: Party, who: Somebody, issuer: Issuer) -> None:
    page = await public.authorize(who)
    onward = await who.submit(page, choice="accept")
    assert "code" in callback(await who.get(onward.headers["location"]))
    again = await who.get(onward.headers["location"])
    assert again.status_code == 400


async def test_of_ten_last_clicks_one_gets_the_code(public: Party, who: Somebody) -> None:
    onward = (await who.submit(await public.authorize(who), choice="accept")).headers["location"]
    answers = await asyncio.gather(*(who.get(onward) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [303] + [400] * 9


async def test_consent_cannot_be_skipped_by_address(public: Party, who: Somebody, issuer: Issuer) -> None:
    import re

    page = await public.authorize(who)
    found = re.search(r'name="flow" value="([^"]+)"', page.text)
    assert found is not None
    answer = await who.get(f"/{issuer.caisse}/authorize/continue?flow={found[1]}")
    assert answer.status_code == 200 and 'id="accept"' in answer.text


async def test_consent_to_one_thing_never_covers_another(public: Party, who: Somebody) -> None:
    """What was shown is bound to the button."""
    page = await public.authorize(who)
    onward = await who.submit(page, choice="accept", shown="0" * 32)
    assert 'id="accept"' in (await who.get(onward.headers["location"])).text


async def test_the_firm_of_another_person_cannot_be_chosen(issuer: Issuer) -> None:
    from libs.common.values.identifiers import public_id

    who = await (await issuer.person(firms=2)).sign_in()
    other = await issuer.person()
    client = await issuer.client()
    page = await client.authorize(who)
    stolen = await who.submit(page, firm=public_id("acc", other.accounts[0][0]))
    assert stolen.status_code == 422 and "Choisissez une entreprise" in stolen.text
    mine = await who.submit(page, firm=public_id("acc", who.accounts[1][0]))
    code = callback(await who.get(mine.headers["location"]))["code"]
    token = (await client.redeem(code)).json()["access_token"]
    assert claims_of(token)["adherent"] == public_id("adh", who.accounts[1][1])


async def test_answers_of_one_person_do_not_serve_the_next(issuer: Issuer) -> None:
    """A firm chosen by one person is no choice of whoever signs in next in the same flow."""
    from libs.common.values.identifiers import public_id

    first, second = await (await issuer.person(firms=2)).sign_in(), await issuer.person(firms=2)
    client = await issuer.client(consent="explicit")
    page = await client.authorize(first)
    onward = await first.submit(page, firm=public_id("acc", first.accounts[0][0]))
    second.cookies = {**first.cookies}
    await second.sign_in()
    answer = await second.get(onward.headers["location"])
    assert answer.status_code == 200 and 'name="firm"' in answer.text


async def test_assertion_replay_across_instances(issuer: Issuer) -> None:
    """Two at once: the memory is the database's, not a process's."""
    client = await issuer.client()
    said = {**client.credentials(), "client_assertion": client.assertion(jti="same")}
    answers = await asyncio.gather(
        *(client.post("/par", client.request(), credentials=said) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 7


async def test_policy_reads_verified_data_only(issuer: Issuer, who: Somebody) -> None:
    """Unsigned parameters beside a signed request change nothing."""
    from libs.common.access.signatures import sign_compact

    client = await issuer.client(require_signed_request_object=True)
    assert (await client.push()).json()["error"] == "invalid_request"
    now = client.now()
    inside = {"iss": client.client_id, "aud": issuer.url, "exp": now + 60, "nbf": now, **client.request()}
    signed = sign_compact(client.key, {"kid": client.key.kid}, inside)
    pushed = await client.post(
        "/par", {"request": signed, "prompt": "none", "scope": "openid mandate.manage"}
    )
    query = urlencode({"client_id": client.client_id, "request_uri": pushed.json()["request_uri"], "state": "out",
                       "redirect_uri": "https://evil.example", "scope": "mandate.manage"})  # fmt: skip
    answer = await who.get(f"/{issuer.caisse}/authorize?{query}")
    assert urlsplit(answer.headers["location"]).hostname == "client.example"
    code = dict(parse_qsl(urlsplit(answer.headers["location"]).query))["code"]
    assert (await client.redeem(code)).json()["scope"] == "openid"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/",
        "https://192.168.1.1/", "https://0.0.0.0/", "https://localhost/", "file:///etc/passwd", "ftp://example.com/",
        "https://user:pw@example.com/", "https://example.com/#x", "https://100.64.0.1/", "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/", "https://2130706433/", "gopher://x/", "https:///x",
    ],
)  # fmt: skip
async def test_ssrf_private_addresses_are_never_reached(url: str) -> None:
    with pytest.raises(FetchRefused):
        await GuardedFetcher().get(url)
    with pytest.raises(FetchRefused):
        await GuardedFetcher().post_form(url, {"a": "b"})


async def test_ssrf_no_redirect_is_followed(listener: Listener) -> None:
    listener.redirect_to = "http://169.254.169.254/"
    with pytest.raises(FetchRefused):
        await GuardedFetcher(["127.0.0.1"]).get(listener.url("/x"))


async def test_ssrf_answers_are_bounded(listener: Listener) -> None:
    listener.pages["/big"] = b"x" * 300_000
    with pytest.raises(FetchRefused):
        await GuardedFetcher(["127.0.0.1"]).get(listener.url("/big"))


@pytest.mark.parametrize("field", ["jwks_uri", "sector_identifier_uri", "logo_uri", "backchannel_logout_uri", "tos_uri",
                                   "policy_uri", "client_uri", "initiate_login_uri"])  # fmt: skip
async def test_ssrf_and_scripts_are_refused_at_registration(issuer: Issuer, field: str) -> None:
    for wrong in (
        "http://intranet/x",
        "javascript:alert(1)",
        "file:///x",
        "https://u:p@x.example/",
        "//x.example",
    ):
        with pytest.raises(InvalidClientMetadata):
            await issuer.client(**{"jwks": None if field == "jwks_uri" else issuer_jwks(), field: wrong})


def issuer_jwks() -> dict[str, object]:
    from libs.common.access.signatures import SigningKey

    return {"keys": [SigningKey.generate("ES256").published_jwk()]}


async def test_scope_removed_offline_token_lives_not(issuer: Issuer, who: Somebody) -> None:
    """A ceiling lowered after the grant bites at the next refresh and at UserInfo."""
    from msgspec.structs import replace

    from services.identity.openid import store
    from services.identity.openid.write_client import AT_THE_COMMAND_LINE, update_client

    client = await issuer.client(consent="explicit")
    tokens = await client.tokens(who, scope="openid email offline_access")
    async with issuer.db.transaction(issuer.caisse) as tx:
        stored = await store.load_client(tx, client.client_id)
        assert stored is not None
        await update_client(
            tx, stored, replace(stored.metadata, scope="openid offline_access"), now=issuer.clock(), plain_http=True,
            by=AT_THE_COMMAND_LINE,
        )  # fmt: skip
    assert (await client.refresh(tokens["refresh_token"])).json()["scope"] == "offline_access openid"
    assert "email" not in (await client.userinfo(tokens["access_token"])).json()


async def test_a_right_withdrawn_bites_at_the_next_token(issuer: Issuer) -> None:
    who = await (await issuer.person(is_administrator=False, rights=["declaration.read"])).sign_in()
    client = await issuer.client()
    tokens = await client.tokens(
        who, scope="openid declaration.read declaration.submit", resource=issuer.adherent
    )
    assert tokens["scope"] == "declaration.read"
    async with issuer.db.transaction(issuer.caisse) as tx:
        await tx.execute("UPDATE account SET rights = '{}' WHERE id = $1", who.accounts[0][0])
    assert (await client.refresh(tokens["refresh_token"], resource=issuer.adherent)).json()["scope"] == ""


async def test_mix_up_tokens_of_another_caisse_are_refused(issuer: Issuer, who: Somebody) -> None:
    from libs.common.values.caisse_slug import parse_caisse_slug
    from services.identity.openid import store

    client = await issuer.client()
    async with issuer.db.transaction(parse_caisse_slug("grand-ouest")) as tx:
        assert await store.load_client(tx, client.client_id) is None
    async with issuer.http() as http:
        assert (await http.get("/grand-ouest/.well-known/openid-configuration")).status_code == 404


async def test_host_poisoning_the_issuer_is_never_the_request_s_host(issuer: Issuer) -> None:
    async with issuer.http() as http:
        answer = await http.get(
            f"/{issuer.caisse}/.well-known/openid-configuration",
            headers={
                "X-Forwarded-Host": "evil.example",
                "Forwarded": "host=evil.example",
                "X-Forwarded-Proto": "http",
            },
        )
        evil = await http.get(f"/{issuer.caisse}/jwks", headers={"Host": "evil.example"})
    assert answer.json()["issuer"] == issuer.url and "evil" not in answer.text
    assert evil.status_code == 400


async def test_secrets_in_cookies_or_logs(
    public: Party, who: Somebody, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = await public.tokens(who)
    await public.refresh(tokens["refresh_token"])
    said = caplog.text + "".join(capsys.readouterr())
    for secret in (
        tokens["access_token"],
        tokens["refresh_token"],
        tokens["id_token"],
        public.verifier,
        who.email,
    ):
        assert secret not in said
        assert all(secret not in value for value in who.cookies.values())


async def test_what_is_pushed_and_proven_is_in_no_cookie_nor_log(
    issuer: Issuer, who: Somebody, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """ "Secrets in cookies or logs": of a confidential client, by PAR, refusals included."""
    client = await issuer.client()
    pushing, proof, hint, state = client.credentials(), client.proof("/par"), who.email, "state-of-the-client"
    request = client.request(login_hint=hint, state=state, nonce="nonce-of-the-client")
    pushed = (await client.post("/par", request, credentials=pushing, proof=proof)).json()["request_uri"]
    assert (await client.post("/par", request, credentials=pushing, proof=proof)).status_code == 401
    query = urlencode({"client_id": client.client_id, "request_uri": pushed})
    code = callback(await who.get(f"/{issuer.caisse}/authorize?{query}"))["code"]
    assert (await client.redeem(code, code_verifier="w" * 64)).status_code == 400
    tokens = (await client.redeem(code)).json()
    await client.post("/introspect", {"token": tokens["access_token"]})
    assert (await client.redeem(code)).status_code == 400
    said = caplog.text + "".join(capsys.readouterr()) + str(who.cookies)
    for secret in (pushing["client_assertion"], proof, hint, state, request["nonce"], pushed.rpartition(":")[2], code,
                   client.verifier, tokens["access_token"], tokens["refresh_token"], tokens["id_token"]):  # fmt: skip
        assert secret not in said


async def test_ending_the_session_ends_its_tokens(issuer: Issuer, who: Somebody) -> None:
    from services.identity.sign_in.session import end_session

    client = await issuer.client()
    tokens = await client.tokens(who)
    assert who.session_id is not None
    async with issuer.db.transaction(issuer.caisse) as tx:
        await end_session(tx, who.session_id, now=issuer.clock())
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    assert (await client.post("/introspect", {"token": tokens["access_token"]})).json() == {"active": False}


async def test_the_loser_of_a_race_has_spent_its_assertion_and_its_proof(
    issuer: Issuer, who: Somebody
) -> None:
    client = await issuer.client()
    code = await client.code(who)
    shown = [(client.credentials(), client.proof("/token")) for _ in range(6)]
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": GOOD, "code_verifier": client.verifier,
    }  # fmt: skip
    answers = await asyncio.gather(
        *(client.post("/token", form, credentials=said, proof=proof) for said, proof in shown)
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 5
    for said, proof in shown:
        assert (await client.post("/token", form, credentials=said)).json()["error"] == "invalid_client"
        again = await client.post("/token", form, proof=proof)
        assert again.json()["error"] in ("invalid_dpop_proof", "invalid_grant")
        refreshed = await client.post(
            "/token", {"grant_type": "refresh_token", "refresh_token": "x"}, proof=proof
        )
        assert refreshed.json()["error"] == "invalid_dpop_proof"
