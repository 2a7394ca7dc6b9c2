"""An access token is believed only when every word of it is right (RFC 8725, RFC 9068, delegation.md §3)."""

import hashlib
import hmac
import time
from typing import Any

import msgspec
import pytest

from libs.common.access.access_token import TokenVerifier
from libs.common.access.refusals import InvalidToken
from libs.common.access.signatures import SigningKey, b64url, sign_compact, unb64url
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id, parse_public_id, public_id
from tests.access.tokens import AUDIENCE, AUDIENCE_BASE, CAISSE, ISSUER, ISSUER_BASE, IssuerAtHand, a_mandate

BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class HeldSeconds:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> IssuerAtHand:
    return IssuerAtHand()


@pytest.fixture
def seconds() -> HeldSeconds:
    return HeldSeconds()


@pytest.fixture
def verifier(issuer: IssuerAtHand, seconds: HeldSeconds) -> TokenVerifier:
    return TokenVerifier(issuer, issuer_base=ISSUER_BASE, audience_base=AUDIENCE_BASE, clock=seconds)


async def refused(verifier: TokenVerifier, token: str, reason: str) -> None:
    with pytest.raises(InvalidToken, match=reason):
        await verifier.verify(token, CAISSE)


async def test_a_delegated_token_names_member_person_cabinet_and_mandate(
    verifier: TokenVerifier, issuer: IssuerAtHand
) -> None:
    claims = issuer.delegated_claims()

    token = await verifier.verify(issuer.sign(claims), CAISSE)

    assert token.adherent_id == parse_public_id("adh", claims["sub"])
    assert token.person_id == parse_public_id("per", claims["act"]["sub"])
    assert token.actor is not None and token.mandate is not None
    assert token.actor.cabinet_id == parse_public_id("cab", claims["act"]["org"])
    assert (token.mandate.version, token.mandate.family, token.mandate.group) == (
        7,
        "contributions",
        "grp_12",
    )
    assert token.scopes == {"declaration.read", "attestation.request"}
    assert token.jkt == issuer.holder.kid


async def test_a_persons_own_token_names_the_firm_it_acts_for(
    verifier: TokenVerifier, issuer: IssuerAtHand
) -> None:
    claims = issuer.own_claims()

    token = await verifier.verify(issuer.sign(claims), CAISSE)

    assert token.adherent_id == parse_public_id("adh", claims["adherent"])
    assert token.person_id == parse_public_id("per", claims["sub"])
    assert not token.is_delegated and not token.is_service


async def test_nobody_stands_behind_a_services_token(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    token = await verifier.verify(issuer.sign(issuer.service_claims()), CAISSE)

    assert token.is_service
    assert (token.adherent_id, token.person_id) == (None, None)


async def test_a_service_acts_for_no_firm(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    claims = issuer.service_claims(adherent=public_id("adh", new_id()))
    await refused(verifier, issuer.sign(claims), "adherent of a service")


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "PS256", "RS256"])
async def test_each_algorithm_of_an_issuer_is_verified(alg: Any) -> None:
    issuer = IssuerAtHand(alg)
    verifier = TokenVerifier(issuer, issuer_base=ISSUER_BASE, audience_base=AUDIENCE_BASE)

    assert (await verifier.verify(issuer.sign(issuer.own_claims()), CAISSE)).caisse == CAISSE


# RFC 8725: what chooses a key or an algorithm


