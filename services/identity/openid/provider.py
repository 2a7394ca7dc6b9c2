"""What a process holds to serve every issuer: pool, keys, nonces, fetcher, addresses."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from libs.common.access.dpop import Nonces
from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.settings import Settings
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid.clients import Client
from services.identity.openid.foreign_jwt import kid_of
from services.identity.openid.guarded_fetcher import FetchRefused, GuardedFetcher
from services.identity.openid.issuer import Audience, Issuer, audiences_of
from services.identity.openid.refusals import InvalidRequestUri
from services.identity.openid.snapshot import Snapshot
from services.identity.signing_keys.key_ring import KeyRings
from services.identity.signing_keys.opened import Opened


def addresses(settings: Settings, caisse: CaisseSlug) -> tuple[str, dict[str, Audience]]:
    """A caisse's identifier and audiences; the caller does not change them."""
    return _addresses(settings.identity.base, settings.adherent.base, settings.documents.base, caisse)


@lru_cache(maxsize=4096)
def _addresses(
    identity: str, adherent: str, documents: str, caisse: CaisseSlug
) -> tuple[str, dict[str, Audience]]:
    url = f"{identity}/{caisse}"
    return url, audiences_of(url, f"{adherent}/{caisse}", f"{documents}/{caisse}")


class Provider:
    """Shared by the routes of one process; every secret comes from the settings."""

    def __init__(
        self, db: Database, settings: Settings, keys: KeyEncryption, fetcher: GuardedFetcher
    ) -> None:
        self.db = db
        self.settings = settings
        self.keys = keys
        self.fetcher = fetcher
        self.rings = KeyRings(db, keys)
        self.nonces = Nonces(keys.key_for("dpop-nonce"))
        self._documents: dict[tuple[CaisseSlug, Opened], bytes] = {}
        self.pairwise_salt = keys.key_for("pairwise-subject")

    async def issuer(self, caisse: CaisseSlug) -> Issuer:
        """The issuer of a caisse, with its keys as of this second."""
        url, audiences = addresses(self.settings, caisse)
        return Issuer(caisse, url, audiences, await self.rings.of(caisse))

    def published_once(self, issuer: Issuer, document: Callable[[Issuer], bytes]) -> bytes:
        """The bytes of `document`, which depends on addresses and on what the caisse opens; at most four a caisse."""
        shaped_by = (issuer.caisse, issuer.keys.opened)
        known = self._documents.get(shaped_by)
        if known is None:
            known = self._documents[shaped_by] = document(issuer)
        return known

    async def snapshot(
        self, issuer: Issuer, now: datetime, client: Client | None, *, signed: str = "", **found: Any
    ) -> Snapshot:
        """The loaded rows with the client's keys; a `jwks_uri` is fetched here, guarded and cached.

        `signed` is the JWT that the keys will judge: an unknown `kid` in it has them read anew.
        """
        keys = await self.keys_of(client, signed) if client else ()
        return Snapshot(issuer=issuer, now=now, nonces=self.nonces, client=client, client_keys=keys, **found)

    async def keys_of(self, client: Client, signed: str) -> tuple[dict[str, Any], ...]:
        """The registered keys; none when the client's address does not answer, and its proof then fails."""
        if client.metadata.jwks is not None:
            return tuple(client.metadata.jwks.get("keys", ()))
        uri = client.metadata.jwks_uri
        if uri is None:
            return ()
        try:
            keys = await self.fetcher.jwks(uri, of=client.client_id)
            kid = kid_of(signed)
            if kid is not None and all(key.get("kid") != kid for key in keys):
                keys = await self.fetcher.jwks_anew(uri, of=client.client_id)
        except FetchRefused:
            return ()
        return keys

    async def remote_request(self, client: Client, uri: str) -> str:
        """The request object at a registered address (RFC 9101 §5.2). Raises `InvalidRequestUri`.

        OpenID Connect Core §6.2: a fragment serves caches; we keep none, and its hash is not enforced, since the
        signature is.
        """
        try:
            body, _ = await self.fetcher.get(
                uri.partition("#")[0],
                of=client.client_id,
                accept="application/oauth-authz-req+jwt, application/jwt",
            )
            return body.decode("ascii").strip()
        except (FetchRefused, UnicodeDecodeError) as error:
            raise InvalidRequestUri("The request_uri does not answer.") from error
