"""Members for tests: valid numbers, and the facts that make them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from libs.common.events.identity import AdherentImported, ImportedEstablishment
from libs.common.values.identifiers import new_id
from libs.common.values.siret import luhn_digit


def a_siren(seed: int = 73282932) -> str:
    digits = f"{seed:08d}"
    return digits + luhn_digit(digits)


def a_siret(siren: str, site: int = 1) -> str:
    digits = siren + f"{site:04d}"
    return digits + luhn_digit(digits)


def a_member(
    *,
    adherent_id: UUID | None = None,
    number: str = "123456",
    siren: str | None = "",
    name: str = "MAÇONNERIE DUPRÉ & FILS",
    version: int = 1,
    sites: Sequence[ImportedEstablishment] | None = None,
) -> AdherentImported:
    """The fact identity tells; `siren=None` is a foreign firm."""
    siren = a_siren() if siren == "" else siren
    siret = a_siret(siren) if siren else None
    if sites is None:
        sites = [a_site(siret)]
    return AdherentImported(
        event_id=new_id(),
        at=datetime.now(UTC),
        version=version,
        adherent_id=adherent_id or new_id(),
        adherent_number=number,
        siren=siren,
        siret=siret,
        legal_name=name,
        address=["12 RUE DES LILAS", "13001 MARSEILLE"],
        establishments=list(sites),
    )


def a_site(siret: str | None, *, name: str = "Siège", is_head_office: bool = True) -> ImportedEstablishment:
    return ImportedEstablishment(
        establishment_id=new_id(), siret=siret, name=name, address=[], is_head_office=is_head_office
    )
