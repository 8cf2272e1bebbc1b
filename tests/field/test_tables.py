"""Tables as people have them: each script of ../shared/field makes one, and its README says what must come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.readers.open import open_dataset

pytestmark = pytest.mark.shared
FLOWERS = ("daisy", "roses", "tulips")
Made = Callable[[str], Path]


def test_ids_without_suffix_name_photos__f01(made: Made) -> None:
    folder = made("f01")
    for data in (folder / "labels.csv", folder):
        found = scan(open_dataset(data), progress=Progress()).dataset
        assert (len(found), found.classes, found.skipped) == (36, FLOWERS, ())
    with pytest.raises(DataError, match="found the columns id, breed"):
        open_dataset(folder, columns={"path": "name"})


def test_one_column_for_each_class__f03(made: Made) -> None:
    table = made("f03") / "truth.csv"
    assert Counter(example.label for example in open_dataset(table).examples) == dict.fromkeys(FLOWERS, 12)
    table.write_text(table.read_text().replace("1.0,0.0,0.0", "1.0,1.0,0.0"))
    with pytest.raises(DataError, match=r"one label each.*several in 12 of 36 rows: daisy, roses in line 2"):
        open_dataset(table)


@pytest.mark.parametrize("table", ["score", "floats"])
def test_a_quantity_is_called_one__f05(made: Made, table: str) -> None:
    with pytest.raises(DataError, match=r"must name classes; found a quantity: .*; make classes of its ranges"):
        open_dataset(made("f05") / f"{table}.csv")


def test_metadata_beside_photos_and_in_parts__f07(made: Made) -> None:
    folder = made("f07")
    for data in ("flat", "flatl", "flat/metadata.csv", "flatl/metadata.jsonl"):
        assert len(scan(open_dataset(folder / data), progress=Progress()).dataset) == 30
    parts = scan(open_dataset(folder / "split"), progress=Progress()).dataset
    assert Counter(example.split for example in parts.examples) == {"train": 30, "test": 16}
    assert {example.id.split("/")[0] for example in parts.examples if example.split == "test"} == {"test"}


def test_a_table_in_a_folder_of_its_own__f19(made: Made) -> None:
    folder = made("f19")
    found = open_dataset(folder, columns={"group": "fold"})
    assert (found.kind, len(found), found.classes) == ("sound", 72, ("one", "two", "zero"))
    assert Counter(example.group for example in found.examples) == {"1": 24, "2": 24, "3": 24}
    with pytest.raises(DataError, match="--root DIR"):
        open_dataset(folder / "metadata" / "UrbanSound8K.csv")
    assert len(open_dataset(folder / "metadata" / "UrbanSound8K.csv", root=folder)) == 72


def test_a_missing_header_is_told_and_the_option_it_names_works__f20(made: Made) -> None:
    folder = made("f20")
    with pytest.raises(DataError, match="no header, but a row of data") as error:
        open_dataset(folder)
    names = error.value.remedy.rpartition(" ")[2].split(",")
    for header in (names, ["class", "title", "description"]):
        found = open_dataset(folder, columns={"header": header})
        assert (len(found), len(found.classes)) == (160, 6)
        assert found.read(0) == b"How far is it from Denver to Aspen ?"


def test_title_and_body_are_joined__f21(made: Made) -> None:
    found = open_dataset(made("f21") / "t.csv", columns={"text": ["title", "body"]})
    assert len(found) == 120 and found.read(0).endswith(b"\nsee above")
    assert any("not used: id." in note for note in found.notes)


@pytest.mark.parametrize("table", ["merge", "odd"])
def test_plain_quotes_lose_no_row__f23(made: Made, table: str) -> None:
    found = open_dataset(made("f23") / f"{table}.tsv")
    assert (len(found), found.total, found.classes) == (160, 160, ("0", "1"))
    assert "read as plain characters" in found.notes[0]


def test_json_and_gzip_are_read_by_content__f25(made: Made) -> None:
    tables = sorted(made("f25").iterdir())
    counts = [(len(found := open_dataset(table)), len(found.classes)) for table in tables]
    assert counts == [(120, 6)] * 7
