"""A JWT of ours is verified once for as long as its ring lasts: never under another ring, nor as another type."""

from typing import Any

from libs.common.access.signatures import SigningKey
from services.identity.signing_keys.key_ring import KeyRing, VerifiedJwts

CLAIMS: dict[str, Any] = {"iss": "https://id.example/here", "sub": "c"}


def ring_of(*keys: SigningKey, verified: VerifiedJwts | None = None) -> KeyRing:
    return KeyRing({keys[0].alg: keys[0]}, [key.published_jwk() for key in keys], verified=verified)


def test_the_same_jwt_comes_back_with_the_same_claims() -> None:
    ring = ring_of(SigningKey.generate())
    compact = ring.sign(CLAIMS, typ="at+jwt")

    assert ring.read_own_jwt(compact, typ="at+jwt") is ring.read_own_jwt(compact, typ="at+jwt")


def test_what_was_read_as_one_type_is_no_other() -> None:
    ring = ring_of(SigningKey.generate())
    compact = ring.sign(CLAIMS, typ="JWT")

    assert ring.read_own_jwt(compact, typ="JWT") == CLAIMS
    assert ring.read_own_jwt(compact, typ="at+jwt") is None
    assert ring.read_own_jwt(compact, typ="JWT") == CLAIMS


def test_another_caisse_does_not_believe_what_this_one_verified() -> None:
    shared = VerifiedJwts()
    here, there = (ring_of(SigningKey.generate(), verified=shared) for _ in range(2))
    compact = here.sign(CLAIMS, typ="at+jwt")

    assert here.read_own_jwt(compact, typ="at+jwt") == CLAIMS
    assert there.read_own_jwt(compact, typ="at+jwt") is None


def test_a_key_withdrawn_takes_what_it_signed_with_it() -> None:
    shared = VerifiedJwts()
    former, present = SigningKey.generate(), SigningKey.generate()
    compact = ring_of(former, verified=shared).sign(CLAIMS, typ="at+jwt")
    assert ring_of(present, former, verified=shared).read_own_jwt(compact, typ="at+jwt") == CLAIMS
    assert ring_of(present, verified=shared).read_own_jwt(compact, typ="at+jwt") is None


def test_an_altered_jwt_is_not_the_one_that_was_verified() -> None:
    ring = ring_of(SigningKey.generate())
    compact = ring.sign(CLAIMS, typ="at+jwt")
    assert ring.read_own_jwt(compact, typ="at+jwt") == CLAIMS
    head, payload, signature = compact.split(".")

    for other in (f"{head}.{payload}.{signature[:-2]}AA", f"{head}.{payload}.", f" {compact}", f"{compact}="):
        assert ring.read_own_jwt(other, typ="at+jwt") is None


def test_a_thousand_caisses_remember_no_more_than_one() -> None:
    shared = VerifiedJwts(most=50)
    for _ in range(20):
        ring = ring_of(SigningKey.generate(), verified=shared)
        for number in range(10):
            assert ring.read_own_jwt(ring.sign({"n": number}, typ="at+jwt"), typ="at+jwt") == {"n": number}

    assert len(shared) == 50
