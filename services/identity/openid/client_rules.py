"""What a client may be: the whole of its metadata is judged at registration and again at every update.

openid.md §4, "registration tampering": there is one list of rules, and no path
that writes metadata without it.
"""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from libs.common.access.signatures import PRIVATE_MEMBERS
from libs.common.values.foreign_json import UnreadableJson, read_json
from libs.common.values.one_line import is_one_line
from services.identity.openid.client_keys import MOST_KEYS, kept_keys
from services.identity.openid.clients import (
    CLIENT_CREDENTIALS,
    CODE,
    GRANT_TYPES,
    TOKEN_EXCHANGE,
    ClientMetadata,
    sector_of,
)
from services.identity.openid.foreign_jwt import PROFILE_ALGORITHMS
from services.identity.openid.issuer import SUPPORTED_SCOPES
from services.identity.sign_in.session import ACR_RANK

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MOST_URIS = 20
LONGEST_URI = 2000
LONGEST_NAME = 200
FRAGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*")
HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
"""A name (RFC 1123 §2.1; some have an underscore) or a number. RFC 3986 §3.2.2 lets a host hold `;`, `,` and `%2f` too:
to the policy of our pages the first two end a directive, and to a person the last looks like the end of the name.
"""
LONGEST_AGE = 10 * 365 * 86400
"""Seconds; ten years."""

_anything = msgspec.json.Decoder(Any)


class InvalidClientMetadata(Exception):
    """RFC 7591 §3.2.2. `error` is `invalid_redirect_uri` or `invalid_client_metadata`."""

    def __init__(self, reason: str, error: str = "invalid_client_metadata") -> None:
        super().__init__(reason)
        self.error = error


def check_metadata(metadata: ClientMetadata, *, plain_http: bool = False) -> ClientMetadata:
    """Every rule, in order; what is kept of the metadata: of its keys, what is read of them.

    `plain_http` lets loopback addresses through, as in a demonstration. Raises `InvalidClientMetadata`.
    """
    for rule in RULES:
        rule(metadata)
    check_addresses(metadata, plain_http=plain_http)
    if metadata.jwks is None:
        return metadata
    return replace(metadata, jwks={"keys": list(kept_keys(metadata.jwks["keys"]))})


def name_can_be_read(metadata: ClientMetadata) -> None:
    """openid.md line 29: the consent page names the client, which chose its name itself."""
    if not is_one_line(metadata.client_name, longest=LONGEST_NAME):
        raise InvalidClientMetadata("The client_name is not one line of visible characters.")


def grants_fit_the_client(metadata: ClientMetadata) -> None:
    """openid.md line 3; RFC 7591 §2.1: `code` and its grant come together."""
    if not set(metadata.grant_types) <= GRANT_TYPES:
        raise InvalidClientMetadata("A grant type is not supported.")
    if not set(metadata.response_types) <= {"code"}:
        raise InvalidClientMetadata("Only the code response type is supported.")
    if (CODE in metadata.grant_types) != ("code" in metadata.response_types):
        raise InvalidClientMetadata("The code response type and its grant come together.")
    if not metadata.is_confidential and ({CLIENT_CREDENTIALS, TOKEN_EXCHANGE} & set(metadata.grant_types)):
        raise InvalidClientMetadata("A public client has no credentials of its own.")


def method_fits_the_profile(metadata: ClientMetadata) -> None:
    """openid.md §1 and line 10."""
    if metadata.has_a_secret and metadata.profile != "compat":
        raise InvalidClientMetadata("Client secrets exist in the compat profile only.")
    if metadata.profile == "fapi" and metadata.token_endpoint_auth_method != "private_key_jwt":
        raise InvalidClientMetadata("The fapi profile authenticates by private_key_jwt.")
    if metadata.consent == "implicit" and not metadata.is_confidential:
        raise InvalidClientMetadata("A public client always asks for consent.")


def remote_requests_fit_the_profile(metadata: ClientMetadata) -> None:
    """openid.md §1: a `request_uri` is fetched in `compat` alone; elsewhere its address would be kept in vain."""
    if metadata.request_uris and metadata.profile != "compat":
        raise InvalidClientMetadata("A request_uri is fetched in the compat profile only: push the request.")


