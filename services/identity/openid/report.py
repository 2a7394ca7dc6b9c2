"""Where a client departs from RFC 9700 and the FAPI 2.0 Security Profile, clause by clause."""

from collections.abc import Callable
from typing import NamedTuple

from services.identity.openid.clients import CODE, ClientMetadata


class Departure(NamedTuple):
    """One line of the report: by which clause, what, and how to mend it (French: an operator reads it)."""

    clause: str
    what: str
    remedy: str


def asks_people(m: ClientMetadata) -> bool:
    """Whether it sends people to us; a service in its own name makes no request that could be weak."""
    return CODE in m.grant_types


def shares_a_secret(m: ClientMetadata) -> bool:
    return m.has_a_secret


def proves_nothing(m: ClientMetadata) -> bool:
    return not m.is_confidential


def does_not_push(m: ClientMetadata) -> bool:
    must = m.require_pushed_authorization_requests
    return asks_people(m) and not must and (m.profile == "compat" or proves_nothing(m))


def may_omit_pkce(m: ClientMetadata) -> bool:
    return asks_people(m) and m.profile == "compat" and not proves_nothing(m)


def takes_bearer_tokens(m: ClientMetadata) -> bool:
    return m.profile == "compat" and not m.dpop_bound_access_tokens


def uses_rs256(m: ClientMetadata) -> bool:
    return "RS256" in {
        m.id_token_signed_response_alg,
        m.userinfo_signed_response_alg,
        m.introspection_signed_response_alg,
        m.token_endpoint_auth_signing_alg,
        m.request_object_signing_alg,
    }


def may_sign_with_rs256(m: ClientMetadata) -> bool:
    signs = m.token_endpoint_auth_method == "private_key_jwt"
    return signs and m.profile != "fapi" and m.token_endpoint_auth_signing_alg is None


def may_sign_requests_with_rs256(m: ClientMetadata) -> bool:
    signs = asks_people(m) and (m.jwks is not None or m.jwks_uri is not None)
    return signs and m.profile != "fapi" and m.request_object_signing_alg is None


def points_elsewhere(m: ClientMetadata) -> bool:
    return bool(m.request_uris)


EXPECTATIONS: tuple[tuple[Callable[[ClientMetadata], bool], Departure], ...] = (
    (
        shares_a_secret,
        Departure(
            "FAPI 2.0 §5.3.2.1 ; RFC 9700 §2.5",
            "s'authentifie par un secret partagé",
            "passer à private_key_jwt",
        ),
    ),
    (
        proves_nothing,
        Departure(
            "FAPI 2.0 §5.3.2.1",
            "client public : rien ne prouve qui il est",
            "garder les jetons sur un serveur (client confidentiel)",
        ),
    ),
    (
        does_not_push,
        Departure(
            "FAPI 2.0 §5.3.2.2", "ne pousse pas ses demandes d'autorisation", "utiliser PAR (RFC 9126)"
        ),
    ),
    (may_omit_pkce, Departure("RFC 9700 §2.1.1", "peut omettre PKCE", "quitter le profil compat")),
    (
        takes_bearer_tokens,
        Departure("RFC 9700 §2.2.1", "reçoit des jetons au porteur (UserInfo seulement)", "utiliser DPoP"),
    ),
    (
        uses_rs256,
        Departure("FAPI 2.0 §5.4.1", "signe ou fait signer en RS256", "choisir ES256, EdDSA ou PS256"),
    ),
    (
        may_sign_with_rs256,
        Departure(
            "FAPI 2.0 §5.4.1",
            "peut signer ses assertions en RS256",
            "fixer token_endpoint_auth_signing_alg",
        ),
    ),
    (
        may_sign_requests_with_rs256,
        Departure("FAPI 2.0 §5.4.1", "peut signer ses demandes en RS256", "fixer request_object_signing_alg"),
    ),
    (
        points_elsewhere,
        Departure("RFC 9700 §2.1 ; FAPI 2.0 §5.3.2.2", "fait lire ses demandes à distance", "utiliser PAR"),
    ),
)


def departures(metadata: ClientMetadata) -> list[Departure]:
    """Empty for a client without reproach."""
    return [departure for departs, departure in EXPECTATIONS if departs(metadata)]
