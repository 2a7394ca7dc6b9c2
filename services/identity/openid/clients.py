"""A client as registered (RFC 7591), and what its profile lets it do."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

Profile = Literal["fapi", "standard", "compat"]
AuthenticationMethod = Literal["private_key_jwt", "none", "client_secret_basic", "client_secret_post"]
Algorithm = Literal["ES256", "EdDSA", "PS256", "RS256"]

CODE = "authorization_code"
REFRESH = "refresh_token"
CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
GRANT_TYPES = frozenset({CODE, REFRESH, CLIENT_CREDENTIALS, TOKEN_EXCHANGE})

CLIENT_ID = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Every client's name; anything else is nobody's, and is looked for nowhere."""


class ClientMetadata(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """RFC 7591 §2, OpenID Connect Registration §2 and logout extensions, with four of our own:

    `profile`; `consent` (`implicit` for the caisse's own portal); `resources`, the audiences it may ask
    a token for; `introspects`, the audiences whose tokens it may introspect as a resource server.
    """

    client_name: str
    profile: Profile = "standard"
    application_type: Literal["web", "native"] = "web"
    token_endpoint_auth_method: AuthenticationMethod = "private_key_jwt"
    token_endpoint_auth_signing_alg: str | None = None
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = (CODE,)
    response_types: tuple[str, ...] = ("code",)
    scope: str = ""
    resources: tuple[str, ...] = ()
    introspects: tuple[str, ...] = ()
    consent: Literal["explicit", "implicit"] = "explicit"
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    subject_type: Literal["public", "pairwise"] = "public"
    sector_identifier_uri: str | None = None
    id_token_signed_response_alg: Algorithm = "ES256"
    userinfo_signed_response_alg: Algorithm | None = None
    introspection_signed_response_alg: Algorithm = "ES256"
    request_object_signing_alg: str | None = None
    request_uris: tuple[str, ...] = ()
    require_signed_request_object: bool = False
    require_pushed_authorization_requests: bool = False
    dpop_bound_access_tokens: bool = False
    require_dpop_nonce: bool = False
    default_max_age: int | None = None
    default_acr_values: tuple[str, ...] = ()
    require_auth_time: bool = False
    backchannel_logout_uri: str | None = None
    backchannel_logout_session_required: bool = False
    initiate_login_uri: str | None = None
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    contacts: tuple[str, ...] = ()
    software_id: str | None = None
    software_version: str | None = None

    @property
    def is_confidential(self) -> bool:
        return self.token_endpoint_auth_method != "none"

    @property
    def has_a_secret(self) -> bool:
        return self.token_endpoint_auth_method.startswith("client_secret")

    def is_surely_at(self, redirect_uri: str) -> bool:
        """Whether nobody else can be answered there under this client's name (RFC 8252 §8.6).

        A native app without a secret has a loopback port or a private scheme, which any program of the machine takes.
        """
        is_web = self.application_type == "web" or redirect_uri.startswith("https://")
        return self.is_confidential or is_web


@lru_cache(maxsize=1024)
def words_of(scope: str) -> frozenset[str]:
    """The words of a registered scope: asked some ten times a request, of few texts."""
    return frozenset(scope.split())


class Client(Struct, frozen=True, kw_only=True):
    """A registered client of one caisse, in the shape that authlib's grants ask for."""

    client_id: str
    state: Literal["active", "disabled"]
    secret_hash: bytes | None
    metadata: ClientMetadata
    not_before: datetime | None = None
    """Grants made until then are over: it proved who it is, and does so no more."""
    read_at: datetime | None = None
    """The database's clock when the message began that read it, and all that was read with it."""

    @property
    def profile(self) -> Profile:
        return self.metadata.profile

    @property
    def is_confidential(self) -> bool:
        return self.metadata.is_confidential

    @property
    def scopes(self) -> frozenset[str]:
        """The ceiling: no token of this client holds more."""
        return words_of(self.metadata.scope)

    def is_surely_at(self, redirect_uri: str) -> bool:
        return self.metadata.is_surely_at(redirect_uri)

    @property
    def needs_pushed_requests(self) -> bool:
        """openid.md line 8: confidential clients push, `compat` apart."""
        asked = self.metadata.require_pushed_authorization_requests
        return asked or (self.is_confidential and self.profile != "compat")

    @property
    def needs_pkce(self) -> bool:
        """openid.md line 4."""
        return not (self.profile == "compat" and self.is_confidential)

    @property
    def needs_dpop(self) -> bool:
        """openid.md line 13: tokens are sender-constrained; `compat` gets bearer tokens for UserInfo alone."""
        return self.metadata.dpop_bound_access_tokens or self.profile != "compat"

    def asks_for_rotation(self) -> bool:
        """openid.md line 16: a public client's refresh token is rotated, a confidential one's is not."""
        return not self.is_confidential

    # The seams of authlib's ClientMixin.

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        """openid.md line 1: `redirect_uri` is always said, never guessed."""
        return

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(word for word in (scope or "").split() if word in self.scopes)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return is_registered(redirect_uri, self.metadata.redirect_uris, self.metadata.application_type)

    def check_client_secret(self, secret: str) -> bool:
        digest = hashlib.sha256(secret.encode()).digest()
        return self.secret_hash is not None and hmac.compare_digest(digest, self.secret_hash)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.metadata.token_endpoint_auth_method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and response_type in self.metadata.response_types

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.metadata.grant_types


def may_name_a_client(said: str) -> bool:
    return re.fullmatch(CLIENT_ID, said) is not None


def is_registered(uri: str, registered: Iterable[str], application_type: str) -> bool:
    """Exact string (RFC 9700 §4.1.3); a native app's loopback port alone may vary (RFC 8252 §7.3)."""
    known = frozenset(registered)
    if uri in known:
        return True
    if application_type != "native":
        return False
    portless = _without_loopback_port(uri)
    return portless is not None and portless in {_without_loopback_port(one) for one in known}


def _without_loopback_port(uri: str) -> str | None:
    """`http://127.0.0.1:{port}/path` without its port; `None` for any other shape."""
    for origin in ("http://127.0.0.1", "http://[::1]"):
        rest = uri.removeprefix(origin)
        if rest == uri:
            continue
        port, slash, path = rest.partition("/")
        if port == "" or _is_port(port):
            return origin + slash + path
    return None


def _is_port(text: str) -> bool:
    """`:8400`. Judged by its length first: Python refuses to read a number of thousands of digits."""
    return re.fullmatch(":[0-9]{1,5}", text) is not None and int(text[1:]) <= 65535


def sector_of(metadata: ClientMetadata) -> str:
    """OpenID Connect Core §8.1: the host whose clients share pairwise subjects."""
    if metadata.sector_identifier_uri:
        return urlsplit(metadata.sector_identifier_uri).hostname or ""
    hosts = {urlsplit(uri).hostname or "" for uri in metadata.redirect_uris}
    return hosts.pop() if len(hosts) == 1 else ""
