"""A service in its own name (RFC 6749 §4.4): never a person's or a firm's right."""

# authlib's own annotations name its mixins; ours name what we pass.
# pyright: reportIncompatibleMethodOverride=false

from typing import Any

from authlib.oauth2.rfc6749 import grants

from libs.common.access import rights
from services.identity.openid import audiences, dpop_binding, token_journal, tokens
from services.identity.openid.clients import CLIENT_CREDENTIALS
from services.identity.openid.kernel import Kernel
from services.identity.openid.refusals import (
    InvalidAuthorizationDetails,
    InvalidScope,
    UnauthorizedClient,
)


class ClientCredentialsGrant(grants.ClientCredentialsGrant):
    """authlib checks client and grant type."""

    GRANT_TYPE = CLIENT_CREDENTIALS
    server: Kernel

    def validate_token_request(self) -> None:
        super().validate_token_request()
        if not self.server.client.is_confidential:
            raise UnauthorizedClient("A public client has no credentials of its own.")
        if self.server.asked.parameters.get("authorization_details") is not None:
            # RFC 9396 §8: of our types, one is a person's and the other a mandate's.
            raise InvalidAuthorizationDetails("A client's own token has no details.")
        dpop_binding.check_required(self.server.proof, self.server.client)

    def generate_token(self, **_: Any) -> dict[str, Any]:
        kernel, client = self.server, self.server.client
        issuer = kernel.snapshot.issuer
        asked = kernel.asked.parameters
        audience = audiences.chosen(asked.resources, audiences.open_to(client, issuer), issuer)
        dpop_binding.check_reach(kernel.proof, audience, issuer)
        # openid.md §1, `compat`: a bearer token opens nothing of ours, and none of a service's rights is UserInfo's.
        held = rights.SERVICE if kernel.proof is not None else frozenset[str]()
        scopes = client.scopes & held & audience.scopes
        if (wanted := asked.get("scope")) is not None:
            scopes &= frozenset(wanted.split())
            if not scopes:
                raise InvalidScope
        jkt = kernel.proof.jkt if kernel.proof else None
        if administration := scopes & rights.ADMINISTRATION:
            token_journal.note_administration(kernel.caller, administration)
        return {
            "access_token": tokens.service_token(
                kernel.snapshot, client, audience=audience.uri, scopes=scopes, jkt=jkt
            ),
            "token_type": "DPoP" if jkt else "Bearer",
            "expires_in": int(tokens.ACCESS_TOKEN_LIFE.total_seconds()),
            "scope": " ".join(sorted(scopes)),
        }
