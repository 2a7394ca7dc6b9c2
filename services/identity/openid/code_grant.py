"""Authorization code → tokens (RFC 6749 §4.1.3, OpenID Connect Core §3.1.3)."""

# authlib's own annotations name its mixins; ours name what we pass.
# pyright: reportIncompatibleMethodOverride=false

import hashlib
import hmac
import re
from typing import Any

from authlib.oauth2.rfc6749 import grants

from libs.common.access.signatures import b64url
from services.identity.openid import dpop_binding
from services.identity.openid.clients import CODE, REFRESH, Client
from services.identity.openid.effects import ConsumeCode, RevokeGrant
from services.identity.openid.issuing import (
    chosen_audience,
    narrowed_scopes,
    new_refresh_token,
    pass_gate,
    token_response,
)
from services.identity.openid.kernel import Kernel
from services.identity.openid.refusals import InvalidGrant
from services.identity.openid.snapshot import Code, Subject
from services.identity.openid.subject_gate import InForce

_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


class CodeGrant(grants.AuthorizationCodeGrant):
    """authlib checks client, grant type, code and redirect_uri; the lists below do the rest, in order."""

    GRANT_TYPE = CODE
    server: Kernel
    passed: InForce

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found = self.server.snapshot.code
        if found is not None:
            for check in OF_THE_CODE:
                check(self.server, found, client)
        return found

    def validate_token_request(self) -> None:
        super().validate_token_request()
        code = code_of(self.server)
        for check in OF_THE_BINDING:
            check(self.server, code, self.server.client)
        self.passed = pass_gate(self.server, code.grant)

    def authenticate_user(self, authorization_code: Code) -> Subject:
        return authorization_code.grant.subject

    def generate_token(self, *, include_refresh_token: bool = True, **_: Any) -> dict[str, Any]:
        kernel, code, client = self.server, code_of(self.server), self.server.client
        grant = self.passed
        audience = chosen_audience(kernel, grant, client)
        scopes = narrowed_scopes(kernel, grant, client, audience, None)
        answer = token_response(kernel, client, grant, audience, scopes, nonce=code.nonce)
        kernel.effects.append(
            ConsumeCode(code.place, grant.id, kernel.snapshot.now, client.client_id, grant.subject.person_id)
        )
        if client.check_grant_type(REFRESH):
            answer["refresh_token"], stored = new_refresh_token(kernel, client, grant)
            kernel.effects.append(stored)
        return answer

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """Already said by the `ConsumeCode` effect; the row stays, to recognise a replay."""


def code_of(kernel: Kernel) -> Code:
    if kernel.snapshot.code is None:
        raise InvalidGrant
    return kernel.snapshot.code


def _revoked(kernel: Kernel, code: Code, client: Client, why: str) -> RevokeGrant:
    return RevokeGrant(
        code.grant.id, why, kernel.snapshot.now, client.client_id, code.grant.subject.person_id
    )


def of_this_client(kernel: Kernel, code: Code, client: Client) -> None:
    """RFC 6749 §10.5: a code in another client's hands has leaked, so what it gave dies."""
    if not code.grant.check_client(client):
        kernel.effects.append(_revoked(kernel, code, client, "code_of_another_client"))
        raise InvalidGrant


def not_used_before(kernel: Kernel, code: Code, client: Client) -> None:
    """RFC 6749 §4.1.2: a replay revokes every token issued from the code."""
    if code.consumed:
        kernel.effects.append(_revoked(kernel, code, client, "code_replayed"))
        raise InvalidGrant


def not_expired(kernel: Kernel, code: Code, client: Client) -> None:
    """openid.md line 6: 60 seconds, exclusive."""
    if code.expires_at <= kernel.snapshot.now:
        raise InvalidGrant


def proof_key_is_present(kernel: Kernel, code: Code, client: Client) -> None:
    """openid.md line 13."""
    dpop_binding.check_required(kernel.proof, client)


def proof_key_is_bound(kernel: Kernel, code: Code, client: Client) -> None:
    """RFC 9449 §10: the key named at authorization redeems the code."""
    if code.dpop_jkt is not None and (kernel.proof is None or kernel.proof.jkt != code.dpop_jkt):
        raise InvalidGrant("The code is bound to another DPoP key.")


def verifier_matches(kernel: Kernel, code: Code, client: Client) -> None:
    """RFC 7636 §4.6, RFC 9700 §2.1.1: challenge and verifier come together or not at all; S256 only."""
    verifier = kernel.asked.parameters.get("code_verifier")
    if code.code_challenge is None and verifier is None:
        return
    if code.code_challenge is None or verifier is None or not _VERIFIER.fullmatch(verifier):
        raise InvalidGrant
    if not hmac.compare_digest(b64url(hashlib.sha256(verifier.encode()).digest()), code.code_challenge):
        raise InvalidGrant


OF_THE_CODE = (of_this_client, not_used_before, not_expired)
OF_THE_BINDING = (verifier_matches, proof_key_is_present, proof_key_is_bound)
