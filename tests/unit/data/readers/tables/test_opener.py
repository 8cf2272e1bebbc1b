"""Tables in folders and archives: which count as parts, what else lies there, and paths that were true elsewhere."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset, Example
from headstart.data.file_tree import Folder
from headstart.data.readers.open import open_dataset
from headstart.data.readers.tables.manifest import ListedTable
from headstart.data.readers.tables.named_files import NamedFiles
from headstart.data.readers.tables.opener import TableOpener, with_unused
from headstart.data.readers.tables.roles import Roles
from headstart.data.readers.tables.table import Table

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
        assert (found.ignored, found.entries) == (1, 25)
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


def test_a_table_without_a_column_says_so__TAB_10(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found the columns none; separate them"):
        open_dataset(write(tmp_path / "x.jsonl", "{}\n{}\n"))


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
    assert (len(found), found.ignored, found.entries) == (8, 5, 13)
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


def table(columns: dict[str, list[object]], where: str = "t.csv", **options: object) -> Table:
    cells = list(columns.values())
    return Table(where, tuple(columns), cells.__getitem__, range(len(cells[0])), **options)  # type: ignore[arg-type]


FILMS: dict[str, list[object]] = {"text": [f"a film of number {at}" for at in range(6)], "mood": ["fine", "dire"] * 3}


def test_the_train_part_tells_what_columns_are_for_whatever_comes_first(tmp_path: Path) -> None:
    opener = TableOpener(tmp_path, None)
    train = table({"a": FILMS["text"], "b": FILMS["mood"], "c": list("abcdef")}, "train.csv")
    test = table({"c": ["x"], "b": ["dire"], "a": ["short"]}, "test.csv")
    data = opener.loaded([(test, "test"), (train, "train")])
    assert [(one.split, one.label) for one in data.examples][:2] == [("test", "dire"), ("train", "fine")]
    assert data.read(0) == b"short"


def test_a_part_without_the_label_column_is_set_aside_and_counted(tmp_path: Path) -> None:
    unlabelled = table({"text": ["one more", "and another"]}, "test.csv")
    data = TableOpener(tmp_path, None).loaded([(table(FILMS, "train.csv"), "train"), (unlabelled, "test")])
    assert (len(data), data.ignored, data.total) == (6, 2, 8)
    assert data.notes[0] == "test.csv has no labels, and is set aside for predict."


def test_loaded_data_holds_texts_or_is_refused_with_a_way(tmp_path: Path) -> None:
    pictures = table({"image": [b"\xff"] * 6, "label": ["a", "b"] * 3}, "the data set", embedded=frozenset({0}))
    with pytest.raises(DataError, match=r"the data set must hold texts; found a column 'image'; .*to_parquet"):
        TableOpener(tmp_path, None).loaded([(pictures, None)])


def test_a_table_that_cannot_be_read_names_its_path_and_why(tmp_path: Path) -> None:
    opener = TableOpener(tmp_path / "t.csv", None)
    for limit, name, reason in ((5, "t.csv", "too large"), (100, "u.csv", "vanished")):
        write(tmp_path / "t.csv", "text,label\na,b\n")
        with pytest.raises(DataError, match=f"{name} must be readable; found {reason}"):
            opener.read(Folder(tmp_path), name, limit=limit)


def test_what_is_no_table_by_name_is_one_by_content_only_where_that_is_asked(tmp_path: Path) -> None:
    opener = TableOpener(write(tmp_path / "films.data", f"text,label\n{TEXTS}"), None)
    assert opener.table() is None
    found = opener.table(by_content=True)
    assert found is not None and len(found) == 12 and found.name == "films.data"


def test_a_header_that_is_missing_is_asked_for_in_our_words(tmp_path: Path) -> None:
    bare = table({"column1": FILMS["text"], "column2": FILMS["mood"]}, has_header=False)
    with pytest.raises(DataError, match=r"must have a header.*a film of number 0.*--columns=text,label$"):
        TableOpener(tmp_path, None).loaded([(bare, None)])
    named = table({"body": FILMS["text"], "mood": FILMS["mood"]}, has_header=False)
    opener = TableOpener(tmp_path, None, columns={"header": ("body", "mood")})
    assert opener.loaded([(named, None)]).classes == ("dire", "fine")


def test_files_beside_tables_are_told_as_examples_or_as_others(tmp_path: Path, fill) -> None:
    fill(tmp_path, {"im": 3})
    write(tmp_path / "notes.xml", "x")
    write(tmp_path / ".hidden", "x")
    tree = Folder(tmp_path)
    rows = table({"path": ["im/0.jpg", "im/1.jpg"], "label": ["a", "b"]})
    data = Dataset("toy", "image", (Example("im/0.jpg", "a"), Example("im/1.jpg", "b")), ("a", "b"), lambda at: b"")
    files = NamedFiles(tree)
    files.fit(["0.jpg"])
    counted = with_unused(data, [ListedTable(rows, Roles("path", (0,), (1,)), None, files)], ["t.csv"])
    assert (counted.ignored, counted.total) == (3, 5)
    assert counted.notes[0] == "Files that no row names are left out: 1 (im/2.jpg)."
    assert counted.notes[1].endswith("that are not used: notes.xml.")
