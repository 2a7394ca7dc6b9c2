"""One client and one browser, the same towards us and towards a peer: requests as bytes, signed beforehand."""

import base64
import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

from bench.http_load import Answer, Wrong, ask_once, request
from libs.common.access.dpop import dpop_proof
from libs.common.access.signatures import SigningKey, sign_compact

REDIRECT = "https://client.example/cb"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SCOPE = "openid profile email offline_access"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()

ClientName = Literal["plain", "signed", "bound"]
"""`plain` has a secret and bearer tokens; `signed` private_key_jwt and bearer tokens; `bound` also PAR and DPoP."""


@dataclass(frozen=True)
class Client:
    """A registered client."""

    client_id: str
    secret: str | None
    key: SigningKey
    """For `private_key_jwt`."""
    dpop: SigningKey | None


@dataclass(frozen=True)
class Delegation:
    """A mandate in force, by its handle, and the browser of a collaborator who may use it at `resource`."""

    mandate: str
    resource: str
    cookies: dict[str, str]


@dataclass
class Party:
    """A provider under load, with what its clients and one signed-in browser know. Same paths everywhere."""

    name: str
    host: str
    issuer: str
    """Identifier; its path prefixes every endpoint."""
    clients: dict[ClientName, Client]
    cookies: dict[str, str] = field(default_factory=dict[str, str])
    credentials_resource: str = ""
    """What `client_credentials` must name so that the token is a signed one."""
    lacks: frozenset[str] = frozenset()
    """Operations it does not do."""
    forgets: bool = False
    """Whether its store drops what is old: a session and its grants must then be renewed before they are leant on."""
    delegation: Delegation | None = None

    @property
    def prefix(self) -> str:
        return urlsplit(self.issuer).path

    def get(self, path: str, **headers: str) -> bytes:
        return request("GET", self.host, self.prefix + path, headers=headers)

    def post(self, path: str, name: ClientName, form: dict[str, str]) -> bytes:
        """A back-channel request of the client `name`, credentials and proof included."""
        client, headers = self.clients[name], dict[str, str]()
        if client.secret is not None:
            pair = base64.b64encode(f"{client.client_id}:{client.secret}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        else:
            form = form | {"client_assertion_type": ASSERTION, "client_assertion": self._assertion(client)}
        if client.dpop is not None and path == "/token":
            headers["DPoP"] = dpop_proof(client.dpop, "POST", self.issuer + path)
        return request("POST", self.host, self.prefix + path, headers=headers, form=form)

    def _assertion(self, client: Client) -> str:
        now = int(time.time())
        claims = {
            "iss": client.client_id, "sub": client.client_id, "aud": self.issuer,
            "iat": now, "exp": now + 240, "jti": secrets.token_urlsafe(12),
        }  # fmt: skip
        return sign_compact(client.key, {"kid": client.key.kid}, claims)

    def authorization(self, name: ClientName) -> dict[str, str]:
        return {
            "client_id": self.clients[name].client_id, "redirect_uri": REDIRECT, "response_type": "code",
            "scope": SCOPE, "state": secrets.token_urlsafe(8), "nonce": secrets.token_urlsafe(8),
            "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        }  # fmt: skip

    def authorize(self, parameters: dict[str, str], cookies: dict[str, str] | None = None) -> bytes:
        """As the party's browser, or another's `cookies`."""
        shown = "; ".join(f"{name}={value}" for name, value in (cookies or self.cookies).items())
        path = f"{self.prefix}/authorize?{urlencode(parameters)}"
        return request("GET", self.host, path, headers={"Cookie": shown, "Accept": "text/html"})

    def redeem(self, name: ClientName, code: str) -> bytes:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }
        return self.post("/token", name, form)

    async def stay_signed_in(self) -> None:
        """Outside any window. One client at a time: a code of another grant than the session's would be refused."""
        if self.forgets:
            await self.sign_in_by_redirects("plain")
            await self.sign_in_by_redirects("bound")

    async def sign_in_by_redirects(self, name: ClientName) -> None:
        """Follow the peer's own redirects until it answers the client, keeping its cookies."""
        raw = self.authorize(self.authorization(name))
        for _ in range(6):
            answer = await ask_once(self.host, raw)
            for line in answer.headers("set-cookie"):
                pair = line.partition(";")[0]
                cookie, _, value = pair.partition("=")
                self.cookies.pop(cookie, None)
                if value:
                    self.cookies[cookie] = value
            onward = answer.header("location")
            if onward.startswith(REDIRECT):
                return
            if not onward:
                raise Wrong(f"{answer.status} {answer.body[:400]!r}")
            cookies = "; ".join(f"{cookie}={value}" for cookie, value in self.cookies.items())
            where = urlsplit(onward)
            raw = request("GET", self.host, where.path + ("?" + where.query) * bool(where.query),
                          headers={"Cookie": cookies, "Accept": "text/html"})  # fmt: skip
        raise Wrong("the peer keeps redirecting")


def code_of(answer: Answer) -> str:
    """The code in a redirect to the client. Raises `Wrong`."""
    where = answer.header("location")
    if (answer.status != 303 and answer.status != 302) or not where.startswith(REDIRECT):
        said = re.sub(rb"\s+", b" ", answer.body[:300])
        raise Wrong(f"{answer.status} {where} {said!r}")
    code = parse_qs(urlsplit(where).query).get("code")
    if not code:
        raise Wrong(where)
    return code[0]


def field_of(answer: Answer, name: str) -> Any:
    if answer.status not in (200, 201):
        raise Wrong(f"{answer.status} {answer.body[:300]!r}")
    if name not in answer.json():
        raise Wrong(f"no {name} in {answer.body[:300]!r}")
    return answer.json()[name]
