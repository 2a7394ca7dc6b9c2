"""Tokens as an issuer signs them, to be spoilt one member at a time."""

import time
from typing import Any

from libs.common.access.dpop import dpop_proof
from libs.common.access.signatures import Algorithm, SigningKey, VerifyingKey, sign_compact
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id, public_id

CAISSE = CaisseSlug("mediterranee")
ISSUER_BASE = "https://id.example.test"
AUDIENCE_BASE = "https://adherent.example.test"
ISSUER = f"{ISSUER_BASE}/{CAISSE}"
AUDIENCE = f"{AUDIENCE_BASE}/{CAISSE}"


class IssuerAtHand:
    """An issuer's key, and the holder's; as a `KeySource` it publishes what `published` holds."""

    def __init__(self, alg: Algorithm = "ES256") -> None:
        self.key = SigningKey.generate(alg)
        self.holder = SigningKey.generate()
        self.published: dict[str, VerifyingKey] = {self.key.kid: self.key.verifying()}
        self.number = 0

    async def find(self, caisse: CaisseSlug, kid: str) -> VerifyingKey | None:
        return self.published.get(kid)

    def edition(self, caisse: CaisseSlug) -> int:
        return self.number

    def withdraw(self) -> None:
        self.published.clear()
        self.number += 1

    def own_claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        return _changed(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "caisse": CAISSE,
                "sub": public_id("per", new_id()),
                "adherent": public_id("adh", new_id()),
                "client_id": "portal",
                "jti": str(new_id()),
                "iat": now,
                "exp": now + 600,
                "scope": "declaration.read attestation.request",
                "acr": "pwd",
                "amr": ["pwd"],
                "auth_time": now - 60,
                "sid": str(new_id()),
                "cnf": {"jkt": self.holder.kid},
            },
            changes,
        )

    def delegated_claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = self.own_claims(
            sub=public_id("adh", new_id()),
            client_id="cabinet-workspace",
            exp=now + 300,
            acr="mfa",
            amr=["pwd", "otp"],
            act={
                "sub": public_id("per", new_id()),
                "iss": ISSUER,
                "sub_profile": "user",
                "org": public_id("cab", new_id()),
                "org_siren": "123456782",
            },
            authorization_details=[a_mandate()],
        )
        del claims["adherent"]
        return _changed(claims, changes)

    def service_claims(self, **changes: Any) -> dict[str, Any]:
        claims = self.own_claims(sub="documents", client_id="documents", scope="standing.read")
        for name in ("adherent", "sid", "acr", "amr", "auth_time"):
            del claims[name]
        return _changed(claims, changes)

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return sign_compact(self.key, {"typ": "at+jwt", "kid": self.key.kid} | header, claims)

    def proof(self, token: str, method: str, url: str, **options: Any) -> str:
        return dpop_proof(self.holder, method, url, access_token=token, **options)


def a_mandate(**changes: Any) -> dict[str, Any]:
    return _changed(
        {
            "type": "mandate",
            "mandate": public_id("mdt", new_id()),
            "ver": 7,
            "family": "contributions",
            "role": "principal",
            "identifier": f"{CAISSE}:123456",
            "establishments": [public_id("est", new_id())],
            "group": "grp_12",
            "not_after": int(time.time()) + 86_400,
        },
        changes,
    )


def _changed(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (claims | changes).items() if value is not ...}