def algorithms_fit_the_profile(metadata: ClientMetadata) -> None:
    """openid.md line 12: `fapi` refuses RS256; `none` and HS* exist nowhere."""
    chosen = (
        metadata.id_token_signed_response_alg,
        metadata.userinfo_signed_response_alg,
        metadata.introspection_signed_response_alg,
        metadata.token_endpoint_auth_signing_alg,
        metadata.request_object_signing_alg,
    )
    if any(alg is not None and alg not in PROFILE_ALGORITHMS[metadata.profile] for alg in chosen):
        raise InvalidClientMetadata("An algorithm is not allowed to this profile.")


def keys_are_usable(metadata: ClientMetadata) -> None:
    """RFC 7591 §2: `jwks` or `jwks_uri`, never both; public keys only, RSA of 2048 bits at least."""
    if metadata.jwks is not None and metadata.jwks_uri is not None:
        raise InvalidClientMetadata("Give jwks or jwks_uri, not both.")
    needs_keys = (
        metadata.token_endpoint_auth_method == "private_key_jwt" or metadata.require_signed_request_object
    )
    if needs_keys and metadata.jwks is None and metadata.jwks_uri is None:
        raise InvalidClientMetadata("The client's public keys are missing.")
    if metadata.jwks is not None:
        _check_keys(metadata.jwks.get("keys"))


def _check_keys(keys: object) -> None:
    try:
        found = msgspec.convert(keys, list[dict[str, Any]])
    except msgspec.ValidationError as error:
        raise InvalidClientMetadata("The jwks holds no keys.") from error
    if not 0 < len(found) <= MOST_KEYS:
        raise InvalidClientMetadata("The jwks holds no keys, or too many.")
    if any(PRIVATE_MEMBERS & key.keys() for key in found):
        raise InvalidClientMetadata("The jwks holds a private key.")
    if not kept_keys(found):
        raise InvalidClientMetadata("The jwks holds no key we can verify with.")


def scope_is_known(metadata: ClientMetadata) -> None:
    """RFC 7591 §2: a ceiling, made of words that mean something here."""
    if not set(metadata.scope.split()) <= set(SUPPORTED_SCOPES):
        raise InvalidClientMetadata("A scope is unknown.")


def redirects_are_present(metadata: ClientMetadata) -> None:
    """RFC 7591 §2: a client of the code flow says where it is answered."""
    if CODE in metadata.grant_types and not metadata.redirect_uris:
        raise InvalidClientMetadata("A redirect_uri is required.", "invalid_redirect_uri")


def sector_is_one(metadata: ClientMetadata) -> None:
    """OpenID Connect Core §8.1: several hosts need a sector_identifier_uri."""
    if metadata.subject_type != "pairwise" or metadata.sector_identifier_uri is not None:
        return
    if any(urlsplit(uri).hostname in LOOPBACK for uri in metadata.redirect_uris):
        # Every native app answers there: the host says nothing of who they are, and all would know one subject.
        raise InvalidClientMetadata("Pairwise subjects of a loopback address need a sector_identifier_uri.")
    if not sector_of(metadata):
        raise InvalidClientMetadata("Pairwise subjects of several hosts need a sector_identifier_uri.")


def levels_exist(metadata: ClientMetadata) -> None:
    """OpenID Connect Registration §2: a request may wish for a level unknown here, a default would wish in vain."""
    if not set(metadata.default_acr_values) <= ACR_RANK.keys():
        raise InvalidClientMetadata("A default level is unknown.")


def times_are_sane(metadata: ClientMetadata) -> None:
    """OpenID Connect Registration §2: `default_max_age` in seconds, as many as our clocks can subtract."""
    if metadata.default_max_age is not None and not 0 <= metadata.default_max_age <= LONGEST_AGE:
        raise InvalidClientMetadata("default_max_age is a number of seconds.")


