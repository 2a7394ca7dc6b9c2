"""What a program may do to the clients of its caisse: what an operator does at the command line.

One rule is added, which the use cases themselves ask of whoever calls them
(`write_client.Hand`): nobody grants what they lack (openid.md §2, delegated
administration), else `client.manage` would be every right at once.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from libs.common.access.access_token import AccessToken
from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError, NotFound
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid import store
from services.identity.openid.client_rules import InvalidClientMetadata
from services.identity.openid.clients import Client, ClientMetadata, may_name_a_client
from services.identity.openid.judge_metadata import judge_metadata
from services.identity.openid.provider import Provider, addresses
from services.identity.openid.write_client import Hand


class MetadataRefused(DomainError):
    """The description of the client breaks a rule; `detail` says which."""

    def __init__(self, refusal: InvalidClientMetadata) -> None:
        super().__init__(str(refusal))
        self.members: Mapping[str, Any] = {"detail": str(refusal), "error": refusal.error}


@contextmanager
def metadata_judged() -> Generator[None, None, None]:
    """A rule of registration broken in the block is `MetadataRefused`."""
    try:
        yield
    except InvalidClientMetadata as refusal:
        raise MetadataRefused(refusal) from refusal


class NoSecret(DomainError):
    """This client proves itself with keys of its own; there is no secret to change."""


def hand_of(token: AccessToken) -> Hand:
    return Hand(token.client_id, token.jti, token.scopes)


async def judge(provider: Provider, caisse: CaisseSlug, metadata: ClientMetadata, by: Hand) -> None:
    """Every rule of registration, the sector's document included; before any transaction, for it may be slow.

    Raises `MetadataRefused`, and what `Hand.writes` does: nothing is fetched for who may not.
    """
    by.writes(metadata)
    _, audiences = addresses(provider.settings, caisse)
    with metadata_judged():
        await judge_metadata(
            metadata, audiences, provider.fetcher, plain_http=provider.settings.demonstration
        )


async def client_named(tx: Tx, client_id: str) -> Client:
    """Raises `NotFound` alike for an unknown client and for another caisse's."""
    found = await store.load_client(tx, client_id) if may_name_a_client(client_id) else None
    if found is None:
        raise NotFound
    return found
