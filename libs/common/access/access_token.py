"""From an unverified token to an `AccessToken`, which only this verifier makes.

RFC 9068 with RFC 8693 (`act`), 9396 (the mandate) and 9449 (`cnf`), read as
strictly as we write it: docs/reference/tokens.md.
A cache spares the signature of a token seen before; nothing that can change
before its expiry is answered from it.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, NoReturn, Protocol
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from libs.common.access.refusals import InvalidToken
from libs.common.access.signatures import Malformed, VerifyingKey, split_compact
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.foreign_json import UnreadableJson, read_json
from libs.common.values.identifiers import InvalidPublicId, parse_public_id

TOKEN_LIMIT: Final = 8192
"""Characters of an access token. Most weigh under 2,000; a mandate for a hundred establishments comes to 6,500, and
proxies take 8 kB for a line of a head.
"""

SKEW: Final = 30
"""Seconds that two clocks may differ."""

LONGEST_LIFE: Final = 600
LONGEST_DELEGATED_LIFE: Final = 300
"""Seconds; a longer token is refused, for the floors forget what is older."""

RESERVED_CLIENT_PREFIXES: Final = ("per_", "adh_", "cab_", "mch_")


class Actor(Struct, frozen=True):
    """Who holds the pen in a delegated act: a collaborator or a machine, and its cabinet.

    `sponsor_id` is the collaborator who answers for the machine; a person has none.
    """

    subject: str
    person_id: UUID | None
    machine_id: UUID | None
    cabinet_id: UUID
    cabinet_siren: str | None
    sponsor_id: UUID | None = None


class MandateRef(Struct, frozen=True):
    """The power a delegated token was cut from. `establishments` is None for all of them."""

    id: UUID
    version: int
    family: str
    role: str
    identifier: str
    establishments: frozenset[UUID] | None
    not_after: datetime
    amount_cap_cents: int | None
    group: str | None


class AccessToken(Struct, frozen=True):
    """Proof that the issuer of this caisse gave this power to the holder of the key `jkt`.

    `adherent_id` is the firm one acts for, `person_id` the human who acts (both
    None for a service). `actor` and `mandate` come together, or not at all.
    """

    issuer: str
    audience: str
    caisse: CaisseSlug
    subject: str
    client_id: str
    jti: str
    issued_at: datetime
    expires_at: datetime
    scopes: frozenset[str]
    acr: str | None
    amr: frozenset[str]
    auth_time: datetime | None
    sid: str | None
    adherent_id: UUID | None
    person_id: UUID | None
    actor: Actor | None
    mandate: MandateRef | None
    jkt: str

    @property
    def is_delegated(self) -> bool:
        return self.actor is not None

    @property
    def is_service(self) -> bool:
        """True for a service's own token (client credentials): nobody stands behind it."""
        return self.subject == self.client_id


class KeySource(Protocol):
    """Where the public keys of an issuer come from."""

    async def find(self, caisse: CaisseSlug, kid: str) -> VerifyingKey | None: ...

    def edition(self, caisse: CaisseSlug) -> int:
        """A number that changes whenever a key of this issuer is withdrawn."""
        ...


class _Header(Struct, forbid_unknown_fields=True):
    # Anything else (jku, jwk, x5u, x5c, crit, b64…) would be someone else's wish: refused.
    alg: str
    typ: str
    kid: str


class _Confirmation(Struct, forbid_unknown_fields=True):
    jkt: str


class _Act(Struct):
    sub: str
    org: str
    iss: str | None = None
    sub_profile: str | None = None
    org_siren: str | None = None
    sponsor: str | None = None
    act: msgspec.Raw | UnsetType = UNSET


class _Detail(Struct):
    type: str
    mandate: str
    ver: int
    family: Literal["contributions", "time_off"]
    role: Literal["principal", "observer"]
    not_after: int
    establishments: list[str]
    identifier: str = ""
    amount_cap_cents: int | None = None
    group: str | None = None


