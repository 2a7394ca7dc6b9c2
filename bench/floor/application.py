"""The floor: bare ASGI handlers that do the same signatures, checks and SQL as Espace, and nothing else.

No framework, no authlib, no structure: one caisse, confidential clients of the bench alone. It answers with the
same keys from the same rows, so that its tokens and Espace's are each other's. What it costs is what a correct
answer costs on this machine; the distance to it is the price of our structure (`python -m bench.floor.application
PORT`, settings from the environment).
"""

import base64
import hashlib
import hmac
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import msgspec

from bench.floor import statements
from bench.floor.connections import Connections
from bench.floor.jwt import Keys, at_hash, opened, own_claims
from libs.common.access.signatures import VerifyingKey, verifying_key
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import parse_caisse_slug
from libs.common.values.identifiers import new_id, parse_public_id, public_id
from services.identity.openid import discovery
from services.identity.openid.bucket_names import (
    code_place,
    grant_bucket,
    new_code,
    new_grant_id,
    new_refresh_secret,
    refresh_place,
)
from services.identity.openid.buckets import RINGS, bucket_of
from services.identity.openid.issuer import Issuer, audiences_of
from services.identity.signing_keys.key_ring import KeyRing
from services.identity.signing_keys.opened import Opened

CAISSE = parse_caisse_slug("mediterranee")
LIFE, ID_LIFE = 600, 600
IDLE = timedelta(days=14)
JSON = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]

Answer = tuple[int, bytes, list[tuple[bytes, bytes]]]
decode, encode = msgspec.json.decode, msgspec.json.encode


class Refused(Exception):
    """Whatever is wrong is one answer: the bench voids a window that meets it."""


@lru_cache(maxsize=64)
def client_keys(metadata: str) -> dict[str, VerifyingKey]:
    """The registered keys, read once for each text that the database gave."""
    found: list[dict[str, Any]] = decode(metadata)["jwks"]["keys"]
    return {key["kid"]: verifying_key(key, "ES256") for key in found}


@lru_cache(maxsize=64)
def client_redirects(metadata: str) -> frozenset[str]:
    return frozenset(decode(metadata)["redirect_uris"])


