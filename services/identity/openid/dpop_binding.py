"""DPoP at our own endpoints (RFC 9449 §5): the proof is verified by `libs.common.access.dpop`, and bound here."""

from collections.abc import Sequence

from msgspec import Struct

from libs.common.access import refusals
from libs.common.access.dpop import DpopProof, Nonces, verify_proof
from services.identity.openid.clients import Client
from services.identity.openid.issuer import Audience, Issuer
from services.identity.openid.refusals import InvalidDpopProof, InvalidTarget, UseDpopNonce
from services.identity.openid.snapshot import Snapshot


class ProofHeaders(Struct, frozen=True):
    """The `DPoP` headers as received, and the method and public address they must name."""

    proofs: Sequence[str] = ()
    method: str = "POST"
    url: str = ""


def nonces_for(client: Client, nonces: Nonces) -> Nonces | None:
    """The nonces that this client's proofs must come from, if it is registered for them (RFC 9449 §8)."""
    return nonces if client.metadata.require_dpop_nonce else None


def next_nonce(client: Client, snapshot: Snapshot) -> dict[str, str]:
    """RFC 9449 §8.2: a client that must use nonces hears the next one with each answer."""
    nonces = nonces_for(client, snapshot.nonces)
    return {"DPoP-Nonce": nonces.current(snapshot.now)} if nonces else {}


def read_proof(headers: ProofHeaders, client: Client, snapshot: Snapshot) -> DpopProof | None:
    """The proof of this request, if it carries one. Raises `InvalidDpopProof` and `UseDpopNonce`."""
    if not headers.proofs:
        return None
    nonces = nonces_for(client, snapshot.nonces)
    try:
        return verify_proof(
            headers.proofs, method=headers.method, url=headers.url, now=snapshot.now, nonces=nonces
        )
    except refusals.NonceWanted as error:
        raise UseDpopNonce from error
    except refusals.InvalidProof as error:
        raise InvalidDpopProof from error


def check_required(proof: DpopProof | None, client: Client) -> None:
    """openid.md line 13: a token is bound to a key, `compat` clients' UserInfo tokens apart."""
    if proof is None and client.needs_dpop:
        raise InvalidDpopProof("A DPoP proof is required.")


def check_reach(proof: DpopProof | None, audience: Audience, issuer: Issuer) -> None:
    """openid.md §1: what is bound to no key is good at the issuer alone. Raises `InvalidTarget`."""
    if proof is None and audience.uri != issuer.url:
        raise InvalidTarget("A bearer token is good for UserInfo only.")


def check_bound(proof: DpopProof | None, jkt: str | None) -> None:
    """What was bound to a key is redeemed with that key (RFC 9449 §10)."""
    if jkt is not None and (proof is None or proof.jkt != jkt):
        raise InvalidDpopProof("The proof's key is not the bound key.")
