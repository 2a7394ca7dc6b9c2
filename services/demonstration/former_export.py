"""The export of a former system that never existed: same seed, same bytes.

The mix and the traps are those of docs/reference/export-format.md. One pass, one
adhérent at a time, so that 250,000 cost no more memory than twenty. What is
planted on purpose is told, so that a test can hold the importer to it line by line.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple, TextIO

from libs.common.values.siret import LA_POSTE, luhn_digit
from services.demonstration import invented_names as names
from services.demonstration.export_traps import Planted, spoil

AS_OF = date(2020, 12, 21)
"""The day the former system closed."""

SHOWN = 50
"""How many firms of each standing a demonstration may show."""

COLUMNS: dict[str, str] = {
    "adherents.csv": "NUM_ADHERENT;SIREN;SIRET;RAISON_SOCIALE;ADRESSE_1;ADRESSE_2;ADRESSE_3;CODE_POSTAL;VILLE;PAYS;"
    "CODE_COMMUNE;NUM_CAISSE;EFFECTIF;DATE_ADHESION;DATE_RADIATION;IBAN",
    "establishments.csv": "NUM_ADHERENT;SIRET;ENSEIGNE;ADRESSE_1;ADRESSE_2;ADRESSE_3;CODE_POSTAL;VILLE;PAYS;SIEGE;"
    "DATE_OUVERTURE;DATE_FERMETURE",
    "contacts.csv": "NUM_ADHERENT;NOM;PRENOM;FONCTION;COURRIEL;TELEPHONE",
    "authorisations.csv": "NUM_ADHERENT;SIREN_CABINET;NOM_CABINET;DATE_AUTORISATION",
    "statements.csv": "NUM_ADHERENT;PERIODE;NATURE;SIRET;MONTANT;DATE_EXIGIBILITE;RECOUVREMENT",
    "payments.csv": "REFERENCE;NUM_ADHERENT;PERIODE;NATURE;MONTANT;DATE_VALEUR;ETAT",
    "declarations.csv": "NUM_ADHERENT;PERIODE;NATURE;SIRET;DATE_LIMITE;DATE_DEPOT",
}


@dataclass
class FormerExport:
    """What was written, and what a good importer must say of it."""

    folder: Path
    adherents: int
    rows: dict[str, int] = field(default_factory=dict[str, int])
    planted: list[Planted] = field(default_factory=list[Planted])
    up_to_date: list[str] = field(default_factory=list[str])
    """The first `SHOWN` adhérents that are up to date, have a French SIRET and a sound row."""
    late: list[str] = field(default_factory=list[str])
    in_plan: list[str] = field(default_factory=list[str])
    disputed: list[str] = field(default_factory=list[str])
    foreign: list[str] = field(default_factory=list[str])
    moved: list[str] = field(default_factory=list[str])
    dual: list[str] = field(default_factory=list[str])
    undeliverable: list[str] = field(default_factory=list[str])
    la_poste: str = ""


class Firm(NamedTuple):
    """One adhérent as the former system knew it, before anything is spoilt."""

    number: str
    siren: str
    nic: str
    name: str
    place: tuple[str, str, str, str, str, str, str]
    """ADRESSE_1, 2, 3, CODE_POSTAL, VILLE, PAYS, CODE_COMMUNE."""
    staff: int
    joined_on: date

    @property
    def siret(self) -> str:
        return self.siren + self.nic if self.siren else ""


def write_former_export(
    folder: Path,
    *,
    size: int,
    seed: int = 2021,
    encoding: str = "iso-8859-15",
    region: str = "mediterranee",
    cabinets: tuple[tuple[str, str], ...] = (),
) -> FormerExport:
    """Write the seven files of `size` adhérents into `folder`.

    `cabinets` are (SIREN, name) of real accounts of this installation. They come first
    among the former authorisations, and the firms that a demonstration shows all had one
    of them: "Renouveler" then finds somebody who can accept. Deterministic: the same
    arguments give the same bytes on every machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    export = FormerExport(folder, size)
    with ExitStack() as stack:
        out = {
            file: _Output(
                stack.enter_context((folder / file).open("w", encoding=encoding, newline="")), file, export
            )
            for file in COLUMNS
        }
        writer = _Writer(export, out, Random(f"{seed}/{region}/cabinets"), size, region, cabinets)
        for index in range(size):
            writer.adherent(index, Random(f"{seed}/{region}/{index}"), seed)
        export.rows = {file: output.line - 1 for file, output in out.items()}
    return export


