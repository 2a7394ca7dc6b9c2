"""The three caisses of the demonstration; what they print of themselves is invented."""

from datetime import UTC, date, datetime

from libs.common.values.caisse_slug import CaisseSlug
from services.identity.caisses.caisse import Caisse, CaisseSettings, Cutover

CUTOVER = Cutover(closes_on=date(2020, 12, 21), desk_reopens_on=date(2021, 1, 6), opens_on=date(2021, 1, 7))
HOURS = "du lundi au vendredi, de 8 h 30 à 17 h"


def _caisse(
    slug: str, name: str, network_number: str, siren: str, address: list[str], phone: str, colour: str
) -> Caisse:
    return Caisse(
        slug=CaisseSlug(slug),
        name=name,
        network_number=network_number,
        siren=siren,
        address=address,
        phone=phone,
        email=f"contact@{slug}.example",
        website=f"https://www.{slug}.example",
        mail_from=f"ne-pas-repondre@{slug}.example",
        settings=CaisseSettings(colour=colour, cutover=CUTOVER, desk_hours=HOURS),
        created_at=datetime.now(UTC),
    )


def demonstration_caisses() -> list[Caisse]:
    """Méditerranée first: it is the one whose story is told."""
    return [
        _caisse(
            "mediterranee",
            "Congés Intempéries BTP Méditerranée",
            "13",
            "900000019",
            ["CONGES INTEMPERIES BTP MEDITERRANEE", "12 RUE DES CALFATS", "13002 MARSEILLE"],
            "04 00 00 00 13",
            "#0b4a6f",
        ),
        _caisse(
            "ile-de-france",
            "Congés Intempéries BTP Île-de-France",
            "02",
            "900000027",
            ["CONGES INTEMPERIES BTP ILE-DE-FRANCE", "3 QUAI DES CHARPENTIERS", "75012 PARIS"],
            "01 00 00 00 02",
            "#4b2e83",
        ),
        _caisse(
            "grand-ouest",
            "Congés Intempéries BTP Grand-Ouest",
            "44",
            "900000035",
            ["CONGES INTEMPERIES BTP GRAND-OUEST", "8 RUE DES COUVREURS", "44000 NANTES"],
            "02 00 00 00 44",
            "#0a5238",
        ),
    ]
