"""Tables in folders and archives: which count as parts, what else lies there, and paths that were true elsewhere."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.data.readers.open import open_dataset

TEXTS = "".join(f"a {word} film number {at},{word}\n" for at, word in enumerate(("fine", "dire") * 6))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def packed(folder: Path) -> Path:
    with zipfile.ZipFile(folder.parent / "packed.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    return folder.parent / "packed.zip"


@pytest.mark.parametrize("names", [("imdb_train.csv", "imdb_test.csv"), ("TrainSet-1.csv", "TestSet-1.csv")])
def test_tables_whose_names_differ_in_the_part_are_parts(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in (*names, "train_notes.csv"):
        write(tmp_path / "set" / name, f"text,label\n{TEXTS}")
    for data in (tmp_path / "set", packed(tmp_path / "set")):
        found = open_dataset(data)
        assert Counter(example.split for example in found.examples) == {"train": 12, "test": 12}
        assert (found.ignored, found.found) == (1, 25)
        assert any("not used: train_notes.csv" in note for note in found.notes)


def test_one_table_alone_is_the_data(tmp_path: Path) -> None:
    write(tmp_path / "set" / "IMDB Dataset.csv", f"review,sentiment\n{TEXTS}")
    write(tmp_path / "set" / "README", "about")
    for data in (tmp_path / "set", packed(tmp_path / "set")):
        found = open_dataset(data)
        assert (len(found), found.classes, found.ignored) == (12, ("dire", "fine"), 1)


@pytest.mark.parametrize("name", ["texts.txt", "texts.data", "texts"])
def test_a_table_is_read_whatever_its_name__TAB_10(tmp_path: Path, name: str) -> None:
    assert len(open_dataset(write(tmp_path / name, f"text,label\n{TEXTS}"))) == 12
    with pytest.raises(DataError, match=r"columns for the examples and their labels; .*separate them"):
        open_dataset(write(tmp_path / name, "LABEL:one a fine film\nLABEL:two so dire\n"))


@pytest.mark.parametrize(
    ("cell", "note"),
    [
        (r"C:\Users\me\set\a\{}.jpg", "12 paths lead out"),
        ("/home/me/somewhere/set/a/{}.jpg", "12 paths lead out"),
        ("../input/set/a/{}.jpg", "12 paths lead out"),
    ],
)
def test_paths_of_another_machine_are_found_by_their_ends(tmp_path: Path, fill, cell: str, note: str) -> None:
    fill(tmp_path / "set", {"a": 12, "b": 12})
    rows = "".join(f"{cell.format(at)},{'xy'[at % 2]}\n" for at in range(12))
    found = open_dataset(write(tmp_path / "set" / "list.csv", f"path,label\n{rows}"))
    assert [example.id for example in found.examples] == [f"a/{at}.jpg" for at in range(12)]
    assert any(note in one for one in found.notes)


def test_files_that_no_row_names_are_counted_and_named(tmp_path: Path, fill) -> None:
    fill(tmp_path, {"train": 8, "test": 4})
    write(tmp_path / "train.csv", "id,breed\n" + "".join(f"train/{at}.jpg,{'xy'[at % 2]}\n" for at in range(8)))
    write(tmp_path / "sample_submission.csv", "id,x\n0,1\n")
    found = open_dataset(tmp_path)
    assert (len(found), found.ignored, found.found) == (8, 5, 13)
    assert any("no row names are left out: 4 (test/0.jpg" in note for note in found.notes)
    assert any("not used: sample_submission.csv" in note for note in found.notes)


def test_labels_of_a_table_come_from_its_ids_by_a_pattern(tmp_path: Path) -> None:
    rows = "".join(f"{'cat' if at % 2 else 'dog'}_{at},a film of number {at}\n" for at in range(12))
    table = write(tmp_path / "set" / "texts.csv", f"name,text\n{rows}")
    for data in (table, table.parent):
        found = open_dataset(data, columns={"id": "name"}, label_from="^([a-z]+)")
        assert (len(found), found.classes) == (12, ("cat", "dog"))
    with pytest.raises(DataError, match="must give at least two labels"):
        open_dataset(table, columns={"id": "name"}, label_from="[0-9]{5}")


def test_dates_are_a_quantity(tmp_path: Path) -> None:
    rows = "".join(f"a film of number {at},2024-01-{1 + at % 28:02}\n" for at in range(60))
    with pytest.raises(DataError, match="a quantity: 28 different numbers or times from 2024-01-01 to 2024-01-28"):
        open_dataset(write(tmp_path / "x.csv", f"text,label\n{rows}"))
