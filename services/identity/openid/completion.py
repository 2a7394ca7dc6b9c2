"""A code, and all that is written with it, in one commit: what every step before led to."""

from datetime import timedelta

import msgspec

from libs.common.database.journal import Act, Actor
from libs.common.values.identifiers import new_id, public_id
from services.identity.openid.authorization_details import firm_detail
from services.identity.openid.bucket_names import code_place, kept_handle, new_code, new_grant_id
from services.identity.openid.effects import (
    Effect,
    FinishFlow,
    Note,
    RelyOnConsent,
    RememberConsent,
    SpendPushedRequest,
    StoreGrant,
)
from services.identity.openid.issuer import Issuer
from services.identity.openid.issuing import OFFLINE_GRANT_LIFE, SESSION_GRANT_LIFE
from services.identity.openid.person_claims import claims_within
from services.identity.openid.refusals import InvalidRequest
from services.identity.openid.snapshot import Granted
from services.identity.openid.steps import (
    SignedIn,
    View,
    agreed_scopes,
    answered_level,
    granted_scopes,
    has_agreed,
    subject_of,
)

CODE_LIFE = timedelta(seconds=60)
CONSENT_LASTS = timedelta(days=365)


def completion(view: View, issuer: Issuer) -> tuple[str, list[Effect]]:
    """The code and everything written with it. Called only when no step is missing."""
    session, request, subject = view.signed_in, view.request, subject_of(view)
    if session is None:
        raise InvalidRequest("Nobody is signed in.")
    granted = _granted(view, session)
    expires_at = view.now + OFFLINE_GRANT_LIFE if granted.offline else session.opened_at + SESSION_GRANT_LIFE
    grant_id, code_expires_at = new_grant_id(expires_at), view.now + CODE_LIFE
    code = new_code(code_expires_at, grant_id)
    changes: list[Effect] = [
        *endings(view),
        StoreGrant(
            grant_id=grant_id,
            client_id=request.client_id,
            person_id=session.person_id,
            session_id=session.session_id,
            account_id=subject.account_id,
            granted=msgspec.json.encode(granted),
            at=view.now,
            expires_at=expires_at,
            code=code_place(code),
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
            dpop_jkt=request.dpop_jkt,
            nonce=request.nonce,
            code_expires_at=code_expires_at,
        ),
        Note(_act(view, session)),
    ]
    if has_agreed(view):
        changes.append(_consent(view, session))
    elif view.client.metadata.consent == "explicit":
        changes.append(_relied_on(view, session))
    return code, changes


def endings(view: View) -> list[Effect]:
    """openid.md line 8: spent at completion, whatever that is. One flow, one answer."""
    request, changes = view.request, list[Effect]()
    if request.pushed_as is not None:
        changes.append(SpendPushedRequest(kept_handle(request.pushed_as, request.pushed_in), view.now))
    if view.flow.id is not None:
        changes.append(FinishFlow(view.flow.id, view.now))
    return changes


def _granted(view: View, session: SignedIn) -> Granted:
    scopes = granted_scopes(view)
    consented = view.client.metadata.consent == "explicit"
    return Granted(
        scopes=tuple(scope for scope in view.request.scopes if scope in scopes),
        resources=view.request.resources,
        auth_time=int(session.auth_time.timestamp()),
        acr=session.acr,
        amr=session.amr,
        answered_acr=answered_level(view),
        subject=session.subject,
        details=() if view.request.firm is None else (firm_detail(view.request.firm),),
        claims=claims_within(view.request.claims, agreed_scopes(view)),
        # OpenID Connect Core §11: offline access only with the person's explicit consent.
        offline="offline_access" in scopes and consented,
    )


def _relied_on(view: View, session: SignedIn) -> RelyOnConsent:
    return RelyOnConsent(
        person_id=session.person_id,
        client_id=view.client.client_id,
        account_id=subject_of(view).account_id,
        scopes=tuple(sorted(agreed_scopes(view))),
        at=view.now,
    )


def _consent(view: View, session: SignedIn) -> RememberConsent:
    return RememberConsent(
        consent_id=new_id(),
        person_id=session.person_id,
        client_id=view.client.client_id,
        account_id=subject_of(view).account_id,
        scopes=tuple(sorted(agreed_scopes(view))),
        given_at=view.now,
        expires_at=view.now + CONSENT_LASTS,
    )


def _act(view: View, session: SignedIn) -> Act:
    return Act(
        action="authorization.granted",
        subject_kind="client",
        subject_id=view.client.client_id,
        at=view.now,
        adherent_id=subject_of(view).adherent_id,
        actor=Actor(person_id=session.person_id),
        details={"sid": public_id("ses", session.session_id), "scopes": sorted(agreed_scopes(view))},
    )
