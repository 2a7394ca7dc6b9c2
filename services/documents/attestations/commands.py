"""`espace attestation verify`: check a file off-line, with nothing but the caisse's certificate."""

import json
import sys
from pathlib import Path
from typing import Final

import rich_click as click
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from services.documents.attestations.payload import Payload
from services.documents.verification.examine import examine, seal_certificate
from services.documents.verification.examined import Examined, Verdict
from services.documents.verification.read_inside import read_inside

EXIT_CODES: Final[dict[Verdict, int]] = {
    "genuine": 0,
    "altered": 3,
    "added_content": 4,
    "unknown_issuer": 5,
    "no_seal": 6,
    "unreadable": 7,
}
SAID: Final[dict[Verdict, str]] = {
    "genuine": "Cachet valable : le fichier est celui que la caisse a scellé, entier et sans ajout.",
    "altered": "Fichier altéré : le cachet ne correspond pas au contenu.",
    "added_content": "Contenu ajouté après le cachet.",
    "unknown_issuer": "Le cachet n'est pas celui de la caisse indiquée.",
    "no_seal": "Ce fichier ne porte aucun cachet.",
    "unreadable": "Ce fichier ne se lit pas comme un PDF.",
}


@click.group("attestation")
def attestation() -> None:
    """Attestations : les vérifier hors ligne."""


@attestation.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--trust",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificat de l'autorité de la caisse (…/CAISSE/seals/authority.cer), DER ou PEM.",
)
@click.option("--json", "as_json", is_flag=True, help="Répondre en JSON.")
def verify(file: Path, trust: tuple[Path, ...], as_json: bool) -> None:
    """Vérifier le cachet de FILE et montrer ce qu'il atteste.

    L'état présent (retirée, remplacée) ne se lit que sur la page de vérification. Codes de sortie : 0 authentique,
    3 altéré, 4 contenu ajouté, 5 émetteur inconnu, 6 sans cachet, 7 illisible.
    """
    content = file.read_bytes()
    examined = examine_off_line(content, [_certificate(path) for path in trust])
    inside = read_inside(content) if examined.verdict == "genuine" else None
    if as_json:
        click.echo(json.dumps(_as_told(examined, inside), ensure_ascii=False))
    else:
        click.echo(SAID[examined.verdict])
        if inside is not None:
            click.echo(f"{inside.adherent.raison_sociale}, SIREN {inside.adherent.siren or 'absent'}")
            click.echo(f"À jour au {inside.a_jour_au:%d/%m/%Y}, attestation {inside.id}, {inside.caisse.nom}")
    sys.exit(EXIT_CODES[examined.verdict])


def examine_off_line(content: bytes, authorities: list[x509.Certificate]) -> Examined:
    """The strict rule, a seal being known when one of `authorities` issued its certificate."""
    certificate = seal_certificate(content)
    known = certificate is not None and any(_issued_by(certificate, authority) for authority in authorities)
    return examine(
        content, frozenset({certificate.public_bytes(Encoding.DER)} if known and certificate else ())
    )


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _certificate(path: Path) -> x509.Certificate:
    content = path.read_bytes()
    load = x509.load_pem_x509_certificate if content.startswith(b"-----") else x509.load_der_x509_certificate
    try:
        return load(content)
    except ValueError as error:
        raise click.BadParameter(f"{path} n'est pas un certificat.", param_hint="--trust") from error


def _as_told(examined: Examined, inside: Payload | None) -> dict[str, object]:
    told: dict[str, object] = {"verdict": examined.verdict, "byte_range_digest": examined.byte_range_digest}
    if inside is not None:
        told["attestation"] = {
            "number": inside.id,
            "legal_name": inside.adherent.raison_sociale,
            "siren": inside.adherent.siren,
            "as_of": inside.a_jour_au.isoformat(),
            "caisse": inside.caisse.nom,
        }
    return told
