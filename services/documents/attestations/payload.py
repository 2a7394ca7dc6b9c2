"""The truth of an attestation: sorted compact JSON of these fields, and nothing else.

Strings and integers only, NFC, keys sorted: the bytes are RFC 8785's. `typ`
carries the version; a test freezes the bytes of each version. PDF, page, QR and
log only render or hash what is here (docs/explanation/attestations.md).
"""

import hashlib
import re
import unicodedata
from datetime import date, datetime

import msgspec

from libs.common.values.seen import is_seen

TYP = "cibtp.attestation-a-jour.v1"
LEGAL_BASIS = "code de la commande publique, article L. 2141-2 ; arrêté du 22 mars 2019."


class PayloadCaisse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    nom: str
    siren: str = ""


class PayloadAdherent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`siren` is absent only for a foreign firm without one."""

    numero: str
    raison_sociale: str
    siren: str | None = None
    siret: str | None = None


class PayloadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where the state of the attestation is published, and at which index."""

    uri: str
    idx: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is attested, before it has a number, a code or an hour of issue."""

    caisse: PayloadCaisse
    adherent: PayloadAdherent
    niveau: str
    situation: str
    a_jour_au: date
    base_legale: str


class Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attestation. `id` holds caisse, year and gapless number; `emise_le` is UTC, to the second."""

    id: str
    caisse: PayloadCaisse
    adherent: PayloadAdherent
    niveau: str
    situation: str
    a_jour_au: date
    emise_le: datetime
    base_legale: str
    code: str
    statut: PayloadStatus
    typ: str
    valable_jusqu_au: date | None = None
    remplace: str | None = None


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Payload)


def canonical(value: Payload | Facts) -> bytes:
    return _ENCODER.encode(value)


def read_payload(canonical_bytes: bytes) -> Payload:
    return _DECODER.decode(canonical_bytes)


def data_hash(facts: Facts) -> bytes:
    """Same firm, same day, same facts: same paper."""
    return hashlib.sha256(canonical(facts)).digest()


def payload_of(
    facts: Facts, *, number: str, code: str, issued_at: datetime, status: PayloadStatus, replaces: str | None
) -> Payload:
    return Payload(
        typ=TYP,
        id=number,
        caisse=facts.caisse,
        adherent=facts.adherent,
        niveau=facts.niveau,
        situation=facts.situation,
        a_jour_au=facts.a_jour_au,
        emise_le=issued_at.replace(microsecond=0),
        base_legale=facts.base_legale,
        code=code,
        statut=status,
        remplace=replaces,
    )


def number_of(caisse: str, year: int, number: int) -> str:
    """`mediterranee-2026-000042`: the number that is printed, and the payload's `id`."""
    return f"{caisse}-{year}-{number:06d}"


def plain_name(name: str) -> str:
    """A name as one line of visible text: NFC, no control, reordering or invisible character, single spaces."""
    shown = "".join(
        " " if letter.isspace() else letter for letter in name if letter.isspace() or is_seen(letter)
    )
    return unicodedata.normalize("NFC", re.sub(" +", " ", shown).strip())