def spelt(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [b64url(msgspec.json.encode(header)), b64url(msgspec.json.encode(claims)), b64url(signature)]
    return ".".join(parts)


async def test_an_unsigned_token_is_refused(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    for alg in ("none", "None", "NONE", ""):
        header = {"alg": alg, "typ": "at+jwt", "kid": issuer.key.kid}
        await refused(verifier, spelt(header, issuer.own_claims()), "alg")


async def test_our_public_key_is_no_shared_secret(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    for secret in (msgspec.json.encode(issuer.key.public_jwk), issuer.key.public_jwk["x"].encode(), b""):
        header = {"alg": "HS256", "typ": "at+jwt", "kid": issuer.key.kid}
        unsigned = spelt(header, issuer.own_claims()).rsplit(".", 1)[0]
        mac = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
        await refused(verifier, f"{unsigned}.{b64url(mac)}", "alg")


async def test_an_rsa_key_has_one_algorithm(issuer: IssuerAtHand) -> None:
    rsa = IssuerAtHand("PS256")
    verifier = TokenVerifier(rsa, issuer_base=ISSUER_BASE, audience_base=AUDIENCE_BASE)
    same_key = SigningKey.from_pem(rsa.key.pem(), "RS256")
    token = sign_compact(same_key, {"typ": "at+jwt", "kid": rsa.key.kid}, rsa.own_claims())
    await refused(verifier, token, "alg")


@pytest.mark.parametrize(
    "member",
    [
        {"jwk": SigningKey.generate().public_jwk},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
    ],
    ids=lambda member: "+".join(member),
)
async def test_the_header_chooses_nothing(
    verifier: TokenVerifier, issuer: IssuerAtHand, member: dict[str, Any]
) -> None:
    await refused(verifier, issuer.sign(issuer.own_claims(), **member), "header")


@pytest.mark.parametrize("kid", ["", "../../etc/passwd", "' OR 1=1 --", "x" * 3000])
async def test_an_unknown_kid_is_no_key(verifier: TokenVerifier, issuer: IssuerAtHand, kid: str) -> None:
    await refused(verifier, issuer.sign(issuer.own_claims(), kid=kid), "kid")


async def test_a_token_signed_by_another_key_is_refused(
    verifier: TokenVerifier, issuer: IssuerAtHand
) -> None:
    forged = sign_compact(
        SigningKey.generate(), {"typ": "at+jwt", "kid": issuer.key.kid}, issuer.own_claims()
    )
    await refused(verifier, forged, "signature")


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "PS256", "RS256"])
async def test_no_algorithm_lets_a_forged_signature_through(alg: Any) -> None:
    issuer, forger = IssuerAtHand(alg), SigningKey.generate(alg)
    verifier = TokenVerifier(issuer, issuer_base=ISSUER_BASE, audience_base=AUDIENCE_BASE)
    forged = sign_compact(forger, {"typ": "at+jwt", "kid": issuer.key.kid}, issuer.own_claims())
    await refused(verifier, forged, "signature")


async def test_a_signature_has_one_spelling(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    """RFC 7518 §3.4: 64 bytes of ES256, and RFC 4648 §3.5: no stray bit; another text is not the same token."""
    signed, _, signature = issuer.sign(issuer.own_claims()).rpartition(".")
    raw = unb64url(signature)
    await refused(verifier, f"{signed}.{b64url(raw[:32] + bytes(1) + raw[32:])}", "signature")
    # 64 bytes fill 85 characters and a third of the last, whose other bits mean nothing.
    stray = BASE64URL[BASE64URL.index(signature[-1]) + 1]
    await refused(verifier, f"{signed}.{signature[:-1]}{stray}", "header")


async def test_one_changed_character_is_refused(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    header, payload, signature = issuer.sign(issuer.own_claims()).split(".")
    changed = payload[:40] + ("A" if payload[40] != "A" else "B") + payload[41:]
    await refused(verifier, f"{header}.{changed}.{signature}", "signature")


@pytest.mark.parametrize(
    "typ", ["JWT", "jwt", "dpop+jwt", "id+jwt", "logout+jwt", "token-introspection+jwt", ""]
)
async def test_any_other_jwt_of_the_issuer_is_no_access_token(
    verifier: TokenVerifier, issuer: IssuerAtHand, typ: str
) -> None:
    await refused(verifier, issuer.sign(issuer.own_claims(), typ=typ), "typ")


NO_JWS = [
    "",
    "a",
    "a.b",
    "a.b.c.d",
    "é.é.é",
    "\udcff",
    "e30.e30.",
    " " * 10,
    "A" * 7000,
    "..",
    "e30=.e30.e30",
]


@pytest.mark.parametrize("text", NO_JWS)
async def test_what_is_no_jws_is_refused(verifier: TokenVerifier, text: str) -> None:
    await refused(verifier, text, "header")


# Addresses and times


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://evil.example/mediterranee"}, "iss"),
        ({"iss": f"{ISSUER_BASE}/grand-ouest"}, "iss"),
        ({"iss": ISSUER + "/"}, "iss"),
        ({"caisse": "grand-ouest"}, "iss"),
        ({"aud": ISSUER}, "aud"),
        ({"aud": f"{AUDIENCE_BASE}/grand-ouest"}, "aud"),
        ({"aud": [AUDIENCE]}, "claims"),
        ({"aud": [AUDIENCE, "https://documents.example.test/mediterranee"]}, "claims"),
        ({"aud": ...}, "claims"),
        ({"exp": ...}, "claims"),
        ({"iat": ...}, "claims"),
        ({"iat": "now"}, "claims"),
        ({"jti": ...}, "claims"),
        ({"cnf": ...}, "claims"),
        ({"cnf": {}}, "claims"),
        ({"cnf": {"x5t#S256": "abc"}}, "claims"),
        ({"sub": "adh_01J0000000000000000000000"}, "claims"),
        ({"sub": "somebody"}, "claims"),
        ({"client_id": "per_01J0000000000000000000000"}, "client_id"),
        ({"adherent": "adh_x"}, "claims"),
        ({"auth_time": 10**18}, "claims"),
    ],
    ids=str,
)
async def test_a_token_for_elsewhere_or_malformed_is_refused(
    verifier: TokenVerifier, issuer: IssuerAtHand, changes: dict[str, Any], reason: str
) -> None:
    await refused(verifier, issuer.sign(issuer.own_claims(**changes)), reason)


async def test_a_token_of_one_caisse_opens_no_other(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    token = issuer.sign(issuer.own_claims())
    await verifier.verify(token, CAISSE)

    with pytest.raises(InvalidToken, match="iss"):
        await verifier.verify(token, CaisseSlug("grand-ouest"))


async def test_a_token_lives_until_its_expiry_and_thirty_seconds(
    verifier: TokenVerifier, issuer: IssuerAtHand, seconds: HeldSeconds
) -> None:
    claims = issuer.own_claims()
    token = issuer.sign(claims)

    seconds.now = claims["exp"] + 29
    await verifier.verify(token, CAISSE)
    seconds.now = claims["exp"] + 30
    await refused(verifier, token, "expired")
    await refused(verifier, token, "expired")


@pytest.mark.parametrize("changes", [{"exp": 601}, {"exp": 0}, {"exp": -5}, {"exp": 86_400 * 365}])
async def test_a_token_for_longer_than_the_floors_remember_is_refused(
    verifier: TokenVerifier, issuer: IssuerAtHand, changes: dict[str, int]
) -> None:
    now = int(time.time())
    await refused(verifier, issuer.sign(issuer.own_claims(iat=now, exp=now + changes["exp"])), "lifetime")


async def test_a_delegated_token_lives_five_minutes_at_most(
    verifier: TokenVerifier, issuer: IssuerAtHand
) -> None:
    now = int(time.time())
    await refused(verifier, issuer.sign(issuer.delegated_claims(iat=now, exp=now + 301)), "lifetime")


async def test_a_token_from_the_future_waits(
    verifier: TokenVerifier, issuer: IssuerAtHand, seconds: HeldSeconds
) -> None:
    now = int(seconds.now)
    await verifier.verify(issuer.sign(issuer.own_claims(iat=now + 20, exp=now + 320)), CAISSE)
    await refused(verifier, issuer.sign(issuer.own_claims(iat=now + 60, exp=now + 360)), "not yet")
    await refused(verifier, issuer.sign(issuer.own_claims(nbf=now + 60)), "not yet")


# Delegation


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"act": ...}, "mandate without act"),
        ({"authorization_details": ...}, "act without its mandate"),
        ({"authorization_details": []}, "act without its mandate"),
        ({"authorization_details": [a_mandate(), a_mandate()]}, "act without its mandate"),
        ({"authorization_details": [a_mandate(type="payment")]}, "act without its mandate"),
        ({"authorization_details": [a_mandate(establishments=[])]}, "establishments"),
        (
            {"authorization_details": [a_mandate(establishments=["*", public_id("est", new_id())])]},
            "establishments",
        ),
        ({"authorization_details": [a_mandate(ver=...)]}, "claims"),
        ({"authorization_details": [a_mandate(role="owner")]}, "claims"),
        ({"authorization_details": [a_mandate(not_after=1)]}, "mandate over"),
        ({"adherent": public_id("adh", new_id())}, "adherent beside act"),
        ({"sub": public_id("per", new_id())}, "claims"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
async def test_act_and_exactly_one_mandate_come_together(
    verifier: TokenVerifier, issuer: IssuerAtHand, changes: dict[str, Any], reason: str
) -> None:
    await refused(verifier, issuer.sign(issuer.delegated_claims(**changes)), reason)


async def test_a_second_hop_is_refused(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    claims = issuer.delegated_claims()
    for inner in ({"sub": public_id("per", new_id())}, None, {}):
        await refused(verifier, issuer.sign(claims | {"act": claims["act"] | {"act": inner}}), "second hop")


async def test_an_actor_of_another_issuer_is_refused(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    claims = issuer.delegated_claims()
    other = claims["act"] | {"iss": f"{ISSUER_BASE}/grand-ouest"}
    await refused(verifier, issuer.sign(claims | {"act": other}), "another issuer")


async def test_a_machine_acts_as_a_service(verifier: TokenVerifier, issuer: IssuerAtHand) -> None:
    claims = issuer.delegated_claims()
    sponsor = public_id("per", new_id())
    machine = claims["act"] | {
        "sub": public_id("mch", new_id()),
        "sub_profile": "service",
        "sponsor": sponsor,
    }

    token = await verifier.verify(issuer.sign(claims | {"act": machine}), CAISSE)

    assert token.actor is not None and token.actor.machine_id is not None
    assert token.person_id is None and public_id("per", token.actor.sponsor_id or new_id()) == sponsor
    await refused(verifier, issuer.sign(claims | {"act": machine | {"sub_profile": "user"}}), "sub_profile")
    del machine["sponsor"]
    await refused(verifier, issuer.sign(claims | {"act": machine}), "sponsor")
    await refused(verifier, issuer.sign(claims | {"act": claims["act"] | {"sponsor": sponsor}}), "sponsor")


async def test_an_act_added_to_ones_own_token_is_refused(
    verifier: TokenVerifier, issuer: IssuerAtHand
) -> None:
    act = issuer.delegated_claims()["act"]
    now = int(time.time())
    await refused(verifier, issuer.sign(issuer.own_claims(act=act, exp=now + 300)), "act without")


# The cache


async def test_a_cached_token_dies_with_its_mandate(
    verifier: TokenVerifier, issuer: IssuerAtHand, seconds: HeldSeconds
) -> None:
    ends = int(seconds.now) + 100
    token = issuer.sign(issuer.delegated_claims(authorization_details=[a_mandate(not_after=ends)]))
    await verifier.verify(token, CAISSE)

    seconds.now = ends
    await refused(verifier, token, "expired")


async def test_a_cached_token_dies_with_a_withdrawn_key(
    verifier: TokenVerifier, issuer: IssuerAtHand
) -> None:
    token = issuer.sign(issuer.own_claims())
    await verifier.verify(token, CAISSE)

    issuer.withdraw()
    await refused(verifier, token, "kid")


async def test_the_cache_is_bounded(issuer: IssuerAtHand) -> None:
    verifier = TokenVerifier(issuer, issuer_base=ISSUER_BASE, audience_base=AUDIENCE_BASE, capacity=10)
    for _ in range(50):
        await verifier.verify(issuer.sign(issuer.own_claims()), CAISSE)

    assert len(verifier) == 10
