"""Who calls a back-channel endpoint: the client, proven before anything that is asked is looked at.

Token, PAR, introspection and revocation begin here, each with what it asks of its caller besides.
"""

from msgspec import Struct

from libs.common.access.dpop import DpopProof
from libs.common.database.journal import Act
from services.identity.openid import client_authentication, dpop_binding
from services.identity.openid.client_authentication import Credentials
from services.identity.openid.clients import GRANT_TYPES, Client
from services.identity.openid.dpop_binding import ProofHeaders
from services.identity.openid.effects import Effect, NoteOnce, RememberProof
from services.identity.openid.refusals import InvalidClient
from services.identity.openid.snapshot import Snapshot
from services.identity.openid.wire import Parameters


class UnprovenRequest(Struct, frozen=True):
    """One request to a back-channel endpoint, parsed strictly and not yet believed."""

    parameters: Parameters
    credentials: Credentials
    proof: ProofHeaders = ProofHeaders()

    @property
    def assertion(self) -> str:
        """The client's assertion, if that is how it authenticates."""
        return self.credentials.proof if self.credentials.method == "private_key_jwt" else ""

    @property
    def grant_type(self) -> str:
        """The grant asked for, as the journal and the figures say it: whatever we do not know is `other`."""
        said = self.parameters.get("grant_type")
        return said if said in GRANT_TYPES else "other"


class Caller:
    """The client behind one request, and what proving it leaves to be written, whatever comes of the request."""

    def __init__(self, asked: UnprovenRequest, snapshot: Snapshot) -> None:
        self.asked = asked
        self.snapshot = snapshot
        self.effects: list[Effect] = []
        self.proof: DpopProof | None = None
        self._client: Client | None = None

    @property
    def is_proven(self) -> bool:
        return self._client is not None

    @property
    def client(self) -> Client:
        """Raises `InvalidClient` before it is proven."""
        if self._client is None:
            raise InvalidClient
        return self._client

    def prove(self) -> Client:
        """Raises `InvalidClient`. A proven assertion is spent, whatever happens next."""
        try:
            self._client, spent = client_authentication.authenticate(self.asked.credentials, self.snapshot)
        except InvalidClient:
            self._note_unproven()
            raise
        self.effects.extend(spent)
        return self._client

    def prove_with_its_key(self) -> Client:
        """As `prove`, and the key that its tokens will be bound to (RFC 9449 §5). A proof is good once."""
        client = self.prove()
        self.proof = dpop_binding.read_proof(self.asked.proof, client, self.snapshot)
        if self.proof is not None:
            self.effects.append(RememberProof(self.proof))
        return client

    def next_nonce(self) -> dict[str, str]:
        return {} if self._client is None else dpop_binding.next_nonce(self._client, self.snapshot)

    def _note_unproven(self) -> None:
        """Somebody names a client and is not it. Clients that do not exist are only counted."""
        if self.snapshot.client is None:
            return
        method = self.asked.credentials.method
        act = Act(
            action="client.not_proven",
            subject_kind="client",
            subject_id=self.snapshot.client.client_id,
            at=self.snapshot.now,
            details={"method": method},
        )
        self.effects.append(NoteOnce(act, method))
