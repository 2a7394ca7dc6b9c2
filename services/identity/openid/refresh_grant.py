"""Refresh token → access token (RFC 6749 §6, RFC 9700 §4.14)."""

# authlib's own annotations name its mixins; ours name what we pass.
# pyright: reportIncompatibleMethodOverride=false

from datetime import timedelta
from typing import Any

from authlib.oauth2.rfc6749 import grants

from services.identity.openid import dpop_binding
from services.identity.openid.clients import REFRESH, Client
from services.identity.openid.effects import NoteSeen, ProlongRefresh, RevokeGrant, RotateRefresh
from services.identity.openid.issuing import (
    REFRESH_IDLE,
    chosen_audience,
    narrowed_scopes,
    new_refresh_token,
    pass_gate,
    token_response,
)
from services.identity.openid.kernel import Kernel
from services.identity.openid.refusals import InvalidGrant
from services.identity.openid.snapshot import Grant, Refresh, Subject
from services.identity.openid.subject_gate import InForce
from services.identity.sign_in.session import was_seen_long_ago

PROLONG_EVERY = timedelta(minutes=1)
"""The idle expiry moves at most that often: a busy client then costs no write."""


class RefreshGrant(grants.RefreshTokenGrant):
    """authlib checks client, grant type, ownership and that the scope does not widen; the list does the rest."""

    GRANT_TYPE = REFRESH
    server: Kernel
    passed: InForce

    def authenticate_refresh_token(self, refresh_token: str) -> Refresh | None:
        found = self.server.snapshot.refresh
        if found is not None and found.check_client(self.server.client):
            for check in CHECKS:
                check(self.server, found, self.server.client)
            self.passed = pass_gate(self.server, found.grant)
        return found

    def authenticate_user(self, refresh_token: Refresh) -> Subject:
        return refresh_token.grant.subject

    def issue_token(self, user: Subject, refresh_token: Refresh) -> dict[str, Any]:
        kernel, client, grant = self.server, self.server.client, self.passed
        audience = chosen_audience(kernel, grant, client)
        scopes = narrowed_scopes(kernel, grant, client, audience, kernel.asked.parameters.get("scope"))
        answer = token_response(kernel, client, grant, audience, scopes)
        note_session_seen(kernel, grant)
        if client.asks_for_rotation():
            answer["refresh_token"], new = new_refresh_token(kernel, client, grant)
            kernel.effects.append(
                RotateRefresh(refresh_token.place, new, client.client_id, grant.subject.person_id)
            )
        else:
            until = min(kernel.snapshot.now + REFRESH_IDLE, grant.expires_at)
            if until - refresh_token.expires_at > PROLONG_EVERY:
                kernel.effects.append(ProlongRefresh(refresh_token.place, until))
        return answer

    def revoke_old_credential(self, refresh_token: Refresh) -> None:
        """Already said by the `RotateRefresh` effect, where there is something to revoke."""


def note_session_seen(kernel: Kernel, grant: Grant) -> None:
    """An application in use keeps the session that it lives by from idling, never beyond the session's longest.

    What survives the session says nothing of whether its person is there.
    """
    seen_at, now = grant.subject.session_seen_at, kernel.snapshot.now
    if not grant.granted.offline and seen_at is not None and was_seen_long_ago(seen_at, now):
        kernel.effects.append(NoteSeen(grant.subject.session_id, now))


def not_used_before(kernel: Kernel, refresh: Refresh, client: Client) -> None:
    """RFC 9700 §4.14.2: a spent token that comes back was stolen by one of two; the family dies."""
    if refresh.spent:
        kernel.effects.append(
            RevokeGrant(
                refresh.grant.id,
                "refresh_replayed",
                kernel.snapshot.now,
                client.client_id,
                refresh.grant.subject.person_id,
            )
        )
        raise InvalidGrant


def not_idle_too_long(kernel: Kernel, refresh: Refresh, client: Client) -> None:
    """openid.md line 16: idle expiry, exclusive."""
    if refresh.expires_at <= kernel.snapshot.now:
        raise InvalidGrant


def proof_key_is_present(kernel: Kernel, refresh: Refresh, client: Client) -> None:
    """openid.md line 13."""
    dpop_binding.check_required(kernel.proof, client)


def proof_key_is_bound(kernel: Kernel, refresh: Refresh, client: Client) -> None:
    """RFC 9449 §5: a public client's refresh token is redeemed with its own key."""
    dpop_binding.check_bound(kernel.proof, refresh.dpop_jkt)


CHECKS = (not_used_before, not_idle_too_long, proof_key_is_present, proof_key_is_bound)
