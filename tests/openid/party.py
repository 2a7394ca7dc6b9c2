"""The other side of every test: people with a browser, and clients with keys, over HTTP."""

import base64
import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import msgspec

from libs.common.access.dpop import dpop_proof
from libs.common.access.signatures import SigningKey, sign_compact, unb64url
from libs.common.database.pool import Database
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.identifiers import new_id
from services.identity.caisses.caisse import OpenRegistration
from services.identity.openid.clients import CODE, REFRESH, ClientMetadata
from services.identity.openid.write_client import open_registration, register_client
from services.identity.sign_in.session import cookie_name, open_session
from tests.conftest import HeldClock, no_cache_keeps_a_redirect

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SCOPE = (
    "openid profile email address phone offline_access declaration.read declaration.submit attestation.read "
    "attestation.request mandate.manage"
)


def claims_of(jwt: str) -> dict[str, Any]:
    return msgspec.json.decode(unb64url(jwt.split(".")[1]), type=dict[str, Any])


def header_of(jwt: str) -> dict[str, Any]:
    return msgspec.json.decode(unb64url(jwt.split(".")[0]), type=dict[str, Any])


async def add_row_of_caisse(db: Database, slug: CaisseSlug, now: datetime) -> None:
    async with db.across_caisses() as tx:
        await tx.execute(
            """
            INSERT INTO caisse (slug, name, network_number, siren, address, phone, email, website, mail_from,
                                created_at)
            VALUES ($1, 'Caisse ' || $1, '13', '732829320', '{}', '04 00 00 00 00', 'contact@caisse.example',
                    'https://caisse.example', 'ne-pas-repondre@caisse.example', $2)
            ON CONFLICT DO NOTHING
            """,
            slug, now,
        )  # fmt: skip


@dataclass
class Issuer:
    """One caisse's issuer as the tests reach it."""

    settings: Settings
    caisse: CaisseSlug
    db: Database
    clock: HeldClock
    transport: httpx.AsyncBaseTransport

    @property
    def url(self) -> str:
        return f"{self.settings.identity.base}/{self.caisse}"

    @property
    def adherent(self) -> str:
        return f"{self.settings.adherent.base}/{self.caisse}"

    @property
    def documents(self) -> str:
        return f"{self.settings.documents.base}/{self.caisse}"

    def http(self) -> httpx.AsyncClient:
        base, hooks = self.settings.identity.base, {"response": [no_cache_keeps_a_redirect]}
        return httpx.AsyncClient(transport=self.transport, base_url=base, event_hooks=hooks)

    async def opens(self, choice: OpenRegistration) -> None:
        async with self.db.transaction(self.caisse) as tx:
            await open_registration(tx, choice, now=self.clock())

    async def told(self) -> dict[str, Any]:
        """The discovery document at this moment."""
        async with self.http() as http:
            return (await http.get(f"/{self.caisse}/.well-known/openid-configuration")).json()

    async def client(self, **changes: Any) -> "Party":
        """A confidential `standard` client with its own keys, already registered; `changes` are metadata."""
        key = changes.pop("key", None) or SigningKey.generate("ES256")
        method = changes.get("token_endpoint_auth_method", "private_key_jwt")
        said: dict[str, Any] = {
            "client_name": "Logiciel de test",
            "redirect_uris": ("https://client.example/cb",),
            "post_logout_redirect_uris": ("https://client.example/out",),
            "grant_types": (CODE, REFRESH),
            "scope": SCOPE,
            "resources": (self.adherent, self.documents),
            "consent": "explicit" if method == "none" else "implicit",
            **({"jwks": {"keys": [key.published_jwk()]}} if method == "private_key_jwt" else {}),
            **({"id_token_signed_response_alg": "RS256"} if changes.get("profile") == "compat" else {}),
            **changes,
        }  # fmt: skip
        metadata = ClientMetadata(**said)
        async with self.db.transaction(self.caisse) as tx:
            client = await register_client(tx, metadata, now=self.clock(), plain_http=True)
        return Party(self, client.client_id, key, metadata, client.secret)

    async def plain_client(self, **changes: Any) -> "Party":
        """A `compat` client as OpenID Connect's Basic profile knows them: a secret, RS256, bearer tokens."""
        method = changes.pop("token_endpoint_auth_method", "client_secret_basic")
        return await self.client(profile="compat", token_endpoint_auth_method=method, **changes)

    async def person(self, **account: Any) -> "Somebody":
        """A person, with an active account for a firm of their own unless `firms=0`."""
        who = Somebody(self, new_id(), f"{secrets.token_hex(6)}@example.test")
        firms = account.pop("firms", 1)
        async with self.db.transaction(self.caisse) as tx:
            await tx.execute(
                "INSERT INTO person (id, email, email_key, full_name, created_at) VALUES ($1, $2, $2, $3, $4)",
                who.id, who.email, "Camille Martin", self.clock(),
            )  # fmt: skip
            for _ in range(firms):
                who.accounts.append(await _an_account(tx, who.id, self.clock(), **account))
        return who


