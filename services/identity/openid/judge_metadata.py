"""All that is asked of a client's metadata before anything is written: at the command line, by the Admin API, by
registration (RFC 7591, RFC 7592).

Some of it is said elsewhere, by the client's own addresses: slow, so before any transaction.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

import msgspec

from libs.common.values.foreign_json import UnreadableJson, read_json
from services.identity.openid.client_rules import InvalidClientMetadata, check_metadata
from services.identity.openid.clients import ClientMetadata
from services.identity.openid.guarded_fetcher import FetchRefused, GuardedFetcher

CALLED: Final = ("jwks_uri", "backchannel_logout_uri", "logo_uri")
"""What this service itself reads, or writes to, besides the sector's document."""

_addresses = msgspec.json.Decoder(list[str])


async def judge_metadata(
    metadata: ClientMetadata, audiences: Collection[str], fetcher: GuardedFetcher, *, plain_http: bool
) -> None:
    """Every rule of registration, then the caisse's `audiences`, then the sector's document.

    Raises `InvalidClientMetadata`.
    """
    check_metadata(metadata, plain_http=plain_http)
    check_audiences(metadata, audiences)
    check_called(metadata, fetcher)
    await check_sector(metadata, fetcher)


def check_audiences(metadata: ClientMetadata, audiences: Collection[str]) -> None:
    """RFC 8707 §2, RFC 7662 §4: an audience that the caisse does not have would be asked for, or answered, in vain."""
    for member in ("resources", "introspects"):
        unknown = [uri for uri in getattr(metadata, member) if uri not in audiences]
        if unknown:
            raise InvalidClientMetadata(f"The {member} name what is no audience here: {' '.join(unknown)}")


def check_called(metadata: ClientMetadata, fetcher: GuardedFetcher) -> None:
    """An address that nothing would ever be sent to is no address: said here, or found out by nobody."""
    for member in CALLED:
        uri = urlsplit(getattr(metadata, member) or "")
        if uri.scheme == "http" and not fetcher.allows(uri.hostname or ""):
            raise InvalidClientMetadata(
                f"The {member} is in plain http, and outbound_hosts does not list its host: it would not be called."
            )


async def check_sector(metadata: ClientMetadata, fetcher: GuardedFetcher) -> None:
    """OpenID Connect Core §8.1: the sector's document lists every redirect address."""
    if metadata.sector_identifier_uri is None:
        return
    try:
        body, _ = await fetcher.get(metadata.sector_identifier_uri)
        listed = read_json(body, _addresses)
    except (FetchRefused, UnreadableJson) as error:
        raise InvalidClientMetadata(
            "The sector_identifier_uri does not answer a list of addresses."
        ) from error
    if not set(metadata.redirect_uris) <= set(listed):
        raise InvalidClientMetadata("A redirect_uri is not in the sector's list.")