class _Output:
    """One file being written, which knows its line and notes what is spoilt on purpose."""

    def __init__(self, stream: TextIO, file: str, export: FormerExport) -> None:
        self._stream, self.file, self._export = stream, file, export
        self.columns = COLUMNS[file].split(";")
        self.line = 1
        stream.write(COLUMNS[file] + "\r\n")

    def row(self, fields: list[str], *, trap: str = "", orphan: bool = False) -> bool:
        """Write one row, spoilt by `trap` if any; whether the importer must refuse it."""
        self.line += 1
        told = spoil(self.columns, fields, trap) if trap else []
        if orphan and not any(outcome == "refused" for _, outcome, _ in told):
            told = [("NUM_ADHERENT", "refused", "unknown_adherent")]
        self._export.planted += [Planted(self.file, self.line, *remark) for remark in told]
        self._stream.write(";".join(fields) + "\r\n")
        return any(outcome == "refused" for _, outcome, _ in told)


class _Writer:
    """Writes one adhérent after the other; holds the cabinets and the numbers already used."""

    def __init__(
        self,
        export: FormerExport,
        out: dict[str, _Output],
        rng: Random,
        size: int,
        region: str,
        cabinets: tuple[tuple[str, str], ...],
    ) -> None:
        self.export, self.out, self.region = export, out, region
        invented = [(siren_of_index(90_000_000 + i), names.cabinet(rng)) for i in range(max(3, size // 40))]
        self.cabinets, self.real = [*cabinets, *invented], cabinets
        # Log-normal, and one cabinet with 3,000 clients out of 250,000 adhérents.
        weights = [rng.lognormvariate(0, 1.1) for _ in self.cabinets]
        weights[0] = max(weights[0], sum(weights[1:]) * 3_000 / (0.8 * 250_000 - 3_000))
        for real in range(len(cabinets)):
            weights[real] = max(weights[real], sum(weights) * 0.05)
        self.weights = weights
        self.cumulated = _cumulated(weights)
        self.payments = 0
        self.previous: Firm | None = None

    def adherent(self, index: int, rng: Random, seed: int) -> None:
        firm = _firm(index, rng, seed, self.region, self.previous, self.export)
        self.previous = firm
        trap = _trap_of_adherent(index, rng, firm)
        struck_off = index % 211 == 210
        refused = self.out["adherents.csv"].row(
            [
                firm.number, firm.siren, firm.siret, firm.name, *firm.place, _network_number(self.region),
                str(firm.staff), _day(firm.joined_on), "30/09/2020" if struck_off else "", _iban(rng),
            ],
            trap=trap,
        )  # fmt: skip
        if trap == "doubled":
            self._second_line_of(firm, rng)
        several = self._establishments(firm, rng, orphan=refused)
        self._contacts(firm, rng, index, orphan=refused)
        authorisation = self._authorisation(firm, rng) if rng.random() < 0.8 else None
        standing = _standing(rng)
        if self.real and not refused and not struck_off and self._is_shown(firm, standing):
            authorisation = self._of_a_real_cabinet(firm)
        if authorisation:
            fields, spoilt_by = authorisation
            self.out["authorisations.csv"].row(fields, trap=spoilt_by, orphan=refused)
        self._accounts(firm, rng, standing, several)
        self._remember(firm, rng, standing, refused=refused or struck_off)

    def _remember(self, firm: Firm, rng: Random, standing: str, *, refused: bool) -> None:
        if standing != "up_to_date":
            {"late": self.export.late, "plan": self.export.in_plan, "dispute": self.export.disputed}[
                standing
            ].append(firm.number)
        elif not refused and firm.siren and len(self.export.up_to_date) < SHOWN:
            self.export.up_to_date.append(firm.number)
        if rng.random() < 0.04:
            self.export.undeliverable.append(firm.number)

    def _second_line_of(self, firm: Firm, rng: Random) -> None:
        """The same adhérent number once more, under another name: the second line is refused."""
        self.out["adherents.csv"].row(
            [
                firm.number, firm.siren, firm.siret, names.firm(rng), *firm.place, _network_number(self.region),
                str(firm.staff), _day(firm.joined_on), "", "",
            ],
            trap="second",
        )  # fmt: skip

    def _establishments(self, firm: Firm, rng: Random, *, orphan: bool) -> list[str]:
        """The head office, the others of 8 % of firms, the former address of 2 %; their SIRETs."""
        row = partial(self.out["establishments.csv"].row, orphan=orphan)
        place = list(firm.place[:6])
        sirets = [firm.siret]
        has_moved = (
            bool(firm.siren)
            and firm.siren != LA_POSTE
            and firm.joined_on.year < 2019
            and rng.random() < 0.022
        )
        if has_moved:
            # The former head office, numbered before the present one and closed since.
            old = firm.siren + _nic(firm.siren, int(firm.nic[:4]) + 1)
            row(
                [firm.number, old, "", *_place(rng, self.region)[:6], "N", _day(firm.joined_on), "31/03/2019"]
            )
            self.export.moved.append(firm.number)
        opened = "01/04/2019" if has_moved else _day(firm.joined_on)
        trap = _one_in(rng, 90, ("lost_zeros", "no_such_day", "spreadsheet"))
        if trap == "lost_zeros" and not firm.siret.startswith("0"):
            trap = ""
        row([firm.number, firm.siret, "", *place, "O", opened, ""], trap=trap if firm.siren else "")
        if firm.siren and firm.siren != LA_POSTE and rng.random() < 0.08:
            for rank in range(2, 2 + rng.randint(1, 4)):
                siret = firm.siren + _nic(firm.siren, int(firm.nic[:4]) + rank)
                sirets.append(siret)
                sign = f"{firm.name.split(' ', 1)[1]} n° {rank}"
                row([firm.number, siret, sign, *_place(rng, self.region)[:6], "N", _day(firm.joined_on), ""])
        return sirets

    def _contacts(self, firm: Firm, rng: Random, index: int, *, orphan: bool) -> None:
        first, last = rng.choice(names.FIRST_NAMES), names.surname(rng)
        # One person in two firms, now and then.
        firm_written_to = int(firm.number) - (1 if index % 50 == 1 else 0)
        email = f"contact@entreprise-{firm_written_to}.example"
        phone = f"04 {rng.randint(0, 99):02d} {rng.randint(0, 99):02d} {rng.randint(0, 99):02d} 00"
        self.out["contacts.csv"].row(
            [firm.number, last, first, rng.choice(names.ROLES), email, phone],
            trap=_one_in(rng, 100, ("bad_email", "no_name")),
            orphan=orphan,
        )

    def _authorisation(self, firm: Firm, rng: Random) -> tuple[list[str], str]:
        """The row of the firm's former cabinet, and the trap that spoils it."""
        (siren, name) = rng.choices(self.cabinets, cum_weights=self.cumulated)[0]
        granted = firm.joined_on + timedelta(days=rng.randint(0, 700))
        fields = [firm.number, siren, name, _day(min(granted, AS_OF))]
        return fields, _one_in(rng, 120, ("bad_key_cabinet", "not_a_date"))

    def _of_a_real_cabinet(self, firm: Firm) -> tuple[list[str], str]:
        siren, name = self.real[int(firm.number) % len(self.real)]
        return [firm.number, siren, name, _day(min(firm.joined_on + timedelta(days=400), AS_OF))], ""

    def _is_shown(self, firm: Firm, standing: str) -> bool:
        """Whether a demonstration may write to the firm: the first of each standing, and La Poste's site."""
        met = {"late": self.export.late, "plan": self.export.in_plan, "dispute": self.export.disputed}
        return firm.siren == LA_POSTE or len(met.get(standing, self.export.up_to_date)) < SHOWN

    def _accounts(self, firm: Firm, rng: Random, standing: str, sirets: list[str]) -> None:
        """Declarations, statements and payments of the last periods, of which some are owed."""
        monthly = firm.staff >= 10
        periods = list(_periods(monthly, 4 if monthly else 2))
        forgot_to_file = standing == "late" and rng.random() < 0.3
        for rank, (period, due_on) in enumerate(periods):
            is_last = rank == len(periods) - 1
            for siret in sirets:
                filed = (
                    "" if is_last and forgot_to_file else _day(due_on - timedelta(days=rng.randint(0, 12)))
                )
                self.out["declarations.csv"].row(
                    [firm.number, period, "DSN" if monthly else "TRIM", siret, _day(due_on), filed],
                    trap=_one_in(rng, 400, ("not_a_period", "no_such_day")),
                )
            amount = firm.staff * rng.randint(38_000, 62_000) * (1 if monthly else 3)
            owed = is_last and standing != "up_to_date" and not forgot_to_file
            collection = {"plan": "ECHEANCIER", "dispute": "CONTENTIEUX"}.get(standing, "") if owed else ""
            payable_on = due_on + timedelta(days=30)
            spoilt = self.out["statements.csv"].row(
                [firm.number, period, "COTIS", "", _euros(amount), _day(payable_on), collection],
                trap="" if owed else _one_in(rng, 200, ("not_an_amount", "unknown_code")),
            )
            if not owed:
                self._payment(firm, rng, period, amount, payable_on, is_sound=not spoilt)

    def _payment(
        self, firm: Firm, rng: Random, period: str, amount: int, due_on: date, *, is_sound: bool
    ) -> None:
        self.payments += 1
        reference = f"PRLV{self.payments:09d}"
        self.out["payments.csv"].row(
            [reference, firm.number, period, "COTIS", _euros(amount), _day(due_on), "R"],
            # A lost payment would make its firm late: only what settles nothing is spoilt.
            trap="" if is_sound else _one_in(rng, 2, ("not_an_amount", "short_year")),
        )


def siren_of_index(index: int) -> str:
    """A valid SIREN for each index below 100 million; neighbours look nothing alike."""
    body = f"{(index * 61_803_399 + 27_182_818) % 100_000_000:08d}"
    return body + luhn_digit(body)


def _firm(
    index: int, rng: Random, seed: int, region: str, previous: Firm | None, export: FormerExport
) -> Firm:
    number = str(1_000_001 + index)
    name, place = names.firm(rng), _place(rng, region)
    joined_on = rng.choice((date(2016, 2, 29), date(2019, 3, 31), date(2019, 4, 1), date(2018, 10, 28)))
    if rng.random() < 0.9:
        joined_on = date(1990, 1, 1) + timedelta(days=rng.randint(0, 10_900))
    drawn = rng.random()
    staff = rng.randint(1, 3) if drawn < 0.60 else rng.randint(4, 9) if drawn < 0.85 else rng.randint(10, 49)
    if drawn >= 0.98:
        staff = rng.randint(50, 400)
    siren = siren_of_index((seed * 1_000_003 + _region_offset(region) + index) % 90_000_000)
    nic = _nic(siren, 1)
    if index == 7:
        siren, nic, name, export.la_poste = (
            LA_POSTE,
            "49837",
            "LA POSTE - Centre d'entretien immobilier",
            number,
        )
    elif previous and previous.siren not in ("", LA_POSTE) and index % 4_000 == 12:
        # Building and public works under one roof: one SIREN, two adhérent numbers.
        siren, nic, name = previous.siren, previous.nic, f"{previous.name} TP"
        export.dual.append(number)
    elif rng.random() < 0.01 or index == 15:
        postcode, town, country = rng.choice(names.FOREIGN)
        siren, nic, place = "", "", (place[0], "", "", postcode, town, country, "")
        export.foreign.append(number)
    return Firm(number, siren, nic, name, place, staff, joined_on)


def _trap_of_adherent(index: int, rng: Random, firm: Firm) -> str:
    """About 3 % of rows are refused; some more are mended."""
    if index % 33 == 17:
        traps = [
            "spreadsheet",
            "bad_key",
            "doubled",
            "no_such_day",
            "too_few",
            "no_name",
            "other_siren",
            "no_town",
        ]
        return traps[index // 33 % len(traps)] if firm.siren != LA_POSTE and firm.siren else "no_name"
    if not firm.siren or firm.siren == LA_POSTE or rng.random() > 0.03:
        return "lost_zeros" if firm.siren.startswith("0") and index % 2 else ""
    return rng.choice(("long_line", "spaced", "iban", "short_year"))


def _place(rng: Random, region: str) -> tuple[str, str, str, str, str, str, str]:
    postcode, town, commune = rng.choice(names.TOWNS.get(region, names.TOWNS["mediterranee"]))
    complement = rng.choice(names.COMPLEMENTS) if rng.random() < 0.2 else ""
    return (f"{rng.randint(1, 99)}, {rng.choice(names.STREETS)}", complement, "", postcode, town, "", commune)


def _periods(monthly: bool, count: int) -> Iterator[tuple[str, date]]:
    """The last `count` periods due before the close, oldest first, with their filing date."""
    if monthly:
        for month in range(11 - count, 11):
            yield f"2020-{month:02d}", date(2020, month + 1, 15)
    else:
        for quarter in range(4 - count, 4):
            yield f"2020-T{quarter}", date(2020, quarter * 3 + 1, 15)


def _standing(rng: Random) -> str:
    drawn = rng.random()
    return (
        "late" if drawn < 0.06 else "plan" if drawn < 0.075 else "dispute" if drawn < 0.08 else "up_to_date"
    )


def _nic(siren: str, rank: int) -> str:
    return f"{rank:04d}" + luhn_digit(f"{siren}{rank:04d}")


def _one_in(rng: Random, chances: int, traps: tuple[str, ...]) -> str:
    return rng.choice(traps) if rng.randrange(chances) == 0 else ""


def _cumulated(weights: list[float]) -> list[float]:
    total = 0.0
    return [total := total + weight for weight in weights]


def _region_offset(region: str) -> int:
    return sum(ord(letter) * 31 ** (place % 5) for place, letter in enumerate(region)) * 7_919


def _network_number(region: str) -> str:
    # Written without its leading zero by one of the systems that were merged.
    return {"mediterranee": "9", "ile-de-france": "2", "grand-ouest": "7"}.get(region, "12")


def _iban(rng: Random) -> str:
    account = f"{rng.randrange(10**10):010d}{rng.randrange(10**11):011d}"
    key = 97 - int(account + "00") % 97
    bban = f"{account}{key:02d}"
    return f"FR{98 - int(bban + '152700') % 97:02d}{bban}"


def _day(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _euros(amount_cents: int) -> str:
    units, cents = divmod(amount_cents, 100)
    spaced = f"{units:,}".replace(",", " ") if math.log10(max(units, 1)) >= 4 else str(units)
    return f"{spaced},{cents:02d}"
