"""A cabinet's own software, as an integrator would write it: OpenID Connect, then delegated tokens.

Authorization code with PKCE, pushed request and `private_key_jwt`, every token
bound to its key by DPoP; then RFC 8693 on a mandate (delegation.md §3).
"""

import base64
import hashlib
import secrets
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from libs.common.access.service_client import DpopAuth, ask_issuer
from libs.common.access.signatures import SigningKey

CLIENT_ID = "logiciel-fontvieille"
REDIRECT_URI = "https://logiciel.fontvieille.example/retour"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
MANDATE = "urn:espace:params:oauth:token-type:mandate"


class Refused(Exception):
    """The issuer said no; holds its OAuth error code."""


class CabinetSoftware:
    """One running copy of the software, for one caisse."""

    def __init__(self, http: httpx.AsyncClient, issuer: str, key: SigningKey) -> None:
        self._http, self._issuer, self._key = http, issuer, key
        self._nonces: dict[str, str] = {}
        self._verifier = secrets.token_urlsafe(48)
        self._state = secrets.token_urlsafe(16)
        self._actor_token = ""

    async def sign_in_address(self) -> str:
        """Push the request (RFC 9126); where to send the collaborator's browser."""
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(self._verifier.encode()).digest()).rstrip(b"=").decode()
        )
        pushed = await self._ask(
            "/par",
            {
                "response_type": "code",
                "redirect_uri": REDIRECT_URI,
                "scope": "openid",
                "state": self._state,
                "nonce": secrets.token_urlsafe(16),
                "code_challenge": challenge,
                "code_challenge_method": "S256",
                "acr_values": "mfa",
            },
        )
        query = urlencode({"client_id": CLIENT_ID, "request_uri": pushed["request_uri"]})
        return f"{self._issuer}/authorize?{query}"

    async def signed_in(self, returned: str) -> None:
        """Redeem what came back on the redirect address. Raises `Refused` on another state or issuer."""
        answer = {name: values[0] for name, values in parse_qs(urlsplit(returned).query).items()}
        if "error" in answer:
            raise Refused(answer["error"])
        # RFC 9207: an answer of another issuer, or to another request, is not ours.
        if answer.get("state") != self._state or answer.get("iss") != self._issuer:
            raise Refused("mixed_up")
        tokens = await self._ask(
            "/token",
            {
                "grant_type": "authorization_code",
                "code": answer["code"],
                "redirect_uri": REDIRECT_URI,
                "code_verifier": self._verifier,
                "resource": self._issuer,
            },
        )
        self._actor_token = tokens["access_token"]

    async def act_for(self, mandate: str, resource: str, scope: str) -> dict[str, Any]:
        """A delegated token on `mandate` for one audience. Raises `Refused`."""
        return await self._ask(
            "/token",
            {
                "grant_type": EXCHANGE,
                "subject_token": mandate,
                "subject_token_type": MANDATE,
                "actor_token": self._actor_token,
                "actor_token_type": ACCESS_TOKEN,
                "resource": resource,
                "scope": scope,
            },
        )

    async def portfolio(self, cabinet: str) -> dict[str, Any]:
        """The clients of the cabinet that the collaborator sees."""
        answer = await self.call("GET", f"{self._issuer}/api/cabinets/{cabinet}/portfolio", self._actor_token)
        answer.raise_for_status()
        return answer.json()

    async def me(self) -> dict[str, Any]:
        """Who signed in, and for whom."""
        answer = await self.call("GET", f"{self._issuer}/api/me", self._actor_token)
        answer.raise_for_status()
        return answer.json()

    async def call(self, method: str, url: str, token: str, **options: Any) -> httpx.Response:
        """Call an API with a token bound to our key."""
        return await self._http.request(
            method,
            url,
            auth=DpopAuth(self._key, token, nonces=self._nonces),
            follow_redirects=False,
            **options,
        )

    async def _ask(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        answer = await ask_issuer(
            self._http,
            self._issuer + path,
            form,
            issuer=self._issuer,
            client_id=CLIENT_ID,
            key=self._key,
            dpop_key=self._key,
            nonces=self._nonces,
        )
        body = answer.json()
        if answer.status_code >= 400:
            raise Refused(body.get("error", str(answer.status_code)))
        return body
