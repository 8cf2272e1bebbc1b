"""Columns are told by what they match: small twins of the tables that people have."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.dataset import Dataset
from headstart.data.readers.open import open_dataset, open_inputs

WORDS = ["a fine film", "so very dull", "it is good", "not my cup", "quite a story", "an empty plot"]


@pytest.fixture
def photos(tmp_path: Path, fill: Any) -> Path:
    """Return a folder with photos of 6 stems in two folders, 0.jpg of both among them."""
    return fill(tmp_path, {"one": 4, "two": 1})  # type: ignore[no-any-return]


def texts(folder: Path, rows: list[str], header: str = "body,kind", name: str = "t.csv") -> Path:
    (folder / name).write_text("\n".join([header, *rows]) + "\n")
    return folder / name


def wordy(count: int = 24) -> list[str]:
    return [f"{WORDS[n % 6]} {'x' * n},{'ab'[n % 2]}" for n in range(count)]


def used(data: Dataset) -> dict[str, tuple[str, ...]]:
    assert data.table is not None
    return {word: tuple(names) for word, names in data.table.columns.items()}


@pytest.mark.parametrize("cell", ["{}", "{}.jpg", "one/{}.jpg", "one/{}", "images/one/{}.jpg", "./one/{}.jpg"])
def test_files_are_found_by_path_name_or_stem(photos: Path, cell: str) -> None:
    rows = [f"{cell.format(n)},{'xy'[n % 2]}" for n in (1, 2, 3)]
    data = scan(open_dataset(texts(photos, rows, "key,kind")), progress=Progress()).dataset
    assert [example.id for example in data.examples] == ["one/1.jpg", "one/2.jpg", "one/3.jpg"]


def test_a_stem_of_several_files_is_a_loss_and_no_guess(photos: Path) -> None:
    data = open_dataset(texts(photos, [f"{n},{'xy'[n % 2]}" for n in range(4)], "key,kind"))
    assert [(skip.id, skip.reason) for skip in data.skipped] == [("0", "names 2 files: one/0.jpg, two/0.jpg")]


def test_files_below_root_are_found(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    table = texts(tmp_path_factory.mktemp("elsewhere"), [f"{n}.jpg,{'xy'[n % 2]}" for n in (1, 2, 3)], "file,kind")
    with pytest.raises(DataError, match=r"'file' with '1.jpg', and no such file; name the folder they are in: --root"):
        open_dataset(table)
    data = open_dataset(table, root=photos)
    assert data.read(2) == (photos / "one/3.jpg").read_bytes()


def test_two_columns_that_could_be_it_are_listed_with_a_cell_and_the_option(tmp_path: Path) -> None:
    rows = [f"{WORDS[n % 6]} {n},{WORDS[-1 - n % 6]} {n},{'ab'[n % 2]}" for n in range(12)]
    table = texts(tmp_path, rows, "left,right,kind")
    with pytest.raises(DataError, match=r"2 that could be: .*'a fine film 0'.*--text-column=\w+") as error:
        open_dataset(table)
    named = re.search(r"--text-column=(\w+)", error.value.remedy)
    assert named and used(open_dataset(table, columns={"text": named[1]}))["text"] == (named[1],)
    rows = [f"{n},{WORDS[n % 6]} {n},{'sml'[n % 3]},{'ox'[n % 2]}" for n in range(12)]
    with pytest.raises(DataError, match=r"shape \('o'\), size \('s'\); name it, such as --label-column=shape"):
        open_dataset(texts(tmp_path, rows, "id,body,size,shape"))


def test_names_of_a_class_beside_its_number_are_the_label(tmp_path: Path) -> None:
    rows = [f"{n % 2},{WORDS[n % 6]} {n},{'ab'[n % 2]},{n % 3}" for n in range(12)]
    data = open_dataset(texts(tmp_path, rows, "class_id,body,class,fold"))
    assert used(data) == {"text": ("body",), "label": ("class",)}
    assert any("not used: class_id, fold." in note for note in data.notes)


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("usage", ("Training", "PublicTest")),
        ("is_valid", ("False", "True")),
        ("Data Set", ("train set", "hold-out")),
        ("split", ("TRAIN", "dev")),
    ],
)
def test_parts_are_told_by_phrases_and_truths(tmp_path: Path, header: str, cells: tuple[str, str]) -> None:
    rows = [f"{row},{cells[n % 3 == 0]}" for n, row in enumerate(wordy())]
    data = open_dataset(texts(tmp_path, rows, f"body,kind,{header}"))
    assert Counter(example.split == "train" for example in data.examples) == {True: 16, False: 8}


def test_numbers_of_folds_are_no_parts_and_the_remedy_works(tmp_path: Path) -> None:
    table = texts(tmp_path, [f"{row},{n % 4}" for n, row in enumerate(wordy())], "body,label,fold")
    with pytest.raises(DataError, match="--group-column=fold"):
        open_dataset(table, columns={"split": "fold"})
    assert {example.group for example in open_dataset(table, columns={"group": "fold"}).examples} == set("0123")


@pytest.mark.parametrize(
    "times", [[f"2024-{n // 2 + 1:02d}-01" for n in range(24)], [str(n // 2 / 4) for n in range(24)]]
)
def test_the_newest_are_the_test_part_and_ties_stay_together(tmp_path: Path, times: list[str]) -> None:
    rows = [f"{row},{time}" for row, time in zip(wordy(), times, strict=True)]
    data = open_dataset(texts(tmp_path, [*rows, "words,a,soon"], "body,label,when"), columns={"time": "when"})
    assert [example.split for example in data.examples] == [*["train"] * 16, *["test"] * 8]
    assert [skip.reason for skip in data.skipped] == ["no time"]
    assert any(note.startswith("The newest 33%") for note in data.notes)
    with pytest.raises(DataError, match="must differ"):
        open_dataset(texts(tmp_path, [f"{row},7" for row in wordy()], "body,label,when"), columns={"time": "when"})


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["a", "b", "a|b"], "one label each; found several in 8 of 24"),
        (["a", "b", "a, b"], "one label each"),
        (["['a', 'b']", "['a']", "['b']"], "one label each"),
        ([str(n) for n in range(24)], "a quantity"),
        ([f"{n / 7:.2f}" for n in range(24)], "a quantity"),
        ([f"id{n}" for n in range(24)], "shared by several examples"),
        (["a"], "at least two classes"),
    ],
)
def test_labels_are_checked_before_any_work(tmp_path: Path, labels: list[str], says: str) -> None:
    rows = [json.dumps({"text": f"{WORDS[n % 6]} {n}", "label": labels[n % len(labels)]}) for n in range(24)]
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError, match=says):
        open_dataset(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    "labels", [["tench, Tinca tinca", "goldfish, Carassius auratus"], ["1,5", "2,5"], [["a"], ["b"]]]
)
def test_labels_that_only_look_like_several_are_one(tmp_path: Path, labels: list[Any]) -> None:
    rows = [json.dumps({"text": f"{WORDS[n % 6]} {n}", "label": labels[n % 2]}) for n in range(24)]
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    assert len(open_dataset(tmp_path / "t.jsonl").classes) == 2


def test_columns_of_0_and_1_are_one_label_or_several(tmp_path: Path) -> None:
    one = [f"{WORDS[n % 6]} {n},{int(n % 3 == 0)},{int(n % 3 == 1)},{int(n % 3 == 2)}" for n in range(12)]
    assert open_dataset(texts(tmp_path, one, "body,cat,dog,owl")).classes == ("cat", "dog", "owl")
    with pytest.raises(DataError, match=r"several in 1 of 13 rows: cat, owl in line 14.*--label-column=cat"):
        open_dataset(texts(tmp_path, [*one, "more words,1,0,1"], "body,cat,dog,owl"))


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([f"{n % 2 + 1};{WORDS[n % 6]} {n}" for n in range(12)], ("label", "text")),
        ([f"one/{n}.jpg;{'ab'[n % 2]}" for n in range(4)], ("path", "label")),
    ],
)
def test_a_missing_header_is_told_and_given(photos: Path, rows: list[str], names: tuple[str, str]) -> None:
    table = texts(photos, rows[1:], rows[0])
    with pytest.raises(DataError, match=f"no header, but a row of data: .* --columns={','.join(names)}"):
        open_dataset(table)
    data = open_dataset(table, columns={"header": names})
    assert (len(data), used(data)["header"]) == (len(rows), names)
    with pytest.raises(DataError, match=r"each of the 2 columns .* found 3 names"):
        open_dataset(table, columns={"header": ["a", "b", "c"]})
    assert len(open_inputs([table], kind=data.kind, remembered=used(data))) == len(rows)


@pytest.mark.parametrize(
    ("lines", "texts_read"),
    [
        (["text\tlabel", '"good\ta', "dull\tb", 'fine "\ta', "poor\tb"], ['"good', "dull", 'fine "', "poor"]),
        (["text,label", '"a ""good"" one",a', '"two, parts",b'], ['a "good" one', "two, parts"]),
        (["text,label", r'"a \"good\" one, so",a', "plain,b"], ['a "good" one, so', "plain"]),
        (["text,label", '"two\nlines, and more",a', "plain,b", "dull,a"], ["two\nlines, and more", "plain", "dull"]),
    ],
)
def test_one_convention_for_quotes_holds_for_a_file(tmp_path: Path, lines: list[str], texts_read: list[str]) -> None:
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = open_dataset(tmp_path / "t.csv")
    assert [data.read(at).decode() for at in range(len(data))] == texts_read


def test_a_folder_and_a_table_of_it_must_agree(tmp_path: Path, fill: Any) -> None:
    fill(tmp_path, {"cat": 4, "dog": 4})
    rows = [f"{name}/{n}.jpg,{name},{'sl'[n % 2]}" for name in ("cat", "dog") for n in range(4)]
    texts(tmp_path, rows, "file,breed,size", "list.csv")
    assert open_dataset(tmp_path).classes == ("cat", "dog")
    texts(tmp_path, [row.replace(",cat", "").replace(",dog", "") for row in rows], "file,size", "list.csv")
    with pytest.raises(DataError, match=r"use the table: headstart fit .*list\.csv; or move it away"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path / "list.csv").classes == ("l", "s")


def test_a_test_table_without_labels_is_set_aside(tmp_path: Path) -> None:
    texts(tmp_path, wordy(), name="train.csv")
    texts(tmp_path, [row.rpartition(",")[0] for row in wordy(4)], "body", "test.csv")
    data = open_dataset(tmp_path)
    assert (len(data), data.ignored, data.total) == (24, 4, 28)
    assert "set aside for predict" in data.notes[0]


def test_what_is_remembered_serves_a_table_whose_columns_could_be_several(tmp_path: Path) -> None:
    table = texts(tmp_path, ["7,some words,other words here"], "key,left,right")
    with pytest.raises(DataError, match="2 that could be"):
        open_inputs([table], kind="text")
    data = open_inputs([table], kind="text", remembered={"text": ["right"], "label": ["kind"]})
    assert data.read(0) == b"other words here"
