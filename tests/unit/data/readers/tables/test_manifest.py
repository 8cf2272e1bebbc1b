"""Rows that list or hold examples: their ids, their losses, their parts, and paths that stay where they may lead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset, Split
from headstart.data.file_tree import Folder
from headstart.data.readers.tables.manifest import ListedTable, from_tables, inside
from headstart.data.readers.tables.named_files import NamedFiles
from headstart.data.readers.tables.roles import Roles
from headstart.data.readers.tables.table import Table

Columns = dict[str, Sequence[Any]]


def table_of(columns: Columns, where: str = "t.csv") -> Table:
    cells = list(columns.values())
    return Table(where, tuple(columns), cells.__getitem__, range(2, 2 + len(cells[0])))


def listed(columns: Columns, roles: Roles, folder: Path, *, where: str = "t.csv", split: Split | None = None) -> Any:
    return ListedTable(table_of(columns, where), roles, split, NamedFiles(Folder(folder)))


def opened(*tables: ListedTable, **options: Any) -> Dataset:
    return from_tables(tables, name="toy", where="toy", **options)


TEXTS = Roles("text", (0,), (1,))
PATHS = Roles("path", (0,), (1,))


def test_texts_are_read_by_row_and_the_empty_are_lost(tmp_path: Path) -> None:
    data = opened(listed({"text": ["good", " ", None, "bad"], "label": ["p", "n", "p", "n"]}, TEXTS, tmp_path))
    assert [(one.id, one.label) for one in data.examples] == [("t.csv#2", "p"), ("t.csv#5", "n")]
    assert [data.read(at) for at in range(2)] == [b"good", b"bad"]
    assert [(one.id, one.reason) for one in data.skipped] == [("t.csv#3", "empty"), ("t.csv#4", "empty")]
    assert (data.kind, data.classes, data.entries) == ("text", ("n", "p"), 4)
    assert data.layout == "text from text, label from label."


def test_several_columns_of_texts_are_joined_without_the_empty(tmp_path: Path) -> None:
    columns: Columns = {"title": ["a", "", "c"], "body": ["x", "y", None], "label": ["p", "n", "p"]}
    data = opened(listed(columns, Roles("text", (0, 1), (2,)), tmp_path))
    assert [data.read(at).decode() for at in range(3)] == ["a\nx", "y", "c"]


def test_a_row_without_label_path_or_time_is_lost_for_its_own_reason(tmp_path: Path, fill: Any) -> None:
    fill(tmp_path, {"im": 4})
    columns: Columns = {
        "file": ["im/0.jpg", "", "im/2.jpg", "im/3.jpg", "im/1.jpg"],
        "label": ["p", "p", None, "n", "n"],
        "day": ["1", "2", "3", "soon", "5"],
    }
    data = opened(listed(columns, Roles("path", (0,), (1,), time=2), tmp_path))
    assert {one.id: one.reason for one in data.skipped} == {
        "t.csv#3": "no path",
        "im/2.jpg": "no label",
        "im/3.jpg": "no time",
    }
    assert [(one.id, one.split) for one in data.examples] == [("im/0.jpg", "train"), ("im/1.jpg", "test")]


def test_the_column_of_ids_names_rows_and_a_name_that_comes_again_says_where(tmp_path: Path) -> None:
    columns: Columns = {"text": ["one", "two", "three"], "label": ["p", "n", "p"], "id": ["k1", "", "k1"]}
    data = opened(listed(columns, Roles("text", (0,), (1,), id=2), tmp_path))
    assert [one.id for one in data.examples] == ["k1", "t.csv#3", "k1#t.csv, line 4"]


@pytest.mark.parametrize("count", [2, 4])
def test_no_two_rows_have_one_id_however_many_tables_share_a_name(tmp_path: Path, count: int) -> None:
    columns: Columns = {"text": ["one", "two"], "label": ["p", "n"]}
    tables = [listed(columns, TEXTS, tmp_path, where=f"part{at}/t.csv") for at in range(count)]
    data = opened(*tables)
    assert len({one.id for one in data.examples}) == 2 * count


def test_the_file_gives_its_rows_a_part_and_a_column_must_not_contradict(tmp_path: Path) -> None:
    columns: Columns = {"text": ["a", "b"], "label": ["p", "n"], "split": ["test", "test"]}
    roles = Roles("text", (0,), (1,), split=2)
    assert {one.split for one in opened(listed(columns, TEXTS, tmp_path, split="test")).examples} == {"test"}
    assert {one.split for one in opened(listed(columns, roles, tmp_path, split="test")).examples} == {"test"}
    with pytest.raises(DataError, match=r"t\.csv, line 2 must belong to the part of its file, train; found 'test'"):
        opened(listed(columns, roles, tmp_path, split="train"))


@pytest.mark.parametrize(("cell", "remedy"), [("7", "--group-column='my part'"), ("bonus", "write one of them there")])
def test_a_part_that_is_none_is_named_by_line(tmp_path: Path, cell: str, remedy: str) -> None:
    first = "1" if cell == "7" else "train"
    columns: Columns = {"text": ["a", "b"], "label": ["p", "n"], "my part": [first, cell]}
    with pytest.raises(DataError, match=r"line \d must be one of train,.* in its split column") as failure:
        opened(listed(columns, Roles("text", (0,), (1,), split=2), tmp_path))
    assert remedy in str(failure.value)


def test_labels_come_from_ids_by_a_pattern(tmp_path: Path, fill: Any) -> None:
    fill(tmp_path, {"cat": 2, "dog": 2})
    paths = ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"]
    data = opened(listed({"path": paths, "n": paths}, Roles("path", (0,)), tmp_path), label_from=r"^(\w+)/")
    assert [one.label for one in data.examples] == ["cat", "cat", "dog", "dog"]


def test_most_names_tell_the_kind_and_tables_of_two_kinds_are_refused(tmp_path: Path) -> None:
    sounds: Columns = {"path": ["a.wav", "b.wav", "c.jpg"], "label": ["p", "n", "p"]}
    assert opened(listed(sounds, PATHS, tmp_path)).kind == "sound"
    texts: Columns = {"text": ["a", "b"], "label": ["p", "n"]}
    with pytest.raises(DataError, match=r"must be alike; found .* in some and .* in others"):
        opened(listed(sounds, PATHS, tmp_path), listed(texts, TEXTS, tmp_path, where="u.csv"))


def test_without_labels_every_row_remembers_its_place_for_predictions(tmp_path: Path) -> None:
    columns: Columns = {"text": ["a", "", "c"], "label": ["p", "n", "p"]}
    data = opened(listed(columns, TEXTS, tmp_path), labelled=False)
    assert data.classes == () and {one.label for one in data.examples} == {""}
    assert data.table is not None and data.table.ids == ("t.csv#2", "t.csv#3", "t.csv#4")


@pytest.mark.parametrize("path", ["a.jpg", "im/../a.jpg", "./a.jpg", "im//..//a.jpg"])
def test_a_path_that_stays_inside_is_tidied__TAB_08(path: str) -> None:
    assert inside(path, table_of({"path": [path]}), 0) == "a.jpg"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("../a.jpg", "a path that leads out"),
        ("im/../../a.jpg", "a path that leads out"),
        ("..", "a path that leads out"),
        ("/etc/passwd", "an absolute path"),
        ("https://example.org/a.jpg", "a URL or drive"),
        ("C:/a.jpg", "a URL or drive"),
        ("\\\\server\\a.jpg", "a URL or drive"),
        ("//server/a.jpg", "a URL or drive"),
        ("s3://bucket/a.jpg", "a URL or drive"),
    ],
)
def test_a_path_that_leads_out_is_named_by_line_and_kind__TAB_08(path: str, kind: str) -> None:
    with pytest.raises(DataError, match=r"t\.csv, line 2 must hold a path inside the table's folder") as failure:
        inside(path, table_of({"path": [path]}), 0)
    assert f"({kind})" in str(failure.value)


def test_a_further_folder_is_reached_and_not_one_that_begins_alike__TAB_08() -> None:
    table, reach = table_of({"path": [""]}), ("/data/tables", "/data/photos")
    assert inside("../photos/a.jpg", table, 0, reach) == "../photos/a.jpg"
    assert inside("/data/photos/a.jpg", table, 0, reach) == "/data/photos/a.jpg"
    for path in ("../photos2/a.jpg", "/data/photos/../secret.jpg", "/data/photos"):
        with pytest.raises(DataError, match="or under /data/photos"):
            inside(path, table, 0, reach)
