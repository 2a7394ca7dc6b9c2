"""A caisse's own two-tier authority: root, then seal (attestations.md §11)."""

from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

AUTHORITY_LIFE = timedelta(days=25 * 365)
SEAL_LIFE = timedelta(days=3 * 365)
SEAL_SIGNS = timedelta(days=365)
"""A seal signs one year and is verified three: the last paper it sealed stays checkable."""

CRL_LIFE = timedelta(days=30)
CLOCKS = timedelta(hours=1)


class Authority(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Seal(NamedTuple):
    """What seals a file: the certificate, its key, and the authority's certificate for the chain."""

    sequence: int
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    authority: x509.Certificate


def make_authority(*, organisation: str, siren: str, now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(organisation, siren, f"Autorité des cachets – {organisation}")
    certificate = (
        _builder(name, name, key.public_key(), key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def make_seal(
    authority: Authority, *, organisation: str, siren: str, sequence: int, address: str, now: datetime
) -> Seal:
    """A seal of the caisse. `address` is where its authority's certificate and CRL are served."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(organisation, siren, f"Cachet {now:%Y}-{sequence} – {organisation}")
    crl = x509.DistributionPoint(
        [x509.UniformResourceIdentifier(f"{address}/authority.crl")], None, None, None
    )
    issuer = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(f"{address}/authority.cer")
    )
    # No extended usage: readers distrust documentSigning alone, and none is needed.
    certificate = (
        _builder(
            name, authority.certificate.subject, key.public_key(), authority.key.public_key(), now, SEAL_LIFE
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True, content_commitment=True), critical=True)
        .add_extension(x509.CRLDistributionPoints([crl]), critical=False)
        .add_extension(x509.AuthorityInformationAccess([issuer]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Seal(sequence, certificate, key, authority.certificate)


def make_crl(authority: Authority, now: datetime) -> bytes:
    """The authority's list, DER: nothing revoked, valid 30 days. Numbered by its minute."""
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - CLOCKS)
        .next_update(now + CRL_LIFE)
        .add_extension(x509.CRLNumber(int(now.timestamp()) // 60), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    return crl.public_bytes(serialization.Encoding.DER)


def to_pkcs8(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Unencrypted PKCS#8, DER: encrypt before it leaves the process."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def from_pkcs8(der: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_der_private_key(der, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a seal's key is on an elliptic curve")
    return key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer_public: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False)
    )


def _name(organisation: str, siren: str, common_name: str) -> x509.Name:
    country = x509.NameAttribute(NameOID.COUNTRY_NAME, "FR")
    known = x509.NameAttribute(NameOID.ORGANIZATION_NAME, _bounded(organisation))
    registered = [x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, f"NTRFR-{siren}")] if siren else []
    return x509.Name(
        [country, known, *registered, x509.NameAttribute(NameOID.COMMON_NAME, _bounded(common_name))]
    )


def _bounded(text: str) -> str:
    """At most 64 bytes of UTF-8, the bound of X.520 on O and CN as readers apply it."""
    return text.encode()[:64].decode(errors="ignore").rstrip()


def _usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