def can_be_kept(metadata: ClientMetadata) -> None:
    """RFC 7591 §3.2.1: all that is registered is told back. So it is JSON that our own encoder and PostgreSQL both
    write, and that whoever loads the client reads again.
    """
    try:
        read_json(msgspec.json.encode(metadata), _anything)
    except (OverflowError, RecursionError, UnreadableJson) as error:
        raise InvalidClientMetadata(
            "The metadata cannot be kept as they are: U+0000, depth, size."
        ) from error


RULES = (
    name_can_be_read,
    grants_fit_the_client,
    method_fits_the_profile,
    remote_requests_fit_the_profile,
    algorithms_fit_the_profile,
    keys_are_usable,
    scope_is_known,
    redirects_are_present,
    sector_is_one,
    levels_exist,
    times_are_sane,
    can_be_kept,
)


def check_addresses(metadata: ClientMetadata, *, plain_http: bool) -> None:
    """Redirects by kind of application (RFC 8252 §7); every other address https."""
    for uri in metadata.redirect_uris:
        _check_redirect(uri, metadata.application_type, plain_http=plain_http)
    for uri in metadata.post_logout_redirect_uris:
        _check_redirect(
            uri, metadata.application_type, plain_http=plain_http, error="invalid_client_metadata"
        )
    others = (
        metadata.jwks_uri, metadata.sector_identifier_uri, metadata.backchannel_logout_uri,
        metadata.initiate_login_uri, metadata.client_uri, metadata.logo_uri, metadata.policy_uri, metadata.tos_uri,
        # OpenID Connect Core §6.2: the fragment is a hash of what lies there, or just another name for it.
        *(uri.partition("#")[0] for uri in metadata.request_uris),
    )  # fmt: skip
    for uri in others:
        if uri is not None:
            _check_https(uri, plain_http=plain_http)
    for uri in metadata.request_uris:
        _check_fragment(uri)
    if max(map(len, _lists(metadata)), default=0) > MOST_URIS:
        raise InvalidClientMetadata("Too many addresses.")


def _lists(metadata: ClientMetadata) -> Iterable[tuple[str, ...]]:
    return (
        metadata.redirect_uris,
        metadata.post_logout_redirect_uris,
        metadata.request_uris,
        metadata.contacts,
    )


def _check_fragment(uri: str) -> None:
    """RFC 3986 §3.5; a `request_uri` is compared as a whole, so its fragment is bounded as the rest is."""
    if len(uri) > LONGEST_URI or not FRAGMENT.fullmatch(uri.partition("#")[2]):
        raise InvalidClientMetadata("The fragment of a request_uri is not one.")


def _check_redirect(uri: str, kind: str, *, plain_http: bool, error: str = "invalid_redirect_uri") -> None:
    parts = _parts(uri, error)
    if parts.scheme == "https" and parts.hostname:
        return
    loopback = parts.scheme == "http" and parts.hostname in LOOPBACK
    if loopback and (kind == "native" or plain_http):
        return
    # RFC 8252 §7.1: a private scheme is a reversed domain name, so it has a dot.
    if kind == "native" and "." in parts.scheme and not parts.netloc:
        return
    raise InvalidClientMetadata("A redirect address must be https, loopback or a private scheme.", error)


def _check_https(uri: str, *, plain_http: bool) -> None:
    parts = _parts(uri, "invalid_client_metadata")
    if parts.scheme == "https" and parts.hostname:
        return
    if not (plain_http and parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise InvalidClientMetadata("An address must be https.")


def _parts(uri: str, error: str) -> Any:
    """A strict absolute URI: no fragment, no userinfo, no control, blank, quote or backslash."""
    if len(uri) > LONGEST_URI or not uri.isascii() or any(c <= " " or c in '"\\<>^`{|}*' for c in uri):
        raise InvalidClientMetadata("An address holds a character that addresses do not have.", error)
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as wrong:
        raise InvalidClientMetadata("An address is not well-formed.", error) from wrong
    if not parts.scheme or "#" in uri or parts.username is not None:
        raise InvalidClientMetadata("An address holds a fragment or userinfo.", error)
    if parts.hostname and not HOST.fullmatch(parts.hostname):
        raise InvalidClientMetadata("The host of an address is neither a name nor a number.", error)
    return parts