async def _an_account(
    tx: Any, person_id: uuid.UUID, now: datetime, **changes: Any
) -> tuple[uuid.UUID, uuid.UUID]:
    adherent_id, account_id = new_id(), new_id()
    number = secrets.token_hex(4)
    await tx.execute(
        """
        INSERT INTO adherent (id, caisse, adherent_number, siren, siret, legal_name, address, imported_at)
        VALUES ($1, $2, $3, '732829320', '73282932000074', 'Maçonnerie ' || $3, '{1 rue du Port}', $4)
        """,
        adherent_id, tx.caisse, number, now,
    )  # fmt: skip
    await tx.execute(
        """
        INSERT INTO account (id, caisse, person_id, adherent_id, is_administrator, rights, state, created_at,
                             activated_at)
        VALUES ($1, $2, $3, $4, $5, $6, 'active', $7, $7)
        """,
        account_id, tx.caisse, person_id, adherent_id, changes.get("is_administrator", True),
        changes.get("rights", []), now,
    )  # fmt: skip
    return account_id, adherent_id


@dataclass
class Somebody:
    """A person and their browser: cookies are kept as a browser would, `__Host-` ones included."""

    issuer: Issuer
    id: uuid.UUID
    email: str
    accounts: list[tuple[uuid.UUID, uuid.UUID]] = field(default_factory=list[tuple[uuid.UUID, uuid.UUID]])
    cookies: dict[str, str] = field(default_factory=dict[str, str])
    session_id: uuid.UUID | None = None

    async def sign_in(self, *, acr: Any = "pwd", amr: list[str] | None = None) -> "Somebody":
        """A session as the sign-in page would open it."""
        now = self.issuer.clock()
        async with self.issuer.db.transaction(self.issuer.caisse) as tx:
            opened = await open_session(
                tx, person_id=self.id, acr=acr, amr=amr or ["pwd"], now=now,
                second_factor_at=now if acr != "pwd" else None,
            )  # fmt: skip
        self.cookies[cookie_name(self.issuer.caisse)] = opened.cookie
        self.session_id = opened.session.id
        return self

    async def get(self, url: str) -> httpx.Response:
        return await self._send("GET", url)

    async def post(self, url: str, form: dict[str, str]) -> httpx.Response:
        return await self._send("POST", url, form)

    async def _send(self, method: str, url: str, form: dict[str, str] | None = None) -> httpx.Response:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Accept": "text/html", **({"Cookie": cookies} if cookies else {})}
        if method == "POST":
            headers["Origin"] = self.issuer.settings.identity.base
        async with self.issuer.http() as http:
            answer = await http.request(method, url, data=form, headers=headers)
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            if "Max-Age=0" in line or value == "":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer

    async def submit(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """Fill the page's form and send it; its hidden fields go along."""
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        action = re.search(r'<form method="post" action="([^"]+)"', page.text)
        assert action is not None, page.text[:500]
        return await self.post(
            unescape(action[1]), {name: unescape(v) for name, v in hidden.items()} | fields
        )


@dataclass
class Party:
    """A client: its identity, its keys, and how it speaks."""

    issuer: Issuer
    client_id: str
    key: SigningKey
    metadata: ClientMetadata
    secret: str | None = None
    dpop: SigningKey = field(default_factory=lambda: SigningKey.generate("ES256"))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    @property
    def is_plain(self) -> bool:
        """A plain OpenID Connect client: no PKCE, no PAR, no DPoP."""
        return self.metadata.profile == "compat"

    def now(self) -> int:
        return int(self.issuer.clock().timestamp())

    def assertion(
        self, *, header: dict[str, Any] | None = None, drop: tuple[str, ...] = (), **claims: Any
    ) -> str:
        now = self.now()
        said = {
            "iss": self.client_id, "sub": self.client_id, "aud": self.issuer.url,
            "iat": now, "exp": now + 60, "jti": secrets.token_urlsafe(12), **claims,
        }  # fmt: skip
        said = {name: value for name, value in said.items() if name not in drop}
        return sign_compact(self.key, header if header is not None else {"kid": self.key.kid}, said)

    def credentials(self) -> dict[str, str]:
        match self.metadata.token_endpoint_auth_method:
            case "private_key_jwt":
                return {"client_assertion_type": ASSERTION, "client_assertion": self.assertion()}
            case "client_secret_post":
                return {"client_id": self.client_id, "client_secret": self.secret or ""}
            case _:
                return {"client_id": self.client_id}

    def proof(self, path: str, method: str = "POST", **changes: Any) -> str:
        return dpop_proof(changes.pop("key", self.dpop), method, f"{self.issuer.url}{path}",
                          clock=lambda: changes.pop("iat", self.now()), **changes)  # fmt: skip

    async def post(
        self, path: str, form: dict[str, str], *, proof: str | None = "", headers: dict[str, str] | None = None,
        credentials: dict[str, str] | None = None,
    ) -> httpx.Response:  # fmt: skip
        """A back-channel request. `proof=None` sends no DPoP header."""
        sent = dict(headers or {})
        if proof is not None and not (self.is_plain and proof == ""):
            sent["DPoP"] = proof or self.proof(path)
        if self.metadata.token_endpoint_auth_method == "client_secret_basic" and credentials is None:
            pair = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
            sent["Authorization"] = f"Basic {pair}"
            credentials = {}
        said = {**(self.credentials() if credentials is None else credentials), **form}
        async with self.issuer.http() as http:
            return await http.post(f"/{self.issuer.caisse}{path}", data=said, headers=sent)

    def request(self, **changes: str | None) -> dict[str, str]:
        """The parameters of an authorization request; `None` leaves one out."""
        said: dict[str, str | None] = {
            "client_id": self.client_id,
            "redirect_uri": self.metadata.redirect_uris[0] if self.metadata.redirect_uris else None,
            "response_type": "code",
            "scope": "openid",
            "state": "état".encode().hex(),
            "nonce": "n-" + secrets.token_hex(4),
            "code_challenge": None if self.is_plain else self.challenge,
            "code_challenge_method": None if self.is_plain else "S256",
            **changes,
        }
        return {name: value for name, value in said.items() if value is not None}

    async def push(self, **changes: str | None) -> httpx.Response:
        return await self.post("/par", self.request(**changes))

    async def authorize_url(self, **changes: str | None) -> str:
        """Pushed when the client must, plain otherwise."""
        if self.metadata.token_endpoint_auth_method != "none" and self.metadata.profile != "compat":
            pushed = await self.push(**changes)
            assert pushed.status_code == 201, pushed.text
            query = {"client_id": self.client_id, "request_uri": pushed.json()["request_uri"]}
        else:
            query = self.request(**changes)
        return f"/{self.issuer.caisse}/authorize?{urlencode(query)}"

    async def authorize(self, who: Somebody, **changes: str | None) -> httpx.Response:
        return await who.get(await self.authorize_url(**changes))

    async def answer(self, who: Somebody, **changes: str | None) -> dict[str, str]:
        """What the client reads in the end, the person having agreed where asked."""
        page = await self.authorize(who, **changes)
        if page.status_code == 200 and 'id="accept"' in page.text:
            onward = await who.submit(page, choice="accept")
            page = await who.get(onward.headers["location"])
        return callback(page)

    async def code(self, who: Somebody, **changes: str | None) -> str:
        return (await self.answer(who, **changes))["code"]

    async def redeem(self, code: str, *, proof: str | None = "", **changes: str | None) -> httpx.Response:
        said: dict[str, str | None] = {
            "grant_type": CODE,
            "code": code,
            "redirect_uri": self.metadata.redirect_uris[0],
            "code_verifier": None if self.is_plain else self.verifier,
            **changes,
        }
        form = {name: value for name, value in said.items() if value is not None}
        return await self.post("/token", form, proof=proof)

    async def tokens(
        self, who: Somebody, *, resource: str | None = None, **changes: str | None
    ) -> dict[str, Any]:
        answer = await self.redeem(await self.code(who, **changes), resource=resource)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refresh(self, token: str, **changes: str) -> httpx.Response:
        return await self.post("/token", {"grant_type": REFRESH, "refresh_token": token, **changes})

    async def userinfo(self, token: str, *, method: str = "GET", scheme: str = "") -> httpx.Response:
        scheme = scheme or ("Bearer" if self.is_plain else "DPoP")
        headers = {"Authorization": f"{scheme} {token}"}
        if scheme.lower() == "dpop":
            headers["DPoP"] = self.proof("/userinfo", method, access_token=token)
        async with self.issuer.http() as http:
            return await http.request(method, f"/{self.issuer.caisse}/userinfo", headers=headers)


def callback(answer: httpx.Response) -> dict[str, str]:
    """What the client reads in the redirect."""
    assert answer.status_code == 303, (answer.status_code, answer.text[-1500:])
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


async def discovered(issuer: Issuer) -> dict[str, Any]:
    async with issuer.http() as http:
        return (await http.get(f"/{issuer.caisse}/.well-known/openid-configuration")).json()
