"""Which resource a token is for (RFC 8707): exactly one, known, and open to the client and the grant."""

from collections.abc import Collection, Iterable

from services.identity.openid.clients import Client
from services.identity.openid.issuer import Audience, Issuer
from services.identity.openid.refusals import InvalidTarget


def open_to(client: Client, issuer: Issuer) -> tuple[str, ...]:
    """The issuer itself, and the audiences the client was registered for."""
    return (
        issuer.url,
        *(uri for uri in client.metadata.resources if uri in issuer.audiences and uri != issuer.url),
    )


def of_services(issuer: Issuer) -> tuple[str, ...]:
    """The audiences of the caisse's services, the issuer itself apart: where delegated tokens go."""
    return tuple(uri for uri in issuer.audiences if uri != issuer.url)


def requested(resources: Iterable[str], client: Client, issuer: Issuer) -> tuple[str, ...]:
    """What an authorization asks for; nothing said means everything the client is registered for.

    Raises `InvalidTarget`.
    """
    asked = tuple(dict.fromkeys(resources))
    allowed = open_to(client, issuer)
    if not set(asked) <= set(allowed):
        raise InvalidTarget
    return asked or allowed


def granted_still(resources: Iterable[str], client: Client, issuer: Issuer) -> tuple[str, ...]:
    """Of the audiences that a grant names, those that are open to its client today."""
    still = open_to(client, issuer)
    return tuple(uri for uri in resources if uri in still)


def chosen(resources: Collection[str], allowed: Collection[str], issuer: Issuer) -> Audience:
    """The one audience of a token, among those `allowed`; the issuer when none is named. Raises `InvalidTarget`."""
    if len(resources) > 1:
        raise InvalidTarget("A token has one audience: name one resource.")
    uri = next(iter(resources), issuer.url)
    if uri not in {*allowed, issuer.url}:
        raise InvalidTarget
    if not resources and issuer.url not in allowed:
        raise InvalidTarget("Name the resource this token is for.")
    return issuer.audiences[uri]
