"""The caisse's authority, published: its certificate and its list of revoked seals."""

from cryptography.hazmat.primitives.serialization import Encoding
from litestar import Response, get
from litestar.di import NamedDependency

from libs.common.http.application import Clock
from libs.common.values.caisse_slug import CaisseSlug
from services.documents.attestations.issue import Workshop
from services.documents.seals.certificates import make_crl
from services.documents.seals.current_seal import authority_of


@get("/{caisse:str}/seals/authority.cer", access="anyone")
async def authority_certificate(
    caisse_slug: NamedDependency[CaisseSlug], shop: NamedDependency[Workshop]
) -> Response[bytes]:
    """The certificate that a reader adds to those it trusts (DER)."""
    async with shop.db.transaction(caisse_slug) as tx:
        authority = await authority_of(tx, shop.keys)
    return Response(
        authority.certificate.public_bytes(Encoding.DER),
        media_type="application/pkix-cert",
        headers={"Cache-Control": "public, max-age=86400"},
    )


@get("/{caisse:str}/seals/authority.crl", access="anyone")
async def revoked_seals(
    caisse_slug: NamedDependency[CaisseSlug], shop: NamedDependency[Workshop], clock: NamedDependency[Clock]
) -> Response[bytes]:
    """The authority's list of revoked seals (DER), signed now, valid thirty days."""
    async with shop.db.transaction(caisse_slug) as tx:
        authority = await authority_of(tx, shop.keys)
    return Response(
        make_crl(authority, clock()),
        media_type="application/pkix-crl",
        headers={"Cache-Control": "public, max-age=3600"},
    )
