"""The child process that opens a stranger's PDF: one seal, one revision, the whole file, a known issuer.

Run as `python -m services.documents.verification.examine`. It reads one JSON line
of known seal certificates (base64 DER), then the file, from its standard input,
and writes one JSON object. It has no database, no key, little memory and little time.
"""

import base64
import resource
import sys
from io import BytesIO
from typing import Any, cast

import msgspec
from cryptography import x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import EmbeddedPdfSignature
from pyhanko.sign.validation.generic_cms import validate_sig_integrity
from pyhanko.sign.validation.status import SignatureCoverageLevel

from services.documents.verification.examined import Examined

MEMORY = 768 * 1024 * 1024
CPU_SECONDS = 5


def examine(content: bytes, known_seals: frozenset[bytes]) -> Examined:
    """The strict rule of attestations.md §1: one revision, whole file covered, known seal."""
    try:
        reader = PdfFileReader(BytesIO(content), strict=True)
        seals = list(reader.embedded_signatures)
    except Exception:
        # The parser meets whatever a stranger made; every way it fails is the same answer.
        return Examined("unreadable")
    if not seals:
        return Examined("no_seal")
    if len(seals) > 1 or reader.total_revisions != 1:
        return Examined("added_content")
    try:
        return _examine_seal(seals[0], known_seals)
    except Exception:
        return Examined("altered")


def seal_certificate(content: bytes) -> x509.Certificate | None:
    """The certificate the only seal of a file names; None when there is not exactly one. It proves nothing yet."""
    try:
        seals = list(PdfFileReader(BytesIO(content), strict=True).embedded_signatures)
        named = [cast(Any, seal).signer_cert.dump() for seal in seals]
        return x509.load_der_x509_certificate(named[0]) if len(named) == 1 else None
    except Exception:
        # The parser meets whatever a stranger made.
        return None


def _examine_seal(seal: EmbeddedPdfSignature, known_seals: frozenset[bytes]) -> Examined:
    if seal.evaluate_signature_coverage() != SignatureCoverageLevel.ENTIRE_FILE:
        return Examined("added_content")
    certificate = seal.signer_cert
    if certificate.dump() not in known_seals:
        return Examined("unknown_issuer")
    digest = seal.compute_digest()
    intact, valid = validate_sig_integrity(
        seal.signer_info, certificate, expected_content_type="data", actual_digest=digest
    )
    if not intact or not valid:
        return Examined("altered")
    return Examined("genuine", digest.hex())


def main() -> None:
    """Bound this process, read, answer."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    known = frozenset(
        base64.b64decode(one) for one in msgspec.json.decode(sys.stdin.buffer.readline(), type=list[str])
    )
    answer = examine(sys.stdin.buffer.read(), known)
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
