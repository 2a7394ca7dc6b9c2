"""The other end of the portal's wires: an issuer and two services that a test can make misbehave.

It speaks HTTP and signs real tokens, so that the portal runs whole. What a faithful identity does is tested
against the real one in tests/journeys; here are the answers a faithful one never gives.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from libs.common.access.dpop import verify_proof
from libs.common.access.signatures import SigningKey, sign_compact
from libs.common.http.application import utc_now

IDENTITY = "https://id.example.test"
ADHERENT = "https://adherent.example.test"
DOCUMENTS = "https://documents.example.test"

ADH = "adh_01JBM0000000000000000000A1"
MDT = "mdt_01JBM0000000000000000000M1"
ATT = "att_01JBM0000000000000000000T1"
CAB = "cab_01JBM0000000000000000000C1"
PER = "per_01JBM0000000000000000000P1"


def json(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=body, headers=headers)


class FarSide:
    """Identity, adherent and documents, as far as the portal sees them. Attributes are the levers."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self.published = [self.key]
        # An ended `sid` is remembered, and one database serves the tests of a file.
        self.sid, self.subject = f"ses_{secrets.token_hex(8)}", f"per_{secrets.token_hex(8)}"
        self.pushed: dict[str, dict[str, str]] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.down: set[str] = set()
        self.wants_nonce = False
        self.session_over = False
        self.mandate_over = False
        self.refuses_tokens: tuple[str, int] | None = None
        self.refuses_exchanges: tuple[str, int] | None = None
        self.challenges: dict[str, str] = {}
        """By the end of an address, what its API asks with `insufficient_user_authentication` (RFC 9470 §3)."""
        self.refuses_with: list[dict[str, Any]] | None = None
        self.claims: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
        self.answers: dict[str, Any] = {
            f"{IDENTITY}/api/caisses": {
                "caisses": [
                    {
                        "slug": "mediterranee",
                        "name": "Caisse de la Méditerranée",
                        "phone": "04 91 00 00 00",
                        "email": "contact@mediterranee.example",
                        "colour": "#0b4a6f",
                    },
                    {"slug": "grand-ouest", "name": "Caisse du Grand-Ouest", "colour": "#ffff00"},
                ]
            },
            f"{IDENTITY}/mediterranee/api/me": {
                "person": {"id": PER, "full_name": "Jean-Baptiste Lefèvre-Œillet"},
                "accounts": [{"adherent_id": ADH, "legal_name": "L’Étang", "is_administrator": True}],
                "cabinets": [],
            },
            f"{IDENTITY}/mediterranee/api/adherents/{ADH}/delegations": {"delegations": []},
            f"{ADHERENT}/mediterranee/adherents/{ADH}": {
                "id": ADH,
                "adherent_number": "000123",
                "legal_name": "Maçonnerie de l’Étang & Œuvres",
                "siren": "732829320",
                "siret": "73282932000074",
                "address": ["13127 VITROLLES"],
                "establishments": [],
            },
            f"{ADHERENT}/mediterranee/adherents/{ADH}/standing": {
                "is_up_to_date": True,
                "judged_at": "2026-11-23T20:00:00Z",
                "reasons": [],
            },
            f"{ADHERENT}/mediterranee/adherents/{ADH}/statements": {"statements": []},
            f"{ADHERENT}/mediterranee/adherents/{ADH}/acts": {"acts": []},
            f"{DOCUMENTS}/mediterranee/adherents/{ADH}/acts": {"acts": []},
            f"{DOCUMENTS}/mediterranee/adherents/{ADH}/attestations": {"attestations": []},
        }
        self.calls: list[tuple[str, str, str]] = []
        self.idempotency_keys: list[str] = []
        self.refreshes = 0

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.answer))

    def become_cabinet(self) -> None:
        """The person signed in is a collaborator with one client, and no firm of its own."""
        self.answers[f"{IDENTITY}/mediterranee/api/me"] = {
            "person": {"id": PER},
            "accounts": [],
            "cabinets": [{"cabinet_id": CAB, "name": "Fiduciaire Provence", "role": "member"}],
        }
        self.answers[f"{IDENTITY}/mediterranee/api/cabinets/{CAB}/portfolio"] = {
            "clients": [
                {
                    "id": MDT,
                    "state": "active",
                    "legal_name": "Maçonnerie de l’Étang & Œuvres",
                    "siren": "732829320",
                    "adherent_id": ADH,
                    "adherent_number": "000123",
                    "ends_on": "2027-11-22",
                }
            ]
        }

    async def answer(self, request: httpx.Request) -> httpx.Response:
        address = str(request.url).partition("?")[0]
        service = {IDENTITY: "identity", ADHERENT: "adherent", DOCUMENTS: "documents"}[
            "{0.scheme}://{0.netloc}".format(urlsplit(address))
        ]
        if service in self.down:
            raise httpx.ConnectError("refused", request=request)
        issuer = f"{IDENTITY}/mediterranee"
        protocol: dict[str, Callable[[httpx.Request], httpx.Response]] = {
            f"{issuer}/.well-known/openid-configuration": self._discovery,
            f"{issuer}/jwks": lambda _: json({"keys": [key.published_jwk() for key in self.published]}),
            f"{issuer}/par": self._par,
            f"{issuer}/token": self._token,
        }
        if address in protocol:
            return protocol[address](request)
        if address == f"{IDENTITY}/api/caisses":
            return json(self.answers[address])
        return self._api(request, address)

    def _discovery(self, _: httpx.Request) -> httpx.Response:
        issuer = f"{IDENTITY}/mediterranee"
        return json(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "pushed_authorization_request_endpoint": f"{issuer}/par",
                "end_session_endpoint": f"{issuer}/end-session",
                "jwks_uri": f"{issuer}/jwks",
            }
        )

    def _form(self, request: httpx.Request) -> dict[str, str]:
        return dict(parse_qsl(request.content.decode()))

    def _par(self, request: httpx.Request) -> httpx.Response:
        refused = self._nonce_refused(request)
        if refused is not None:
            return refused
        handle = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(8)}"
        self.pushed[handle] = self._form(request)
        return json({"request_uri": handle, "expires_in": 300}, 201)

    def _nonce_refused(self, request: httpx.Request) -> httpx.Response | None:
        if self.wants_nonce and b'"nonce"' not in _payload(request.headers["dpop"]):
            return json({"error": "use_dpop_nonce"}, 400, **{"DPoP-Nonce": "n-1"})
        return None

    def sign_in(self, location: str) -> dict[str, str]:
        """The person signed in at identity: the query of the callback."""
        query = dict(parse_qsl(urlsplit(location).query))
        request = self.pushed[query["request_uri"]]
        code = secrets.token_urlsafe(16)
        self.codes[code] = request
        return {"code": code, "state": request["state"], "iss": f"{IDENTITY}/mediterranee"}

    def _token(self, request: httpx.Request) -> httpx.Response:
        refused = self._nonce_refused(request)
        if refused is not None:
            return refused
        if self.refuses_tokens is not None:
            error, status = self.refuses_tokens
            return json({"error": error}, status)
        form = self._form(request)
        if form["grant_type"] == "authorization_code":
            pushed = self.codes.pop(form["code"], None)
            challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
            encoded = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
            if pushed is None or encoded != pushed["code_challenge"]:
                return json({"error": "invalid_grant"}, 400)
            return json(
                {**self._access(form), "refresh_token": "r-1", "id_token": self._id_token(pushed["nonce"])}
            )
        self.refreshes += 1
        if form["grant_type"] == "refresh_token":
            if self.session_over:
                return json({"error": "invalid_grant"}, 400)
            return json({**self._access(form), "refresh_token": "r-1"})
        if self.refuses_exchanges is not None:
            error, status = self.refuses_exchanges
            return json({"error": error}, status)
        if self.mandate_over:
            return json({"error": "invalid_grant"}, 400)
        return json(self._access(form, delegated=True))

    def _access(self, form: dict[str, str], *, delegated: bool = False) -> dict[str, Any]:
        audience = form.get("resource", f"{IDENTITY}/mediterranee")
        token = f"{'delegated' if delegated else 'own'}.{audience}.{secrets.token_urlsafe(6)}"
        return {"access_token": token, "token_type": "DPoP", "expires_in": 300}

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": f"{IDENTITY}/mediterranee",
            "aud": "portal",
            "sub": self.subject,
            "nonce": nonce,
            "iat": now,
            "exp": now + 600,
            "sid": self.sid,
            "name": "Jean-Baptiste Lefèvre-Œillet",
        }
        return sign_compact(self.key, {"typ": "JWT", "kid": self.key.kid}, self.claims(claims))

    def logout_token(self, **changed: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": f"{IDENTITY}/mediterranee",
            "aud": "portal",
            "sub": self.subject,
            "sid": self.sid,
            "jti": secrets.token_urlsafe(8),
            "iat": now,
            "exp": now + 120,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            **changed,
        }
        given = {name: value for name, value in claims.items() if value is not None}
        return sign_compact(self.key, {"typ": "logout+jwt", "kid": self.key.kid}, given)

    def _api(self, request: httpx.Request, address: str) -> httpx.Response:
        token = request.headers["authorization"].removeprefix("DPoP ")
        verify_proof(
            [request.headers["dpop"]], method=request.method, url=address, now=utc_now(), access_token=token
        )
        self.calls.append((request.method, address, token))
        if self.mandate_over and token.startswith("delegated"):
            return json({"title": "revoked"}, 401)
        for end, asked in self.challenges.items():
            if address.endswith(end):
                said = f'DPoP error="insufficient_user_authentication", error_description="…", {asked}, algs="ES256"'
                return json({"title": "step up"}, 401, **{"WWW-Authenticate": said.replace("…", "stronger")})
        if request.method == "POST":
            self.idempotency_keys.append(request.headers["idempotency-key"])
            return self._attest(address)
        if address.endswith("/file"):
            return httpx.Response(200, content=b"%PDF-1.7", headers={"content-type": "application/pdf"})
        if address not in self.answers:
            return json({"title": "not found"}, 404)
        return json(self.answers[address])

    def _attest(self, address: str) -> httpx.Response:
        if self.refuses_with is not None:
            return json({"title": "refused", "reasons": self.refuses_with}, 409)
        issued = {
            "id": ATT,
            "number": "mediterranee-2026-000042",
            "kind": "up_to_date",
            "state": "valid",
            "issued_at": "2026-11-23T20:00:00Z",
            "verification_code": "7K3MQ9TZ2X4W",
            "verification_url": f"{DOCUMENTS}/a/7K3MQ9TZ2X4W",
        }
        self.answers[address] = {"attestations": [issued]}
        return json(issued, 201)


def _payload(jwt: str) -> bytes:
    part = jwt.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


__all__ = ["ADH", "ATT", "CAB", "DOCUMENTS", "IDENTITY", "MDT", "PER", "FarSide"]
