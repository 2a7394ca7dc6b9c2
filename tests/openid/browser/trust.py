"""Make one more authority known to Chromium, and to nobody else: the NSS database of a home folder of its own.

`python -m tests.openid.browser.trust LIBRARIES HOME CERTIFICATE` in a process of its own, for NSS keeps state.
The browser then checks names, dates and signatures as always: nothing is ignored.
"""

import ctypes
import ssl
import sys
from pathlib import Path

LIBRARIES = ("libnspr4.so", "libplc4.so", "libplds4.so", "libnssutil3.so", "libnss3.so")
AUTHORITY_OF_SERVERS = b"C,,"


class _Item(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("data", ctypes.c_char_p), ("len", ctypes.c_uint))


class _Trust(ctypes.Structure):
    _fields_ = (("ssl", ctypes.c_uint), ("email", ctypes.c_uint), ("signing", ctypes.c_uint))


def trust(libraries: Path, home: Path, certificate: Path) -> None:
    """Write `home/.pki/nssdb`. Raises `OSError` when NSS refuses."""
    folder = home / ".pki" / "nssdb"
    folder.mkdir(parents=True, exist_ok=True)
    nss = _nss(libraries)
    _held(nss.NSS_InitReadWrite(f"sql:{folder}".encode()) == 0, "open")
    slot = nss.PK11_GetInternalKeySlot()
    if nss.PK11_NeedUserInit(slot):
        _held(nss.PK11_InitPin(slot, None, b"") == 0, "no password")
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text("ascii"))
    item = _Item(0, der, len(der))
    found = nss.CERT_NewTempCertificate(nss.CERT_GetDefaultCertDB(), ctypes.byref(item), None, 0, 1)
    _held(bool(found), "read the certificate")
    _held(nss.PK11_ImportCert(slot, found, 0, b"Espace", 0) == 0, "keep the certificate")
    flags = _Trust()
    _held(nss.CERT_DecodeTrustString(ctypes.byref(flags), AUTHORITY_OF_SERVERS) == 0, "read the trust")
    _held(nss.CERT_ChangeCertTrust(nss.CERT_GetDefaultCertDB(), found, ctypes.byref(flags)) == 0, "trust")
    nss.CERT_DestroyCertificate(found)
    nss.PK11_FreeSlot(slot)
    _held(nss.NSS_Shutdown() == 0, "close")


def _nss(libraries: Path) -> ctypes.CDLL:
    loaded = [ctypes.CDLL(str(_library(libraries, name)), mode=ctypes.RTLD_GLOBAL) for name in LIBRARIES]
    nss = loaded[-1]
    pointer = ctypes.c_void_p
    for name, answer, arguments in (
        ("PK11_GetInternalKeySlot", pointer, ()),
        ("PK11_NeedUserInit", ctypes.c_int, (pointer,)),
        ("PK11_InitPin", ctypes.c_int, (pointer, ctypes.c_char_p, ctypes.c_char_p)),
        ("CERT_NewTempCertificate", pointer, (pointer, pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)),
        ("PK11_ImportCert", ctypes.c_int, (pointer, pointer, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int)),
        ("CERT_DecodeTrustString", ctypes.c_int, (pointer, ctypes.c_char_p)),
        ("CERT_GetDefaultCertDB", pointer, ()),
        ("CERT_ChangeCertTrust", ctypes.c_int, (pointer, pointer, pointer)),
        ("CERT_DestroyCertificate", None, (pointer,)),
        ("PK11_FreeSlot", None, (pointer,)),
    ):
        function = getattr(nss, name)
        function.restype, function.argtypes = answer, arguments
    return nss


def _library(libraries: Path, name: str) -> Path | str:
    beside = libraries / name
    return beside if beside.exists() else name


def _held(claim: bool, what: str) -> None:
    if not claim:
        raise OSError(f"NSS cannot {what}")


if __name__ == "__main__":
    trust(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