class _Claims(Struct):
    iss: str
    aud: str
    caisse: str
    sub: str
    client_id: str
    jti: str
    iat: int
    exp: int
    cnf: _Confirmation
    scope: str = ""
    nbf: int | None = None
    acr: str | None = None
    amr: list[str] = []
    auth_time: int | None = None
    sid: str | None = None
    adherent: str | None = None
    act: _Act | None = None
    authorization_details: list[_Detail] = []


_header_decoder = msgspec.json.Decoder(_Header)
_claims_decoder = msgspec.json.Decoder(_Claims)


class TokenVerifier:
    """Verifies the tokens of every caisse for one audience."""

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer_base: str,
        audience_base: str,
        clock: Callable[[], float] = time.time,
        capacity: int = 8192,
    ) -> None:
        self._keys = keys
        self._issuer_base = issuer_base
        self._audience_base = audience_base
        self._clock = clock
        self._capacity = capacity
        self._verified: OrderedDict[bytes, tuple[AccessToken, float, int]] = OrderedDict()

    def __len__(self) -> int:
        """How many verified tokens are remembered."""
        return len(self._verified)

    async def verify(self, unverified_token: str, caisse: CaisseSlug) -> AccessToken:
        """The token, believed, for a request addressed to `caisse`. Raises `InvalidToken`."""
        digest = hashlib.sha256(unverified_token.encode("utf-8", "replace")).digest()
        token = self._remembered(digest, caisse)
        if token is None:
            token = await self._verify_anew(unverified_token, caisse)
            self._remember(digest, token)
        return token

    def _remembered(self, digest: bytes, caisse: CaisseSlug) -> AccessToken | None:
        known = self._verified.get(digest)
        if known is None:
            return None
        token, usable_until, edition = known
        if edition != self._keys.edition(caisse) or token.caisse != caisse:
            del self._verified[digest]
            return None
        if self._clock() >= usable_until:
            del self._verified[digest]
            _refuse("expired")
        self._verified.move_to_end(digest)
        return token

    def _remember(self, digest: bytes, token: AccessToken) -> None:
        usable_until = token.expires_at.timestamp() + SKEW
        if token.mandate is not None:
            usable_until = min(usable_until, token.mandate.not_after.timestamp())
        self._verified[digest] = (token, usable_until, self._keys.edition(token.caisse))
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)

    async def _verify_anew(self, unverified_token: str, caisse: CaisseSlug) -> AccessToken:
        try:
            parts = split_compact(unverified_token, limit=TOKEN_LIMIT)
            header = read_json(parts.header, _header_decoder)
        except (Malformed, UnreadableJson) as error:
            raise InvalidToken("header") from error
        # RFC 9068 §4: an ID token or any other JWT of the same issuer is not an access token.
        if header.typ.lower() not in ("at+jwt", "application/at+jwt"):
            _refuse("typ")
        key = await self._keys.find(caisse, header.kid)
        if key is None:
            _refuse("kid")
        # The key has its algorithm; the header may only agree (RFC 8725 §3.1).
        if header.alg != key.alg:
            _refuse("alg")
        if not key.verifies(parts.signature, parts.signed):
            _refuse("signature")
        try:
            claims = read_json(parts.payload, _claims_decoder)
        except UnreadableJson as error:
            raise InvalidToken("claims") from error
        self._check_addresses(claims, caisse)
        self._check_times(claims)
        try:
            return _believed(claims, caisse)
        except (InvalidPublicId, ValueError, OverflowError, OSError) as error:
            raise InvalidToken("claims") from error

    def _check_addresses(self, claims: _Claims, caisse: CaisseSlug) -> None:
        if claims.caisse != caisse or claims.iss != f"{self._issuer_base}/{caisse}":
            _refuse("iss")
        if claims.aud != f"{self._audience_base}/{caisse}":
            _refuse("aud")

    def _check_times(self, claims: _Claims) -> None:
        now = self._clock()
        longest = LONGEST_LIFE if claims.act is None else LONGEST_DELEGATED_LIFE
        if not 0 < claims.exp - claims.iat <= longest:
            _refuse("lifetime")
        if claims.exp + SKEW <= now:
            _refuse("expired")
        if max(claims.iat, claims.nbf or 0) > now + SKEW:
            _refuse("not yet")
        for detail in claims.authorization_details:
            # Clocks are judged at use: the mandate may end before its last token does.
            if detail.not_after <= now:
                _refuse("mandate over")


