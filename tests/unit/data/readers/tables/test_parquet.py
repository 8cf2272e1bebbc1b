"""Parquet: pictures inside it, read a row group at a time, and tables of paths."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audit import check_bad, scan
from headstart.data.dataset import BadExample
from headstart.data.readers.open import open_dataset, open_inputs
from headstart.data.readers.tables.parquet import LIMITS, ParquetTable, ReadLimits, picture_reader, picture_runs

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(number: int) -> bytes:
    return b"\xff\xd8\xff%d" % number


def write(
    path: Path, labels: list, *, names: list[str] | None = None, column: str = "image", start: int = 0, **more
) -> Path:
    cells = [{"bytes": picture(start + number), "path": None} for number in range(len(labels))]
    table = pa.table({column: pa.array(cells, IMAGE), "label": labels, **more})
    if names:
        features = {column: {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=4)
    return path


def test_the_image_layout_of_hugging_face(tmp_path):
    data = open_dataset(write(tmp_path / "x.parquet", [0, 2, 0, 2, 2, 0], names=["zebra", "unused", "ant"]))
    assert (data.classes, data.kind) == (("ant", "zebra"), "image")
    assert [example.label for example in data.examples] == ["zebra", "ant", "zebra", "ant", "ant", "zebra"]
    assert [example.id for example in data.examples] == [f"x.parquet#{row}" for row in range(6)]
    assert [data.read(at) for at in (5, 0, 4)] == [picture(5), picture(0), picture(4)]


@pytest.mark.parametrize("column", ["image", "img"])
@pytest.mark.parametrize("kind", [IMAGE, pa.binary(), pa.large_binary()])
def test_pictures_in_a_column_of_another_name_or_type(tmp_path, column, kind):
    cells = [{"bytes": picture(n), "path": "x"} if kind is IMAGE else picture(n) for n in range(6)]
    pq.write_table(pa.table({column: pa.array(cells, kind), "label": list("ababab")}), tmp_path / "x.parquet")
    data = open_dataset(tmp_path / "x.parquet")
    assert data.read(3) == picture(3)
    assert data.classes == ("a", "b")


@pytest.mark.parametrize("validation", ["val", "validation", "dev"])
def test_a_folder_of_parts_in_shards(tmp_path, validation):
    write(tmp_path / "train-00000-of-00002.parquet", [0, 1] * 3, names=["a", "b"])
    write(tmp_path / "train-00001-of-00002.parquet", [0, 1] * 3, names=["a", "b"], start=6)
    write(tmp_path / f"{validation}.parquet", [0, 1], names=["a", "b"], start=12)
    write(tmp_path / "test.parquet", [1, 0], names=["a", "b"], start=14)
    data = open_dataset(tmp_path)
    assert Counter(example.split for example in data.examples) == {"train": 12, "validation": 2, "test": 2}
    numbers = {
        example.id: int(data.read(position).removeprefix(b"\xff\xd8\xff"))
        for position, example in enumerate(data.examples)
    }
    assert numbers["train-00001-of-00002.parquet#5"] == 11
    assert numbers["test.parquet#1"] == 15


def test_few_row_groups_are_kept_and_threads_agree(tmp_path):
    table = ParquetTable(write(tmp_path / "x.parquet", list("ab") * 50), ReadLimits(cached=60))
    read = picture_reader([(table, 0)])(range(100))
    order = [row * 37 % 100 for row in range(100)] * 3
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, order)) == [picture(row) for row in order]
    assert len(read._cache) <= 3
    assert picture_runs([table]) == (4, 4)


class Counted(ParquetTable):
    """A file that keeps a list of the row groups that are read of it."""

    def __init__(self, path, limits=LIMITS):
        super().__init__(path, limits)
        self.reads = []

    def pictures(self, place, group):
        self.reads.append(group)
        return super().pictures(place, group)


def test_a_row_group_is_read_once_in_order(tmp_path):
    table = Counted(write(tmp_path / "x.parquet", list("ab") * 10))
    read = picture_reader([(table, 0)])(range(20))
    for position in range(20):
        read(position)
    assert table.reads == [0, 1, 2, 3, 4]


def test_a_row_group_too_large_to_read_says_how_to_mend(tmp_path):
    table = ParquetTable(write(tmp_path / "x.parquet", list("ab") * 10), ReadLimits(group=100))
    with pytest.raises(DataError, match="row_group_size"):
        picture_reader([(table, 0)])(range(20))


def test_rows_without_a_picture_or_label_are_skipped__TAB_02(tmp_path):
    cells = [None, {"bytes": None, "path": "x"}, *[{"bytes": picture(n), "path": "x"} for n in range(10)]]
    labels = [*["a", "b"] * 5, None, None]
    pq.write_table(pa.table({"image": pa.array(cells, IMAGE), "label": labels}), tmp_path / "x.parquet")
    data = scan(open_dataset(tmp_path / "x.parquet"), progress=Progress()).dataset
    assert Counter(item.reason for item in data.skipped) == {"no label": 2, "empty": 2}
    assert (len(data), data.total) == (8, 12)
    assert data.read(0) == picture(0)
    with pytest.raises(DataError, match="4 of 12"):
        check_bad(data, allow_broken=False)


def test_hidden_test_labels_are_missing__TAB_02(tmp_path):
    data = open_dataset(write(tmp_path / "x.parquet", [0, 1, -1, None], names=["a", "b"]))
    assert [item.id for item in data.skipped] == ["x.parquet#2", "x.parquet#3"]


def test_an_id_without_a_name_is_named_by_row(tmp_path):
    with pytest.raises(DataError, match="found 2 in row 1"):
        open_dataset(write(tmp_path / "x.parquet", [0, 2], names=["a", "b"]))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0, 1, 10], ("0", "1", "10")),
        ([1.0, 2.0, float("nan")], ("1.0", "2.0")),
        ([True, False], ("False", "True")),
        ([b"x", b"y"], ("x", "y")),
        (pa.array(["u", "v"]).dictionary_encode(), ("u", "v")),
    ],
)
def test_labels_of_every_type__TAB_03(tmp_path, labels, classes):
    cells = [{"bytes": picture(number), "path": None} for number in range(len(labels))]
    pq.write_table(pa.table({"image": pa.array(cells, IMAGE), "label": labels}), tmp_path / "x.parquet")
    assert open_dataset(tmp_path / "x.parquet").classes == classes


def test_groups_and_splits(tmp_path):
    path = write(tmp_path / "x.parquet", list("abab"), group=[1, 1, None, 2], split=["train", "train", "test", "test"])
    data = open_dataset(path)
    assert [(example.group, example.split) for example in data.examples] == [
        ("1", "train"),
        ("1", "train"),
        (None, "test"),
        ("2", "test"),
    ]
    write(path, list("ab"), split=["train", "mystery"])
    with pytest.raises(DataError, match="row 1 must be one of"):
        open_dataset(path)


def test_a_table_of_paths(tmp_path, fill):
    fill(tmp_path, {"a": 2, "b": 2})
    table = pa.table({"path": ["a/0.jpg", "b/0.jpg", None], "label": [7, 8, 8]})
    pq.write_table(table, tmp_path / "x.parquet")
    data = open_dataset(tmp_path / "x.parquet")
    assert (data.classes, data.read(1)) == (("7", "8"), (tmp_path / "b/0.jpg").read_bytes())
    assert [(item.id, item.reason) for item in data.skipped] == [("x.parquet#2", "no path")]
    pq.write_table(pa.table({"path": ["a/0.jpg", "../x"], "label": [7, 8]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="row 1 must hold a path inside"):
        open_dataset(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"image": [b"x"]}, "their labels; found the columns image"),
        ({"label": ["a"], "y": [1]}, "found the columns label, y"),
        ({"image": [b"x"], "label": ["a"]}, "at least two classes"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())}, "must hold rows"),
    ],
)
def test_a_table_that_lacks_something__TAB_01_TAB_04_TAB_11(tmp_path, columns, says):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=says):
        open_dataset(tmp_path / "x.parquet")


@pytest.mark.parametrize("cut", [0, 10, 300, -4])
def test_a_damaged_file_is_named(tmp_path, cut):
    path = write(tmp_path / "x.parquet", list("ab") * 20)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"x\.parquet must be a whole Parquet file"):
        open_dataset(path)


def test_a_damaged_page_is_skipped(tmp_path):
    path = write(tmp_path / "x.parquet", list("ab") * 8)
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff" * 40 + data[44:])  # the header of the first page
    found = open_dataset(path)
    with pytest.raises(BadExample, match="damaged in the table"):
        found.read(0)
    assert found.read(15) == picture(15)


def test_parquet_in_an_archive_must_be_unpacked(tmp_path):
    import zipfile

    write(tmp_path / "train.parquet", list("ab"))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "train.parquet", "train.parquet")
    with pytest.raises(DataError, match="unpack it first"):
        open_dataset(tmp_path / "x.zip")


def test_inputs_need_no_labels(tmp_path):
    pq.write_table(pa.table({"image": pa.array([{"bytes": picture(3), "path": None}], IMAGE)}), tmp_path / "x.parquet")
    data = open_inputs([tmp_path / "x.parquet"])
    assert [example.id for example in data.examples] == [f"{tmp_path}/x.parquet#0"]
    assert data.read(0) == picture(3)


@pytest.mark.shared
def test_tiny_imagenet_is_listed_and_read_anywhere(shared):
    data = open_dataset(shared / "tiny-imagenet" / "val.parquet")
    assert (len(data), len(data.classes)) == (10_000, 200)
    assert all(data.read(row)[8:12] == b"WEBP" for row in (9_999, 0, 5_000, 4_999, 7_777))


@pytest.mark.shared
def test_the_folder_of_tiny_imagenet_has_two_parts(shared):
    data = open_dataset(shared / "tiny-imagenet")
    assert Counter(example.split for example in data.examples) == {"train": 90_000, "validation": 10_000}
    assert data.read(99_999)[8:12] == b"WEBP"
    assert pa.total_allocated_bytes() < 2**28


def test_a_text_that_repeats_is_in_memory_once(tmp_path: Path) -> None:
    texts = ["a" * 100_000, None, "b"] * 1_000
    pq.write_table(pa.table({"text": texts, "label": ["x", "y", "x"] * 1_000}), tmp_path / "x.parquet")
    cells = ParquetTable(tmp_path / "x.parquet").table().cells(0)
    assert cells == texts
    assert len(set(map(id, cells))) == 3


def test_more_rows_than_bytes_are_refused_unread(tmp_path: Path) -> None:
    same = pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()).take(pa.array([0] * 2_000_001)), ["a"])
    pq.write_table(pa.table({"text": same, "label": same}), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 100_000
    with pytest.raises(DataError, match=r"must have at most 2,000,000 rows; found 2,000,001; "):
        open_dataset(tmp_path / "x.parquet")


def test_cells_that_repeat_are_bounded_by_what_they_unpack_to(tmp_path: Path) -> None:
    rows, text = 3_000, "a" * 1_000
    picture = pa.StructArray.from_arrays([pa.array([text.encode()] * rows)], ["bytes"])
    labels = pa.array(["a", "b"] * (rows // 2))
    pq.write_table(pa.table({"text": [text] * rows, "label": labels}), tmp_path / "texts.parquet")
    pq.write_table(pa.table({"image": picture, "label": labels}), tmp_path / "images.parquet")
    assert all(path.stat().st_size < 20_000 for path in tmp_path.iterdir()), "the size that a file states is no bound"
    texts = ParquetTable(tmp_path / "texts.parquet", ReadLimits(texts=2_000_000)).table()
    with pytest.raises(DataError, match=r"must be at most 2,000,000 characters together; found 3,000,000; leave out"):
        texts.cells(0)
    images = open_dataset(tmp_path / "images.parquet")
    assert len(images.read(0)) == 1_000
    table = Counted(tmp_path / "images.parquet", ReadLimits(group=2_000_000))
    read = picture_reader([(table, 0)])(range(rows))
    for position in range(5):
        with pytest.raises(BadExample, match="damaged in the table"):
            read(position)
    assert table.reads == [0], "a group that is damaged is not read again for each row"


def test_characters_are_counted_by_row_before_any_text_is_written_out(tmp_path: Path) -> None:
    table = pa.table({"text": ["\u00e9\u00e9\u00e9", None, "ab", "ab"], "label": list("xyxy")})
    pq.write_table(table, tmp_path / "few.parquet")
    assert ParquetTable(tmp_path / "few.parquet", ReadLimits(texts=7)).table().cells(0)[1:] == [None, "ab", "ab"]
    with pytest.raises(DataError, match="at most 6 characters together; found 7"):
        ParquetTable(tmp_path / "few.parquet", ReadLimits(texts=6)).table().cells(0)


def test_a_file_that_states_to_grow_beyond_measure_is_refused_unread(tmp_path: Path) -> None:
    cells = pa.table({"text": ["a" * 500_000, "b"], "label": ["x", "y"]})
    pq.write_table(cells, tmp_path / "x.parquet", compression="zstd")
    with pytest.raises(DataError, match="must unpack to at most 100 times its size; found 0 MiB; leave out what"):
        ParquetTable(tmp_path / "x.parquet", ReadLimits(least_grown=100_000))