class Floor:
    """One caisse's issuer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.issuer = f"{settings.identity.base}/{CAISSE}"
        path = f"/{CAISSE}"
        self.routes: dict[str, Callable[[Any, bytes], Awaitable[Answer]]] = {
            f"{path}/.well-known/openid-configuration": self.discovery,
            f"{path}/jwks": self.jwks,
            f"{path}/token": self.token,
            f"{path}/introspect": self.introspection,
            f"{path}/userinfo": self.userinfo,
            f"{path}/authorize": self.authorize,
        }

    async def open(self) -> None:
        self.db = await Connections.open(self.settings.identity.dsn)
        self.keys = await Keys.read(self.settings, CAISSE)
        base = self.settings
        audiences = audiences_of(
            self.issuer, f"{base.adherent.base}/{CAISSE}", f"{base.documents.base}/{CAISSE}"
        )
        # The same bytes as Espace, which has `compat` clients here.
        ring = KeyRing({}, [], Opened(registers=False, compat=True))
        self.document = discovery.document(Issuer(CAISSE, self.issuer, audiences, ring))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            body = b""
            if scope["method"] == "POST":
                more = True
                while more:
                    message = await receive()
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
            status, answer, headers = await self.routes[scope["path"]](scope, body)
        except (Refused, KeyError, ValueError, TypeError) as error:
            status, answer, headers = 400, encode({"error": repr(error)}), JSON
        length = (b"content-length", str(len(answer)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": answer})

    async def _live(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.open()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.db.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def discovery(self, scope: Any, body: bytes) -> Answer:
        return 200, self.document, JSON

    async def jwks(self, scope: Any, body: bytes) -> Answer:
        return 200, self.keys.jwks, JSON

    async def token(self, scope: Any, body: bytes) -> Answer:
        form = form_of(body)
        match form["grant_type"]:
            case "client_credentials" if "client_assertion" in form:
                return await self.credentials_by_key(form)
            case "client_credentials":
                client_id, secret = basic(scope)
                row = await self.db.one(statements.CLIENT, client_id, CAISSE)
                authenticated(row, secret)
                return 200, self.service_token(client_id), JSON
            case "refresh_token":
                return await self.refresh(scope, form)
            case "authorization_code":
                return await self.code(scope, form)
            case _:
                raise Refused

    async def credentials_by_key(self, form: dict[str, str]) -> Answer:
        header, claims, signature, signed = opened(form["client_assertion"])
        client_id, now = claims["sub"], time.time()
        row = await self.db.one(statements.CLIENT, client_id, CAISSE)
        key = client_keys(row["metadata"])[header["kid"]]
        if header["alg"] != key.alg or not row["is_active"] or not key.verifies(signature, signed):
            raise Refused
        if claims["iss"] != client_id or claims["aud"] != self.issuer or not now < claims["exp"] <= now + 330:
            raise Refused
        expires_at = datetime.fromtimestamp(claims["exp"] + 30, UTC)
        bucket = int(expires_at.timestamp()) // 900 % 4
        first = await self.db.one(
            statements.REMEMBER_JTI, CAISSE, bucket, client_id, claims["jti"], expires_at
        )
        if not first:
            raise Refused
        return 200, self.service_token(client_id), JSON

    def service_token(self, client_id: str) -> bytes:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": self.issuer, "caisse": CAISSE, "client_id": client_id, "sub": client_id,
            "iat": now, "exp": now + LIFE, "scope": "", "jti": secrets.token_urlsafe(12),
        }  # fmt: skip
        access = self.keys.sign(claims, "at+jwt")
        return encode({"access_token": access, "token_type": "Bearer", "expires_in": LIFE, "scope": ""})

    async def refresh(self, scope: Any, form: dict[str, str]) -> Answer:
        client_id, secret = basic(scope)
        place = refresh_place(form["refresh_token"])
        row = await self.db.one(
            statements.REFRESH, client_id, place.digest, *place.rows, *place.grants, CAISSE
        )
        authenticated(row, secret)
        now = datetime.now(UTC)
        in_force(row, client_id, now)
        if row["spent_at"] is not None:
            raise Refused
        until = min(now + IDLE, row["grant_expires_at"])
        if row["expires_at"] < until - timedelta(minutes=1):
            # At most once a minute, here as in Espace.
            await self.db.one(statements.PROLONG, CAISSE, place.digest, until, *place.rows)
        return 200, encode(self.tokens(row, client_id, now, None)), JSON

    async def code(self, scope: Any, form: dict[str, str]) -> Answer:
        client_id, secret = basic(scope)
        place = code_place(form["code"])
        row = await self.db.one(statements.CODE, client_id, place.digest, *place.rows, *place.grants, CAISSE)
        authenticated(row, secret)
        now = datetime.now(UTC)
        in_force(row, client_id, now)
        challenge = b64url(hashlib.sha256(form["code_verifier"].encode()).digest())
        if row["consumed_at"] is not None or form["redirect_uri"] != row["redirect_uri"]:
            raise Refused
        if not hmac.compare_digest(challenge, row["code_challenge"]):
            raise Refused
        refresh, until = new_refresh_secret(row["grant_id"]), min(now + IDLE, row["grant_expires_at"])
        won = await self.db.one(
            statements.CONSUME_CODE, CAISSE, place.digest, now, *place.rows, hash_of(refresh), until,
            grant_bucket(row["grant_id"]),
        )  # fmt: skip
        if not won:
            raise Refused
        return 200, encode(self.tokens(row, client_id, now, row["nonce"]) | {"refresh_token": refresh}), JSON

    def tokens(self, row: Any, client_id: str, now: datetime, nonce: str | None) -> dict[str, Any]:
        """An access token and an ID token: two signatures."""
        granted, at = decode(row["granted"]), int(now.timestamp())
        said = {
            "iss": self.issuer, "iat": at, "acr": granted["acr"], "amr": granted["amr"],
            "auth_time": granted["auth_time"], "sid": public_id("ses", row["session_id"]),
        }  # fmt: skip
        claims = said | {
            "aud": self.issuer, "caisse": CAISSE, "client_id": client_id, "exp": at + LIFE,
            "scope": " ".join(granted["scopes"]), "sub": public_id("per", row["person_id"]),
            "jti": f"{public_id('gnt', row['grant_id'])}.{secrets.token_urlsafe(12)}",
        }  # fmt: skip
        if row["adherent_id"] is not None:
            claims["adherent"] = public_id("adh", row["adherent_id"])
        access = self.keys.sign(claims, "at+jwt")
        identity = said | {
            "sub": granted["subject"], "aud": client_id, "exp": at + ID_LIFE, "at_hash": at_hash(access),
        }  # fmt: skip
        if nonce is not None:
            identity["nonce"] = nonce
        return {
            "access_token": access, "token_type": "Bearer", "expires_in": LIFE, "scope": claims["scope"],
            "id_token": self.keys.sign(identity, "JWT"),
        }  # fmt: skip

    async def introspection(self, scope: Any, body: bytes) -> Answer:
        client_id, secret = basic(scope)
        claims = own_claims(self.keys, form_of(body)["token"], self.issuer)
        row = await self.db.one(
            statements.INTROSPECTION, client_id, *of_token(claims), claims["client_id"], CAISSE
        )
        authenticated(row, secret)
        if claims["client_id"] != client_id or not (row["in_force"] and row["holder_is_active"]):
            return 200, encode({"active": False}), JSON
        if row["is_revoked"] or claims["exp"] <= time.time():
            return 200, encode({"active": False}), JSON
        return 200, encode({"active": True, "token_type": "Bearer"} | claims), JSON

    async def userinfo(self, scope: Any, body: bytes) -> Answer:
        scheme, _, token = header(scope, b"authorization").partition(" ")
        claims = own_claims(self.keys, token, self.issuer)
        if scheme != "Bearer" or claims["aud"] != self.issuer or claims["exp"] <= time.time():
            raise Refused
        client_id = claims["client_id"]
        row = await self.db.one(statements.USERINFO, client_id, *of_token(claims), CAISSE)
        if not (row["is_active"] and row["in_force"]) or row["is_revoked"]:
            raise Refused
        known = {"sub": decode(row["granted"])["subject"]}
        scopes = claims["scope"].split()
        if "email" in scopes:
            known |= {"email": row["email"], "email_verified": True}
        if "profile" in scopes:
            known |= {"name": row["full_name"], "locale": row["locale"]}
        return 200, encode(known), JSON

    async def authorize(self, scope: Any, body: bytes) -> Answer:
        asked = form_of(scope["query_string"])
        cookie = cookie_of(header(scope, b"cookie"), f"__Host-espace-{CAISSE}")
        now = datetime.now(UTC)
        row = await self.db.one(
            statements.BROWSER, asked["client_id"], hash_of(cookie), now - timedelta(hours=2),
            now - timedelta(hours=12), CAISSE,
        )  # fmt: skip
        if not row["is_active"] or asked["redirect_uri"] not in client_redirects(row["metadata"]):
            raise Refused
        if row["session_id"] is None or asked["response_type"] != "code":
            raise Refused
        ends = now + timedelta(hours=12)
        grant_id = new_grant_id(ends)
        scopes, until = asked["scope"].split(), now + timedelta(seconds=60)
        code = new_code(until, grant_id)
        person = public_id("per", row["person_id"])
        granted = {
            "scopes": scopes, "resources": [], "auth_time": int(row["auth_time"].timestamp()), "acr": row["acr"],
            "amr": row["amr"], "subject": person,
        }  # fmt: skip
        noted = {"sid": public_id("ses", row["session_id"]), "scopes": scopes}
        await self.db.one(
            statements.STORE_GRANT, CAISSE, grant_id, asked["client_id"], row["person_id"], row["session_id"],
            row["account_id"], encode(granted).decode(), now, ends, hash_of(code),
            asked["redirect_uri"], asked["code_challenge"], asked["nonce"], until, new_id(), row["adherent_id"],
            encode(noted).decode(), bucket_of("authorization_code", until), grant_bucket(grant_id),
        )  # fmt: skip
        back = urlencode({"code": code, "state": asked["state"], "iss": self.issuer})
        return 303, b"", [(b"location", f"{asked['redirect_uri']}?{back}".encode())]


def authenticated(row: Any, secret: str) -> None:
    digest = hashlib.sha256(secret.encode()).digest()
    if row is None or not row["is_active"] or not hmac.compare_digest(digest, row["secret_hash"]):
        raise Refused


def in_force(row: Any, client_id: str, now: datetime) -> None:
    if row["client_id"] != client_id or not row["in_force"]:
        raise Refused
    if row["expires_at"] <= now or row["grant_expires_at"] <= now:
        raise Refused


def header(scope: Any, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    raise Refused


def basic(scope: Any) -> tuple[str, str]:
    client_id, _, secret = base64.b64decode(header(scope, b"authorization")[6:]).decode().partition(":")
    return unquote(client_id), unquote(secret)


def cookie_of(line: str, name: str) -> str:
    for pair in line.split("; "):
        key, _, value = pair.partition("=")
        if key == name:
            return value
    raise Refused


def form_of(body: bytes) -> dict[str, str]:
    """Raises `Refused` when a parameter is doubled."""
    found = parse_qs(body.decode("ascii"), strict_parsing=True)
    if any(len(values) > 1 for values in found.values()):
        raise Refused
    return {name: values[0] for name, values in found.items()}


def of_token(claims: dict[str, Any]) -> tuple[object, ...]:
    """Grant and jti of a person's token, and the buckets of the grant and of a revocation."""
    grant_id = parse_public_id("gnt", claims["jti"].partition(".")[0])
    return grant_id, claims["jti"], grant_bucket(grant_id), RINGS["revoked_token"].at_second(claims["exp"])


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def create_app(settings: Settings) -> Floor:
    return Floor(settings)


if __name__ == "__main__":
    from libs.common.runtime.serve import answer
    from libs.common.runtime.settings import load_settings

    answer("bench.floor.application:create_app", "identity", "127.0.0.1", int(sys.argv[1]), load_settings())
