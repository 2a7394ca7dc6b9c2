"""UserInfo (OpenID Connect Core §5.3): one access token of this issuer, its proof, its living grant."""

from datetime import UTC, datetime
from typing import Any

from libs.common.access import refusals as access
from libs.common.access.dpop import Nonces, verify_proof
from services.identity.openid import discovery, store, subject_gate, tokens
from services.identity.openid.answers import Answer, Decision
from services.identity.openid.clients import Client
from services.identity.openid.commit import commit
from services.identity.openid.dpop_binding import ProofHeaders, next_nonce, nonces_for
from services.identity.openid.effects import Effect, RememberProof
from services.identity.openid.issuer import Issuer
from services.identity.openid.presented import bound_key, read_access_token, sought
from services.identity.openid.provider import Provider
from services.identity.openid.snapshot import Grant, Snapshot
from services.identity.openid.subject_gate import Stopped


class Presented(Exception):
    """The token is missing or does not do; `error` is the code of RFC 6750 §3.1, empty when nothing came.

    `nonce` is what the next proof must hold (RFC 9449 §9).
    """

    def __init__(self, error: str = "", status: int = 401, nonce: str | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.status = status
        self.nonce = nonce


def token_of(authorization: str | None, form_token: str | None) -> tuple[str, str]:
    """Scheme and token (RFC 6750 §2.1, §2.2; RFC 9449 §7.1). The scheme's case does not matter."""
    if authorization is not None and form_token is not None:
        raise Presented("invalid_request", 400)
    if form_token is not None:
        return "bearer", form_token
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() not in {"bearer", "dpop"} or not token.strip():
        raise Presented
    return scheme.lower(), token.strip()


async def answer_userinfo(
    provider: Provider, issuer: Issuer, presented: tuple[str, str], proof: ProofHeaders, now: datetime
) -> Answer:
    """Checks in order: token, dates, scope, proof, grant, gate."""
    scheme, token = presented
    try:
        claims = _own_claims(issuer, token, now)
        client, (grant, is_revoked, floor) = await store.load_for_token(
            provider.db.one_statement(issuer.caisse), claims["client_id"], sought(claims)
        )
        if client is None or grant is None or is_revoked:
            raise Presented("invalid_token")
        nonces = nonces_for(client, provider.nonces)
        effects = _check_proof(scheme, token, claims, proof, now, nonces)
        _check_gate(claims, floor, grant, client, now)
    except Presented as refusal:
        return challenge(refusal, issuer, scheme)
    snapshot = await provider.snapshot(issuer, now, None)
    body = userinfo_claims(grant, client, claims["scope"].split())
    return await commit(
        provider.db, issuer.caisse, Decision(_answer(body, client, snapshot), effects), snapshot
    )


def _own_claims(issuer: Issuer, token: str, now: datetime) -> dict[str, Any]:
    claims = read_access_token(token, issuer)
    if claims is None or claims["aud"] != issuer.url or "act" in claims:
        raise Presented("invalid_token")
    if datetime.fromtimestamp(claims["exp"], UTC) <= now:
        raise Presented("invalid_token")
    if "openid" not in claims["scope"].split():
        raise Presented("insufficient_scope", 403)
    return claims


def _check_proof(
    scheme: str, token: str, claims: dict[str, Any], proof: ProofHeaders, now: datetime, nonces: Nonces | None
) -> tuple[Effect, ...]:
    """RFC 9449 §7.1, §7.2: a bound token needs its scheme and its proof; a bearer token has neither.

    §9: the proof holds one of `nonces`, where the client is registered for them.
    """
    jkt = bound_key(claims)
    if jkt is None:
        if scheme != "bearer":
            raise Presented("invalid_token")
        return ()
    if scheme != "dpop":
        raise Presented("invalid_token")
    try:
        verified = verify_proof(
            proof.proofs,
            method=proof.method,
            url=proof.url,
            now=now,
            access_token=token,
            jkt=jkt,
            nonces=nonces,
        )
    except access.NonceWanted as error:
        raise Presented("use_dpop_nonce", nonce=nonces.current(now) if nonces else None) from error
    except access.InvalidProof as error:
        raise Presented("invalid_dpop_proof") from error
    return (RememberProof(verified),)


def _check_gate(
    claims: dict[str, Any], floor: datetime | None, grant: Grant, client: Client, now: datetime
) -> None:
    try:
        subject_gate.check_token(claims, floor, grant, client, now)
    except Stopped as stop:
        raise Presented("invalid_token") from stop


def userinfo_claims(grant: Grant, client: Client, scopes: list[str]) -> dict[str, Any]:
    """By scope (§5.4) and one by one (§5.5). A scope withdrawn from the client gives nothing more."""
    allowed = [scope for scope in scopes if scope in client.scopes]
    return {
        "sub": grant.granted.subject,
        **tokens.scope_claims(allowed, grant.subject),
        **tokens.asked_claims("userinfo", grant, client),
    }


def _answer(body: dict[str, Any], client: Client, snapshot: Snapshot) -> Answer:
    """JSON, or a JWT for the clients registered so (§5.3.2)."""
    algorithm, headers = client.metadata.userinfo_signed_response_alg, {"Cache-Control": "no-store"}
    headers |= next_nonce(client, snapshot)
    if algorithm is None:
        return Answer(200, body, headers)
    claims = {**body, "iss": snapshot.issuer.url, "aud": client.client_id}
    signed = snapshot.issuer.keys.sign(claims, typ="JWT", algorithm=algorithm)
    return Answer(200, signed, headers, "application/jwt")


def challenge(refusal: Presented, issuer: Issuer, scheme: str = "") -> Answer:
    """RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1: who shows a token hears what is wrong by the scheme they used; who
    shows it with a proof, of no other: a bound token is no bearer token.
    """
    said = {"error": refusal.error} if refusal.error else {}
    where = {"resource_metadata": discovery.resource_metadata_address(issuer)}
    algorithms = {"algs": " ".join(access.DPOP_ALGORITHMS)}
    by_proof = _challenge("DPoP", (said if scheme == "dpop" else {}) | algorithms | where)
    schemes = [by_proof] if scheme == "dpop" else [_challenge("Bearer", said | where), by_proof]
    headers = {"WWW-Authenticate": ", ".join(schemes), "Cache-Control": "no-store"}
    if refusal.nonce is not None:
        headers["DPoP-Nonce"] = refusal.nonce
    return Answer(refusal.status, said, headers)


def _challenge(scheme: str, parameters: dict[str, str]) -> str:
    return f"{scheme} " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())
