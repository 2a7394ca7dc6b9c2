"""What a decision changes. The kernel only says it; `commit` writes it, all or nothing.

A conditional effect that finds its row already taken has lost a race: the
whole transaction is undone and the caller gets `lost`, the refusal named here.
What is true all the same (an assertion was shown) `stands`, and what must then
happen (a replayed code kills its grant) is `aftermath`.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from libs.common.access.dpop import DpopProof
from libs.common.database.journal import Act
from libs.common.values.identifiers import public_id
from services.identity.openid.bucket_names import Place
from services.identity.openid.refusals import (
    AccessDenied,
    InvalidClient,
    InvalidDpopProof,
    InvalidGrant,
    InvalidRequestUri,
    Refusal,
    SlowDown,
)
from services.identity.sign_in.throttle import Allowance


class Effect(Struct, frozen=True):
    """One change. `lost` is the refusal when somebody else made it first."""

    @property
    def lost(self) -> Refusal:
        return InvalidGrant()

    @property
    def aftermath(self) -> "Sequence[Effect]":
        return ()

    @property
    def stands(self) -> bool:
        """Whether it is written even when its decision loses: what was shown once is not shown anew."""
        return False


class RememberJti(Effect, frozen=True):
    """A client's assertion is good once, on every instance (RFC 7523 §3)."""

    kind: str
    party: str
    jti: str
    expires_at: datetime

    @property
    def lost(self) -> Refusal:
        return InvalidClient()

    @property
    def stands(self) -> bool:
        return True


class RememberProof(Effect, frozen=True):
    """A DPoP proof is good once, on every instance (RFC 9449 §11.1)."""

    proof: DpopProof

    @property
    def lost(self) -> Refusal:
        return InvalidDpopProof("The proof was used before.")

    @property
    def stands(self) -> bool:
        return True


class RevokeGrant(Effect, frozen=True):
    """Codes, refresh and access tokens of one grant die together, and the journal says why.

    `by` is the client that asked for it, or showed what it should not have; `person_id`, whose grant it is.
    """

    grant_id: UUID
    why: str
    at: datetime
    by: str | None = None
    person_id: UUID | None = None

    @property
    def act(self) -> Act:
        """Written if the grant was alive until then."""
        named = {} if self.person_id is None else {"person": public_id("per", self.person_id)}
        return Act(
            action="grant.revoked",
            subject_kind="grant",
            subject_id=public_id("gnt", self.grant_id),
            at=self.at,
            details={"reason": self.why, "by": self.by, **named},
        )


class ConsumeCode(Effect, frozen=True):
    """RFC 6749 §4.1.2: once. The loser of a race is a replay, so the grant dies."""

    place: Place
    grant_id: UUID
    at: datetime
    by: str | None = None
    person_id: UUID | None = None

    @property
    def aftermath(self) -> Sequence[Effect]:
        return (RevokeGrant(self.grant_id, "code_replayed", self.at, self.by, self.person_id),)


class StoreRefresh(Effect, frozen=True):
    """The first refresh token of a grant."""

    place: Place
    grant_id: UUID
    dpop_jkt: str | None
    issued_at: datetime
    expires_at: datetime


class RotateRefresh(Effect, frozen=True):
    """RFC 9700 §4.14.2: the old one is spent and the new one stored in one statement; the loser kills the family."""

    old: Place
    new: StoreRefresh
    by: str | None = None
    person_id: UUID | None = None

    @property
    def aftermath(self) -> Sequence[Effect]:
        new = self.new
        return (RevokeGrant(new.grant_id, "refresh_replayed", new.issued_at, self.by, self.person_id),)


class ProlongRefresh(Effect, frozen=True):
    """A sender-constrained refresh token is kept; its idle expiry moves."""

    place: Place
    expires_at: datetime


class NoteSeen(Effect, frozen=True):
    """The session's idle clock starts anew: somebody uses an application that lives by it."""

    session_id: UUID
    at: datetime


class StorePushedRequest(Effect, frozen=True):
    """RFC 9126 §2.2."""

    place: Place
    client_id: str
    request: bytes
    expires_at: datetime


class SpendPushedRequest(Effect, frozen=True):
    """openid.md line 8: spent when the authorization completes, not when it is first shown."""

    place: Place
    at: datetime

    @property
    def lost(self) -> Refusal:
        return InvalidRequestUri("The request_uri was used before.")


class StoreGrant(Effect, frozen=True):
    """What the person granted, with the code that hands it over."""

    grant_id: UUID
    client_id: str
    person_id: UUID
    session_id: UUID
    account_id: UUID | None
    granted: bytes
    at: datetime
    expires_at: datetime
    code: Place
    redirect_uri: str
    code_challenge: str | None
    dpop_jkt: str | None
    nonce: str | None
    code_expires_at: datetime


class FinishFlow(Effect, frozen=True):
    """One flow, one code: a second submit of the last page gets nothing more."""

    flow_id: UUID
    at: datetime

    @property
    def lost(self) -> Refusal:
        return InvalidRequestUri("This request is finished.")


class RelyOnConsent(Effect, frozen=True):
    """What the person agreed to before still stands when the grant that rests on it is written."""

    person_id: UUID
    client_id: str
    account_id: UUID | None
    scopes: tuple[str, ...]
    at: datetime

    @property
    def lost(self) -> Refusal:
        return AccessDenied("The consent was taken back.")


class RememberConsent(Effect, frozen=True):
    """The person agreed; asked again only for more."""

    consent_id: UUID
    person_id: UUID
    client_id: str
    account_id: UUID | None
    scopes: tuple[str, ...]
    given_at: datetime
    expires_at: datetime


class RevokeToken(Effect, frozen=True):
    """RFC 7009: one access token, until it would have expired."""

    jti: str
    expires_at: datetime


class SpendPass(Effect, frozen=True):
    """One exchange of a cabinet's machines, from the allowance that they all share in this caisse."""

    key: bytes
    allowance: Allowance
    at: datetime

    @property
    def lost(self) -> Refusal:
        return SlowDown()


class NoteUse(Effect, frozen=True):
    """When a machine was last of use, to the minute: most exchanges write nothing."""

    machine_id: UUID
    at: datetime


class Note(Effect, frozen=True):
    """A line of the journal."""

    act: Act


class NoteOnce(Effect, frozen=True):
    """A line of the journal, once a minute for its subject and `what`: anybody may ask for refusals, at any pace."""

    act: Act
    what: str

    @property
    def stands(self) -> bool:
        return True
