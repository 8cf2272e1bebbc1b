"""A table that lists the files of a folder gives their labels where its folders are no classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset
from headstart.data.file_tree import Folder
from headstart.data.readers.folders.class_folders import visible
from headstart.data.readers.folders.listing_tables import MOST_TABLES, from_tree
from headstart.data.readers.tables.opener import TableOpener


def opened(folder: Path, tables: dict[str, str], **options: Any) -> Dataset:
    for name, text in tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    tree = Folder(folder)
    return from_tree(tree, visible(tree.files), TableOpener(folder, None, **options))


def rows(count: int = 8, folder: str = "im/", header: str = "file,kind\n") -> str:
    return header + "".join(f"{folder}{at}.jpg,{'xy'[at % 2]}\n" for at in range(count))


def test_a_table_gives_the_labels_of_files_that_lie_in_one_folder(tmp_path: Path, fill: Any) -> None:
    data = opened(fill(tmp_path, {"im": 8}), {"list.csv": rows(), "readme.md": "about"})
    assert [(one.id, one.label) for one in data.examples][:2] == [("im/0.jpg", "x"), ("im/1.jpg", "y")]
    assert data.read(1) == b"\xff\xd8\xffim/1"
    assert data.notes[0] == "The examples and their labels are taken from list.csv."
    assert (data.ignored, data.total) == (1, 9)


@pytest.mark.parametrize(("listed", "is_listing"), [(4, True), (3, False)])
def test_a_table_lists_a_folder_that_names_half_of_its_files(
    tmp_path: Path, fill: Any, listed: int, is_listing: bool
) -> None:
    fill(tmp_path, {"im": 8})
    if is_listing:
        assert len(opened(tmp_path, {"list.csv": rows(listed)})) == listed
    else:
        with pytest.raises(DataError):
            opened(tmp_path, {"list.csv": rows(listed)})


def test_tables_in_the_folders_of_parts_are_their_parts(tmp_path: Path, fill: Any) -> None:
    fill(tmp_path, {"train/im": 8, "test/im": 4})
    data = opened(tmp_path, {"train/list.csv": rows(8), "test/list.csv": rows(4)})
    assert [one.split for one in data.examples] == ["test"] * 4 + ["train"] * 8
    assert {one.id.partition("/")[0] for one in data.examples if one.split == "train"} == {"train"}


def test_of_two_tables_the_one_with_labels_counts_and_of_two_with_labels_none(tmp_path: Path, fill: Any) -> None:
    fill(tmp_path, {"im": 8})
    sizes = "file,size\n" + "".join(f"im/{at}.jpg,{at}.5\n" for at in range(8))
    assert opened(tmp_path, {"a.csv": sizes, "b.csv": rows()}).classes == ("x", "y")
    with pytest.raises(DataError, match=r"one table in .* must list the examples; found a\.csv, b\.csv; .*fit .*a"):
        opened(tmp_path, {"a.csv": rows(), "b.csv": rows()})


def test_class_folders_count_where_a_table_repeats_them_and_no_table_hides_them(tmp_path: Path, fill: Any) -> None:
    fill(tmp_path, {"cat": 4, "dog": 4})
    listed = "".join(f"{name}/{at}.jpg,{name}\n" for name in ("cat", "dog") for at in range(4))
    data = opened(tmp_path, {"list.csv": f"file,breed\n{listed}", "prices.csv": "item,price\ntea,3\nmilk,4\n"})
    assert data.classes == ("cat", "dog") and len(data) == 8
    with pytest.raises(DataError, match=r"give the label of each example once; found class folders, and the table"):
        opened(tmp_path, {"list.csv": f"file,breed\n{listed.replace(',cat', ',a').replace(',dog', ',b')}"})


def test_a_column_that_an_option_names_means_the_table(tmp_path: Path, fill: Any) -> None:
    fill(tmp_path, {"cat": 4, "dog": 4})
    listed = "".join(f"{name}/{at}.jpg,{'xy'[at % 2]}\n" for name in ("cat", "dog") for at in range(4))
    data = opened(tmp_path, {"list.csv": f"file,size\n{listed}"}, columns={"label": "size"})
    assert data.classes == ("x", "y")
    by_pattern = opened(tmp_path, {}, label_from="^([a-z]+)/")
    assert by_pattern.classes == ("cat", "dog")


def test_among_very_many_tables_none_lists_the_others(tmp_path: Path, fill: Any) -> None:
    fill(tmp_path, {"im": 8})
    with pytest.raises(DataError):
        opened(tmp_path, {f"{at}.csv": rows() for at in range(MOST_TABLES + 1)})
