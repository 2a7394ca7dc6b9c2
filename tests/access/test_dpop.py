"""A DPoP proof works for one request, by one key, now (RFC 9449 §4.3)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from libs.common.access.dpop import DpopProof, Nonces, dpop_proof, token_hash, verify_proof
from libs.common.access.refusals import InvalidProof, NonceWanted
from libs.common.access.signatures import Algorithm, SigningKey, b64url, sign_compact, unb64url

URL = "https://adherent.example.test/mediterranee/adherents/adh_1"
KEY = SigningKey.generate()
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TOKEN = "aaa.bbb.ccc"


def claims(**changes: Any) -> dict[str, Any]:
    whole = {
        "jti": str(uuid4()),
        "htm": "GET",
        "htu": URL,
        "iat": int(NOW.timestamp()),
        "ath": token_hash(TOKEN),
    } | changes
    return {name: value for name, value in whole.items() if value is not ...}


def signed(body: dict[str, Any], key: SigningKey = KEY, **header: Any) -> str:
    whole = {"typ": "dpop+jwt", "jwk": key.public_jwk} | header
    return sign_compact(key, {name: value for name, value in whole.items() if value is not ...}, body)


def verified(proof: str, **changes: Any) -> DpopProof:
    options: dict[str, Any] = {
        "method": "GET",
        "url": URL,
        "now": NOW,
        "access_token": TOKEN,
        "jkt": KEY.kid,
    } | changes
    return verify_proof([proof], **options)


def refused(proof: str, reason: str, **changes: Any) -> None:
    with pytest.raises(InvalidProof, match=reason):
        verified(proof, **changes)


def test_a_good_proof_is_believed() -> None:
    proof = verified(dpop_proof(KEY, "GET", URL + "?page=2#top", access_token=TOKEN, clock=NOW.timestamp))

    assert proof.jkt == KEY.kid
    assert proof.issued_at == NOW


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "PS256"])
def test_each_announced_algorithm_is_verified(alg: Algorithm) -> None:
    key = SigningKey.generate(alg)
    assert verified(signed(claims(), key), jkt=key.kid).jkt == key.kid


def _named_ed25519(key: SigningKey) -> str:
    head = {"typ": "dpop+jwt", "alg": "Ed25519", "jwk": key.public_jwk | {"alg": "Ed25519"}}
    text = f"{b64url(msgspec.json.encode(head))}.{b64url(msgspec.json.encode(claims()))}"
    return f"{text}.{b64url(key.sign(text.encode()))}"


def test_ed25519_is_known_by_its_own_name_too() -> None:
    """RFC 9864 §2.2: what newer clients write where older ones wrote EdDSA."""
    key = SigningKey.generate("EdDSA")
    assert verified(_named_ed25519(key), jkt=key.kid).jkt == key.kid


def test_the_name_of_ed25519_fits_no_other_key() -> None:
    refused(_named_ed25519(KEY), "UnusableKey")


def test_the_largest_rsa_key_fits_the_size_limit() -> None:
    key = SigningKey("PS256", rsa.generate_private_key(65537, 4096))
    assert verified(signed(claims(), key), jkt=key.kid).jkt == key.kid


@pytest.mark.parametrize("proofs", [[], ["a", "b"]])
def test_exactly_one_proof_is_expected(proofs: list[str]) -> None:
    with pytest.raises(InvalidProof, match=r"missing|several"):
        verify_proof(proofs, method="GET", url=URL, now=NOW)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"htm": "POST"}, "htm"),
        ({"htm": "get"}, "htm"),
        ({"htu": URL + "x"}, "htu"),
        ({"htu": "http://adherent.example.test/mediterranee/adherents/adh_1"}, "htu"),
        ({"htu": "https://evil.example/mediterranee/adherents/adh_1"}, "htu"),
        ({"htu": "https://adherent.example.test:8443/mediterranee/adherents/adh_1"}, "htu"),
        ({"htu": "https://x@adherent.example.test/mediterranee/adherents/adh_1"}, "htu"),
        ({"htu": "https://[::1/mediterranee"}, "htu"),
        ({"htu": ""}, "htu"),
        ({"ath": ...}, "ath"),
        ({"ath": token_hash("another")}, "ath"),
        ({"jti": ""}, "jti"),
        ({"jti": "x" * 257}, "jti"),
        ({"jti": ...}, "UnreadableJson"),
        ({"htm": ...}, "UnreadableJson"),
        ({"htu": ...}, "UnreadableJson"),
        ({"iat": ...}, "UnreadableJson"),
        ({"iat": "now"}, "UnreadableJson"),
        ({"iat": int(NOW.timestamp()) - 61}, "iat"),
        ({"iat": int(NOW.timestamp()) + 31}, "iat"),
        ({"exp": int(NOW.timestamp()) - 31}, "exp"),
        ({"nbf": int(NOW.timestamp()) + 31}, "nbf"),
    ],
    ids=str,
)
def test_a_proof_for_another_request_or_time_is_refused(changes: dict[str, Any], reason: str) -> None:
    refused(signed(claims(**changes)), reason)


@pytest.mark.parametrize("seconds", [-10, 10])
def test_ten_seconds_of_skew_are_accepted(seconds: int) -> None:
    verified(signed(claims(iat=int(NOW.timestamp()) + seconds)))


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://Adherent.Example.Test/mediterranee/adherents/adh_1",
        "https://adherent.example.test:443/mediterranee/adherents/adh_1",
        "https://adherent.example.test/mediterranee/adherents/%61dh_1",
        "https://adherent.example.test/mediterranee/adherents/adh_1?q=1#f",
    ],
)
def test_one_address_may_be_spelt_several_ways(url: str) -> None:
    verified(signed(claims(htu=url)))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "JWT"}, "typ"),
        ({"typ": ...}, "UnreadableJson"),
        ({"jwk": ...}, "UnreadableJson"),
        ({"jku": "https://evil.example/jwks"}, "UnreadableJson"),
        ({"crit": ["exp"]}, "UnreadableJson"),
        ({"jwk": {**KEY.public_jwk, "d": "AAAA"}}, "UnusableKey"),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, "UnusableKey"),
        ({"jwk": {**KEY.public_jwk, "crv": "P-384"}}, "UnusableKey"),
        ({"jwk": {**KEY.public_jwk, "crv": "secp256k1"}}, "UnusableKey"),
        ({"jwk": {**KEY.public_jwk, "x": b64url(b"\x01" * 32)}}, "UnusableKey"),
        ({"jwk": {**KEY.public_jwk, "x": b64url(b"\x00" + b"\x01" * 32)}}, "UnusableKey"),
        ({"jwk": {**KEY.public_jwk, "alg": "ES512"}}, "UnusableKey"),
        ({"jwk": {**KEY.public_jwk, "use": "enc"}}, "UnusableKey"),
        ({"jwk": {"kty": "EC"}}, "UnusableKey"),
        ({"jwk": {}}, "UnusableKey"),
        ({"jwk": {"kty": "RSA", "n": b64url(b"\xff" * 128), "e": "AQAB"}}, "UnusableKey"),
        ({"jwk": SigningKey.generate().public_jwk}, "signature"),
    ],
    # Keys are drawn anew by each worker: their text would give the same test two names.
    ids=[str(number) for number in range(17)],
)
def test_the_key_of_a_proof_is_public_usable_and_its_signers(header: dict[str, Any], reason: str) -> None:
    refused(signed(claims(), **header), reason)


def test_a_huge_rsa_exponent_is_not_tried() -> None:
    key = SigningKey.generate("PS256")
    refused(signed(claims(), key, jwk={**key.public_jwk, "e": b64url(b"\xff" * 64)}), "UnusableKey")


def test_a_coordinate_has_its_size() -> None:
    """RFC 7518 §6.2.1.2: a zero more is the same number, and would be another thumbprint of the same key."""
    longer = b64url(bytes(1) + unb64url(KEY.public_jwk["x"]))
    refused(signed(claims(), jwk={**KEY.public_jwk, "x": longer}), "UnusableKey", jkt=None)


def test_a_short_rsa_key_is_refused() -> None:
    """openid.md line 12: 2048 bits at least, whatever else is right."""
    key = SigningKey("PS256", rsa.generate_private_key(65537, 1024))
    refused(signed(claims(), key), "UnusableKey", jkt=key.kid)


def test_a_member_of_a_key_has_a_size_limit() -> None:
    """Zeroes before a modulus change no number: a key would have as many spellings, each kept."""
    key = SigningKey.generate("PS256")
    longer = b64url(bytes(300) + unb64url(key.public_jwk["n"]))
    refused(signed(claims(), key, jwk={**key.public_jwk, "n": longer}), "UnusableKey", jkt=None)


def test_rs256_and_none_are_refused() -> None:
    key = SigningKey("RS256", rsa.generate_private_key(65537, 2048))
    refused(signed(claims(), key), "alg", jkt=key.kid)
    header = b64url(b'{"typ":"dpop+jwt","alg":"none","jwk":{}}')
    refused(f"{header}.{b64url(b'{}')}.", "alg")


def test_another_key_than_the_tokens_is_refused() -> None:
    refused(signed(claims(), SigningKey.generate()), "another key")


def test_a_proof_has_a_size_limit() -> None:
    refused(signed(claims(padding="x" * 5000)), "Malformed")


def test_a_nonce_is_asked_for_and_then_accepted_for_a_while() -> None:
    nonces = Nonces(b"k" * 32)
    with pytest.raises(NonceWanted):
        verified(signed(claims()), nonces=nonces)
    with pytest.raises(NonceWanted):
        verified(signed(claims(nonce="guessed")), nonces=nonces)

    proof = signed(claims(nonce=nonces.current(NOW)))
    assert verified(proof, nonces=nonces)
    assert verified(proof, nonces=Nonces(b"k" * 32)), "another process of the service accepts it"
    assert not nonces.accepts(nonces.current(NOW), NOW + timedelta(minutes=4))
    assert not Nonces(b"l" * 32).accepts(nonces.current(NOW), NOW)
