"""The caisse's seal on a PDF: PAdES B-B, certifying, one revision covering the whole file.

The one place that knows pyHanko. The profile is attestations.md §6: DocMDP P=1,
CAdES detached, P-256 with SHA-256, RFC 6979, so that sealing the same bytes
twice gives the same file: a retry after a crash cannot yield two seals.
"""

import asyncio
import hashlib
from datetime import datetime
from io import BytesIO
from typing import Any, NamedTuple, cast

from asn1crypto import cms as asn1_cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.generic import (
    ArrayObject,
    ByteStringObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    NumberObject,
    TextStringObject,
)
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import (
    PdfFileWriter,
    copy_into_new_writer,  # pyright: ignore[reportUnknownVariableType]
)
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigMDPSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pyhanko.sign.signers.pdf_cms import Signer
from pyhanko_certvalidator.registry import SimpleCertificateStore

from services.documents.seals.certificates import Seal

FIELD = "Cachet"
RESERVED = 2 * 6144
"""Hexadecimal characters kept for the CMS: a late timestamp will fit in."""


class Sealed(NamedTuple):
    """A sealed file. `byte_range_digest` names it: a late timestamp changes the file, never this."""

    pdf: bytes
    cms: bytes
    byte_range_digest: bytes


def seal_pdf(pdf: bytes, seal: Seal, *, sealed_at: datetime, reason: str, name: str) -> Sealed:
    """Seal `pdf`, an unsealed render. CPU-bound, 30 ms; call it in the press."""
    writer = copy_into_new_writer(PdfFileReader(BytesIO(pdf)))
    _freeze(writer, pdf)
    _add_field(writer)
    placeholder = SignatureObject(
        timestamp=sealed_at,
        subfilter=SigSeedSubFilter.PADES,
        name=name,
        reason=reason,
        bytes_reserved=RESERVED,
    )
    embedding = cast(Any, PdfCMSEmbedder().write_cms(FIELD, writer, existing_fields_only=True))
    next(embedding)
    mdp = SigMDPSetup(md_algorithm="sha256", certify=True, docmdp_perms=MDPPerm.NO_CHANGES)
    embedding.send(SigObjSetup(sig_placeholder=placeholder, mdp_setup=mdp))
    prepared, output = embedding.send(SigIOSetup(md_algorithm="sha256"))
    container = asyncio.run(
        _Deterministic(seal).async_sign(prepared.document_digest, digest_algorithm="sha256", use_pades=True)
    )
    embedding.send(container)
    return Sealed(output.getvalue(), container.dump(), prepared.document_digest)


class _Deterministic(Signer):
    """Signs with RFC 6979: the same bytes always get the same seal."""

    def __init__(self, seal: Seal) -> None:
        chain = SimpleCertificateStore()
        chain.register(_as_read_by_pyhanko(seal.authority))
        super().__init__(
            signing_cert=_as_read_by_pyhanko(seal.certificate),
            cert_registry=chain,
            signature_mechanism=asn1_cms.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
        )
        self._key = seal.key

    async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
        return self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def _as_read_by_pyhanko(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return cast(Any, asn1_x509.Certificate).load(certificate.public_bytes(Encoding.DER))


def _freeze(writer: PdfFileWriter, pdf: bytes) -> None:
    """Leave nothing to chance or to the clock: the identifier follows the bytes, the metadata stay Typst's."""
    identifier = ByteStringObject(hashlib.sha256(pdf).digest()[:16])
    internals = cast(Any, writer)
    internals._document_id = ArrayObject([identifier, identifier])
    internals._update_meta = lambda: None


def _add_field(writer: PdfFileWriter) -> None:
    """An invisible signature field that PDF/UA-1 accepts: described, and present in the structure tree."""
    root: DictionaryObject = writer.root
    page_ref = cast(IndirectObject, cast(Any, writer).find_page_for_modification(0)[0])
    page = cast(DictionaryObject, page_ref.get_object())
    said = TextStringObject("Cachet électronique de la caisse")
    tree = cast(DictionaryObject, root["/StructTreeRoot"])
    parents = cast(DictionaryObject, tree["/ParentTree"])
    key = _highest_key(parents) + 1
    widget = writer.add_object(
        DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Annot"),
                NameObject("/Subtype"): NameObject("/Widget"),
                NameObject("/FT"): NameObject("/Sig"),
                NameObject("/T"): TextStringObject(FIELD),
                NameObject("/TU"): said,
                NameObject("/F"): NumberObject(132),
                NameObject("/Rect"): ArrayObject([NumberObject(0)] * 4),
                NameObject("/P"): page_ref,
                NameObject("/StructParent"): NumberObject(key),
            }
        )
    )
    document = _document_element(tree)
    element = writer.add_object(
        DictionaryObject(
            {
                NameObject("/Type"): NameObject("/StructElem"),
                NameObject("/S"): NameObject("/Form"),
                NameObject("/P"): document,
                NameObject("/Alt"): said,
                NameObject("/K"): DictionaryObject(
                    {
                        NameObject("/Type"): NameObject("/OBJR"),
                        NameObject("/Obj"): widget,
                        NameObject("/Pg"): page_ref,
                    }
                ),
            }
        )
    )
    _append(cast(DictionaryObject, document.get_object()), "/K", element)
    _append_parent(writer, parents, key, element)
    if "/ParentTreeNextKey" in tree:
        tree[NameObject("/ParentTreeNextKey")] = NumberObject(key + 1)
    _append(page, "/Annots", widget)
    root[NameObject("/AcroForm")] = writer.add_object(
        DictionaryObject(
            {NameObject("/Fields"): ArrayObject([widget]), NameObject("/SigFlags"): NumberObject(3)}
        )
    )


def _document_element(tree: DictionaryObject) -> IndirectObject:
    kids = cast(Any, tree).raw_get("/K")
    if isinstance(kids, IndirectObject) and not isinstance(kids.get_object(), ArrayObject):
        return kids
    return cast(IndirectObject, cast(Any, tree["/K"]).raw_get(0))


def _append(container: DictionaryObject, name: str, value: IndirectObject) -> None:
    present = cast(Any, container[name] if name in container else ArrayObject())
    if not isinstance(present, ArrayObject):
        present = ArrayObject([container.raw_get(name)])
        container[NameObject(name)] = present
    elif name not in container:
        container[NameObject(name)] = present
    present.append(value)


def _highest_key(node: DictionaryObject) -> int:
    numbers = list(cast(Any, node["/Nums"])) if "/Nums" in node else []
    below = list(cast(Any, node["/Kids"])) if "/Kids" in node else []
    keys = [int(key) for key in numbers[::2]] + [_highest_key(kid.get_object()) for kid in below]
    return max(keys, default=-1)


def _append_parent(
    writer: PdfFileWriter, parents: DictionaryObject, key: int, element: IndirectObject
) -> None:
    if "/Nums" in parents:
        cast(ArrayObject, parents["/Nums"]).extend([NumberObject(key), element])
        return
    leaf = DictionaryObject(
        {
            NameObject("/Limits"): ArrayObject([NumberObject(key), NumberObject(key)]),
            NameObject("/Nums"): ArrayObject([NumberObject(key), element]),
        }
    )
    cast(ArrayObject, parents["/Kids"]).append(writer.add_object(leaf))
