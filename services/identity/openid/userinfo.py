"""UserInfo (OpenID Connect Core §5.3): one access token of this issuer, its proof, its living grant."""

from datetime import UTC, datetime
from typing import Any

from libs.common.access import refusals as access
from libs.common.access.dpop import Nonces, verify_proof
from services.identity.openid import discovery, store, subject_gate
from services.identity.openid.answers import Answer
from services.identity.openid.clients import Client
from services.identity.openid.commit import LostRace, write
from services.identity.openid.dpop_binding import ProofHeaders, next_nonce, nonces_for
from services.identity.openid.effects import Effect, RememberProof
from services.identity.openid.issuer import Issuer
from services.identity.openid.person_claims import granted_claims, scope_claims
from services.identity.openid.presented import bound_key, read_access_token, sought
from services.identity.openid.provider import Provider
from services.identity.openid.snapshot import Grant, Snapshot
from services.identity.openid.subject_gate import InForce, Stopped


class NotAccepted(Exception):
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
        raise NotAccepted("invalid_request", 400)
    if form_token is not None:
        return "bearer", form_token
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() not in {"bearer", "dpop"} or not token.strip():
        raise NotAccepted
    return scheme.lower(), token.strip()


async def answer_userinfo(
    provider: Provider, issuer: Issuer, presented: tuple[str, str], proof: ProofHeaders, now: datetime
) -> Answer:
    """Checks in order: `OF_THE_TOKEN`, what became of it, its proof, the gate; the proof is then spent."""
    scheme, token = presented
    try:
        claims = _own_claims(issuer, token, now)
        client, (grant, is_revoked, floor) = await store.load_for_token(
            provider.db.one_statement(issuer.caisse), claims["client_id"], sought(claims)
        )
        if client is None or grant is None or is_revoked:
            raise NotAccepted("invalid_token")
        spent = _check_proof(scheme, token, claims, proof, now, nonces_for(client, provider.nonces))
        passed = _check_gate(claims, floor, grant, client, now)
        await _spend(provider, issuer, spent)
    except NotAccepted as refusal:
        return challenge(refusal, issuer, scheme)
    snapshot = await provider.snapshot(issuer, now, None)
    return _answer(userinfo_claims(passed, client, claims["scope"].split()), client, snapshot)


def _own_claims(issuer: Issuer, token: str, now: datetime) -> dict[str, Any]:
    claims = read_access_token(token, issuer)
    if claims is None:
        raise NotAccepted("invalid_token")
    for check in OF_THE_TOKEN:
        check(claims, issuer, now)
    return claims


def is_for_the_issuer(claims: dict[str, Any], issuer: Issuer, now: datetime) -> None:
    """RFC 9068 §4: whoever accepts a token is its audience."""
    if claims["aud"] != issuer.url:
        raise NotAccepted("invalid_token")


def is_a_person_s_own(claims: dict[str, Any], issuer: Issuer, now: datetime) -> None:
    """OpenID Connect Core §5.3: it answers about whoever signed in; a delegated token is a firm's (RFC 8693 §4.1)."""
    if "act" in claims:
        raise NotAccepted("invalid_token")


def is_not_expired(claims: dict[str, Any], issuer: Issuer, now: datetime) -> None:
    """RFC 9068 §4, exclusive, and by the clock that wrote it: no tolerance."""
    if datetime.fromtimestamp(claims["exp"], UTC) <= now:
        raise NotAccepted("invalid_token")


def says_openid(claims: dict[str, Any], issuer: Issuer, now: datetime) -> None:
    """OpenID Connect Core §3.1.2.1, §5.4: without that scope nothing was asked of OpenID (RFC 6750 §3.1)."""
    if "openid" not in claims["scope"].split():
        raise NotAccepted("insufficient_scope", 403)


OF_THE_TOKEN = (is_for_the_issuer, is_a_person_s_own, is_not_expired, says_openid)


def _check_proof(
    scheme: str, token: str, claims: dict[str, Any], proof: ProofHeaders, now: datetime, nonces: Nonces | None
) -> list[Effect]:
    """RFC 9449 §7.1, §7.2: a bound token needs its scheme and its proof; a bearer token has neither.

    §9: the proof holds one of `nonces`, where the client is registered for them.
    """
    jkt = bound_key(claims)
    if jkt is None:
        if scheme != "bearer":
            raise NotAccepted("invalid_token")
        return []
    if scheme != "dpop":
        raise NotAccepted("invalid_token")
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
        raise NotAccepted("use_dpop_nonce", nonce=nonces.current(now) if nonces else None) from error
    except access.InvalidProof as error:
        raise NotAccepted("invalid_dpop_proof") from error
    return [RememberProof(verified)]


def _check_gate(
    claims: dict[str, Any], floor: datetime | None, grant: Grant, client: Client, now: datetime
) -> InForce:
    try:
        return subject_gate.check_token(claims, floor, grant, client, now)
    except Stopped as stop:
        raise NotAccepted("invalid_token") from stop


async def _spend(provider: Provider, issuer: Issuer, proofs: list[Effect]) -> None:
    """RFC 9449 §11.1: of two requests with one proof, one is answered."""
    try:
        if proofs:
            await write(provider.db, issuer.caisse, proofs)
    except LostRace as lost:
        raise NotAccepted("invalid_dpop_proof") from lost


def userinfo_claims(grant: InForce, client: Client, scopes: list[str]) -> dict[str, Any]:
    """By scope (§5.4) and one by one (§5.5). A scope withdrawn from the client gives nothing more."""
    allowed = [scope for scope in scopes if scope in client.scopes]
    return {
        "sub": grant.granted.subject,
        **scope_claims(allowed, grant.subject),
        **granted_claims("userinfo", grant, client),
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


def challenge(refusal: NotAccepted, issuer: Issuer, scheme: str = "") -> Answer:
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
