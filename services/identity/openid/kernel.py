"""authlib as a pure kernel: snapshot in, answer and effects out.

Each grant runs authlib's own class; what authlib leaves out or gets wrong
(docs/reference/divergences.md) is a check of ours in the grant's list, in order.
"""

# authlib's own annotations name its mixins; ours name what we pass.
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from collections.abc import Sequence
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Payload, OAuth2Request
from authlib.oauth2.rfc6749.errors import OAuth2Error

from libs.common.access.dpop import DpopProof
from services.identity.openid import token_journal
from services.identity.openid.answers import Answer, Decision, refusal_answer
from services.identity.openid.caller import Caller, UnprovenRequest
from services.identity.openid.clients import Client
from services.identity.openid.refusals import InvalidRequest
from services.identity.openid.wire import Parameters


class KernelPayload(OAuth2Payload):
    """The strict parameters, as authlib reads them."""

    def __init__(self, parameters: Parameters) -> None:
        self._values = parameters.values

    @property
    def data(self) -> dict[str, str]:
        return self._values

    @property
    def datalist(self) -> dict[str, list[str]]:
        return {name: [value] for name, value in self._values.items()}


class KernelRequest(OAuth2Request):
    """authlib's view of a request. The address is ours, never the request's Host."""

    def __init__(self, asked: UnprovenRequest, url: str) -> None:
        # authlib refuses http addresses; whether plain http is served is a setting of the installation.
        super().__init__("POST", "https" + url[url.index(":") :])
        self.payload = KernelPayload(asked.parameters)
        self._values = asked.parameters.values
        self.resources = asked.parameters.resources

    @property
    def form(self) -> dict[str, str]:
        return self._values

    @property
    def args(self) -> dict[str, str]:
        return {}


class Kernel(AuthorizationServer):
    """One decision. Hooks read the snapshot and add effects; nothing here waits."""

    def __init__(self, caller: Caller, grants: dict[str, type[Any]]) -> None:
        super().__init__()
        self.caller = caller
        self.snapshot = caller.snapshot
        self.asked = caller.asked
        self.effects = caller.effects
        self._token_grants = [(grant, None) for grant in grants.values()]

    @property
    def client(self) -> Client:
        """The client, proven. Raises `InvalidClient` before that."""
        return self.caller.client

    @property
    def proof(self) -> DpopProof | None:
        """Of the key that its tokens are bound to, once the client is proven."""
        return self.caller.proof

    def decide_token(self) -> Decision:
        """Run the token endpoint; every refusal keeps the effects gathered before it."""
        request = KernelRequest(self.asked, self.snapshot.issuer.url)
        try:
            # RFC 6749 §5.2: authlib calls a missing one unsupported.
            self.asked.parameters.need("grant_type")
        except InvalidRequest as error:
            return Decision(self.handle_error_response(request, error), tuple(self.effects))
        response: Any = self.create_token_response(request)
        answer: Answer = response
        return Decision(answer, tuple(self.effects))

    # authlib's seams.

    def authenticate_client(
        self, request: OAuth2Request, methods: Sequence[str], endpoint: str = "token"
    ) -> Client:
        """Ours instead of authlib's: one method, the registered one, and assertions by FAPI's rules."""
        client = self.caller.prove_with_its_key()
        request.auth_method = client.metadata.token_endpoint_auth_method
        return client

    def query_client(self, client_id: str) -> Client | None:
        client = self.snapshot.client
        return client if client is not None and client.client_id == client_id else None

    def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None:
        """Tokens are stateless; what must be stored is an effect of the grant."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """No signals: a decision has no listener."""

    def create_oauth2_request(self, request: KernelRequest) -> KernelRequest:
        return request

    def handle_response(self, status: int, body: dict[str, Any], headers: list[tuple[str, str]]) -> Answer:
        return Answer(status, body, dict(headers) | self.caller.next_nonce())

    def handle_error_response(self, request: OAuth2Request, error: OAuth2Error) -> Answer:
        token_journal.note_token_refused(self.caller, error)
        return refusal_answer(error, self.snapshot)
