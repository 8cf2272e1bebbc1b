"""Several inputs of a prediction are one data set and one table, a row for each, no two of one name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from headstart.data.dataset import Dataset, Example, Skipped, TableRows
from headstart.data.readers.inputs import INPUT, PATH, Input, joined
from headstart.data.readers.tables.table import Table


def dataset(
    ids: Sequence[str], *, lost: Sequence[str] = (), rows: TableRows | None = None, ignored: int = 0
) -> Dataset:
    return Dataset(
        name="toy",
        kind="text",
        examples=tuple(Example(name, "") for name in ids),
        classes=(),
        read=lambda position: ids[position].encode(),
        skipped=tuple(Skipped(name, "", "empty") for name in lost),
        ignored=ignored,
        notes=(f"{len(ids)} read.",),
        table=rows,
    )


def rows_of(
    names: Sequence[str], cells: Sequence[Sequence[object]], ids: Sequence[str], **options: object
) -> TableRows:
    table = Table("t.csv", tuple(names), list(cells).__getitem__, range(len(ids)), **options)  # type: ignore[arg-type]
    return TableRows({}, table, tuple(ids))


def table_of(data: Dataset) -> dict[str, list[object]]:
    assert data.table is not None
    table = data.table.table
    return {name: list(table.cells(at)) for at, name in enumerate(table.names)}


def test_one_input_stays_what_it_is_with_its_folder_in_front() -> None:
    data = joined([Input(Path("photos"), Path("photos"), dataset(["a", "b"], lost="c"))])
    assert [one.id for one in data.examples] == ["photos/a", "photos/b"]
    assert [one.id for one in data.skipped] == ["photos/c"]
    assert (data.name, len(data.notes), data.total) == ("toy", 1, 3)
    assert table_of(data) == {PATH: ["photos/a", "photos/b", "photos/c"]}


def test_each_position_reads_from_its_own_input() -> None:
    first, empty, last = (
        Input(Path(name), Path(), dataset(ids)) for name, ids in (("x", "ab"), ("y", ""), ("z", "cd"))
    )
    data = joined([first, empty, last])
    assert b"".join(data.read(at) for at in range(4)) == b"abcd"
    assert data.name == "inputs" and data.notes == ("2 read.", "0 read.", "2 read.")


def test_counts_are_added_up() -> None:
    parts = [Input(Path(f"{at}"), Path(f"{at}"), dataset(["a"], lost="b", ignored=at)) for at in range(3)]
    data = joined(parts)
    assert (len(data), len(data.skipped), data.ignored, data.total) == (3, 3, 3, 9)


@pytest.mark.parametrize(
    ("ids", "more"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a#2"], ["a"]),
        (["a", "a#2", "a#3"], ["a", "a#3", "a#4"]),
        (["a"], ["a", "a#1", "a#2"]),
    ],
)
def test_no_two_rows_of_inputs_have_one_id(ids: list[str], more: list[str]) -> None:
    data = joined([Input(Path("x"), Path(), dataset(ids)), Input(Path("x"), Path(), dataset(more))])
    names = [one.id for one in data.examples]
    assert len(set(names)) == len(names) == len(ids) + len(more)
    assert names[: len(ids)] == ids and all(name.startswith("a") or name.startswith("b") for name in names)
    assert data.table is not None and list(data.table.ids) == names


def test_the_folder_in_front_has_one_slash() -> None:
    assert joined([Input(Path("/"), Path("/"), dataset(["a"]))]).examples[0].id == "/a"


def test_the_joined_table_has_every_column_and_says_of_which_input_a_row_is() -> None:
    one = dataset(["p"], lost="q", rows=rows_of(["text", "day"], [["x", ""], ["mon", "tue"]], "pq"))
    two = dataset(["f.txt"])
    data = joined([Input(Path("t.csv"), Path(), one), Input(Path("dir"), Path("dir"), two)])
    assert table_of(data) == {
        INPUT: ["t.csv", "t.csv", "dir"],
        "text": ["x", "", None],
        "day": ["mon", "tue", None],
        PATH: [None, None, "dir/f.txt"],
    }
    assert data.table is not None and data.table.ids == ("p", "q", "dir/f.txt")


def test_bytes_in_cells_stay_out_of_the_joined_table() -> None:
    held = rows_of(["image", "note"], [[b"\xff"], ["n"]], "p", embedded=frozenset({0}))
    data = joined([Input(Path("a"), Path(), dataset(["p"], rows=held)), Input(Path("b"), Path(), dataset(["q"]))])
    assert table_of(data)["image"] == [None, None] and table_of(data)["note"] == ["n", None]
