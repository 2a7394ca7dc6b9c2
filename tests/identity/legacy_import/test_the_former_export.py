"""The generator of exports: same seed, same bytes, and the mix it promises."""

import hashlib
from pathlib import Path

from stdnum.fr import siren as stdnum_siren
from stdnum.fr import siret as stdnum_siret

from services.demonstration.former_export import COLUMNS, siren_of_index, write_former_export


def digests(folder: Path) -> dict[str, str]:
    return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in COLUMNS}


def rows(folder: Path, file: str, encoding: str = "iso-8859-15") -> list[list[str]]:
    lines = (folder / file).read_text(encoding).splitlines()
    return [line.split(";") for line in lines[1:]]


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        write_former_export(tmp_path / name, size=200, seed=seed)
    assert digests(tmp_path / "one") == digests(tmp_path / "again")
    assert digests(tmp_path / "one")["adherents.csv"] != digests(tmp_path / "other")["adherents.csv"]


def test_the_mix_is_the_one_of_the_field(tmp_path: Path):
    export = write_former_export(tmp_path, size=2_000)
    staff = [int(row[12]) for row in rows(tmp_path, "adherents.csv") if len(row) == 16]
    share = {
        "up to three": sum(1 for one in staff if one <= 3) / len(staff),
        "late": len(export.late) / 2_000,
        "delegated": export.rows["authorisations.csv"] / 2_000,
        "undeliverable": len(export.undeliverable) / 2_000,
    }
    assert 0.56 < share["up to three"] < 0.64
    assert 0.045 < share["late"] < 0.075
    assert 0.77 < share["delegated"] < 0.83
    assert 0.03 < share["undeliverable"] < 0.05
    assert export.dual
    assert export.foreign
    assert export.moved
    refused = {
        remark.line
        for remark in export.planted
        if (remark.file, remark.outcome) == ("adherents.csv", "refused")
    }
    assert 0.025 < len(refused) / 2_000 < 0.035


def test_the_traps_of_the_field_are_all_there(tmp_path: Path):
    export = write_former_export(tmp_path, size=2_000)
    text = (tmp_path / "adherents.csv").read_text("iso-8859-15")
    for trap in ("œ", "L'Es", "Cedex", "2A004", "2B033", "97400", "7,32E+13", "29/02/2016", "31/03/2019"):
        assert trap in text, trap
    assert stdnum_siret.is_valid("35600000049837")
    assert export.la_poste == "1000008"


def test_every_sound_siret_is_valid_and_every_firm_has_its_own(tmp_path: Path):
    export = write_former_export(tmp_path, size=2_000)
    spoilt = {remark.line for remark in export.planted if remark.file == "adherents.csv"}
    sound = [
        row
        for line, row in enumerate(rows(tmp_path, "adherents.csv"), start=2)
        if line not in spoilt and row[2]
    ]
    assert all(stdnum_siret.is_valid(row[2]) for row in sound)
    # Only a firm of both building and public works stands twice under one SIRET.
    assert len(sound) - len({row[2] for row in sound}) <= len(export.dual)
    assert all(stdnum_siren.is_valid(siren_of_index(index)) for index in range(0, 90_000_000, 9_999_991))


def test_a_sample_of_twenty_has_a_bit_of_everything(tmp_path: Path):
    export = write_former_export(tmp_path, size=20)
    assert export.rows["adherents.csv"] == 20
    assert export.la_poste
    assert export.dual
    assert export.foreign
    assert export.up_to_date
    assert any(remark.outcome == "refused" for remark in export.planted)


def test_the_firms_of_a_demonstration_had_a_cabinet_that_can_answer(tmp_path: Path):
    real = (("910000017", "Cabinet Fontvieille"), ("910000025", "L'OEil du Comptable"))
    for name in ("one", "again"):
        export = write_former_export(tmp_path / name, size=2_000, cabinets=real)
    assert digests(tmp_path / "one") == digests(tmp_path / "again")
    former = {row[0]: row[1] for row in rows(tmp_path / "one", "authorisations.csv")}
    shown = [*export.up_to_date, *export.late[:5], *export.disputed[:2], export.la_poste]

    assert {former[number] for number in shown} == {siren for siren, _ in real}
    assert len({*former.values()}) > 20, "the other firms keep their own"