def _believed(claims: _Claims, caisse: CaisseSlug) -> AccessToken:
    actor, mandate = _delegation(claims)
    adherent_id, person_id = _whom(claims, actor)
    return AccessToken(
        issuer=claims.iss,
        audience=claims.aud,
        caisse=caisse,
        subject=claims.sub,
        client_id=claims.client_id,
        jti=claims.jti,
        issued_at=datetime.fromtimestamp(claims.iat, UTC),
        expires_at=datetime.fromtimestamp(claims.exp, UTC),
        scopes=frozenset(claims.scope.split()),
        acr=claims.acr,
        amr=frozenset(claims.amr),
        auth_time=None if claims.auth_time is None else datetime.fromtimestamp(claims.auth_time, UTC),
        sid=claims.sid,
        adherent_id=adherent_id,
        person_id=person_id,
        actor=actor,
        mandate=mandate,
        jkt=claims.cnf.jkt,
    )


def _whom(claims: _Claims, actor: Actor | None) -> tuple[UUID | None, UUID | None]:
    """The firm acted for and the person acting, from one of the three shapes of `sub`."""
    if claims.client_id.startswith(RESERVED_CLIENT_PREFIXES):
        _refuse("client_id")
    if actor is not None:
        if claims.adherent is not None:
            _refuse("adherent beside act")
        return parse_public_id("adh", claims.sub), actor.person_id
    if claims.sub == claims.client_id:
        if claims.adherent is not None:
            _refuse("adherent of a service")
        return None, None
    adherent_id = None if claims.adherent is None else parse_public_id("adh", claims.adherent)
    return adherent_id, parse_public_id("per", claims.sub)


def _delegation(claims: _Claims) -> tuple[Actor | None, MandateRef | None]:
    """`act` if and only if exactly one mandate; any other detail would be a limit we do not know."""
    details = claims.authorization_details
    if claims.act is None:
        if details:
            _refuse("mandate without act")
        return None, None
    if len(details) != 1 or details[0].type != "mandate":
        _refuse("act without its mandate")
    if claims.act.act is not UNSET:
        _refuse("second hop")
    if claims.act.iss not in (None, claims.iss):
        _refuse("act of another issuer")
    return _actor(claims.act), _mandate(details[0])


def _actor(act: _Act) -> Actor:
    is_machine = act.sub.startswith("mch_")
    if (act.sub_profile or ("service" if is_machine else "user")) != ("service" if is_machine else "user"):
        _refuse("sub_profile")
    # Without its sponsor a machine's token would outlive the departure of whoever answers for it.
    if is_machine != (act.sponsor is not None):
        _refuse("sponsor")
    return Actor(
        subject=act.sub,
        person_id=None if is_machine else parse_public_id("per", act.sub),
        machine_id=parse_public_id("mch", act.sub) if is_machine else None,
        cabinet_id=parse_public_id("cab", act.org),
        cabinet_siren=act.org_siren,
        sponsor_id=None if act.sponsor is None else parse_public_id("per", act.sponsor),
    )


def _mandate(detail: _Detail) -> MandateRef:
    listed = detail.establishments
    if not listed or ("*" in listed and listed != ["*"]):
        _refuse("establishments")
    return MandateRef(
        id=parse_public_id("mdt", detail.mandate),
        version=detail.ver,
        family=detail.family,
        role=detail.role,
        identifier=detail.identifier,
        establishments=None if listed == ["*"] else frozenset(parse_public_id("est", one) for one in listed),
        not_after=datetime.fromtimestamp(detail.not_after, UTC),
        amount_cap_cents=detail.amount_cap_cents,
        group=detail.group,
    )


def _refuse(reason: str) -> NoReturn:
    raise InvalidToken(reason)
