"""The books balance: every file of a folder and row of a table is an example, a loss with a reason, or ignored."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encoded_images import ENCODED
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.dataset import Dataset
from headstart.data.readers.open import open_dataset, open_inputs

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
CONTENTS = st.sampled_from([*list(ENCODED.values())[:3], b"", b"no picture", HEIC, ENCODED["png"][:60], b"%PDF-1.7"])
NAMES = st.sampled_from(
    ["a.jpg", "b.JPG", "c.png", "d.heic", "e.txt", "f", "g.csv2", ".hidden.jpg", "Thumbs.db", "h.jpg.bak", "i.wav"]
)
FOLDERS = st.sampled_from(["", "cat", "dog", "cat/deep", "__MACOSX/cat", "dog/.git"])
FILES = st.dictionaries(st.tuples(FOLDERS, NAMES), CONTENTS, max_size=12)
CELLS = st.one_of(
    st.sampled_from(["", " ", "nan", "cat", "dog", "cat/a.jpg", "missing.jpg", "x\0y", "\ud83d", "naïve"]),
    st.text(max_size=5),
)
SOUND = {("cat", "0.jpg"): ENCODED["jpeg"], ("dog", "0.jpg"): ENCODED["png"]}  # so that most are data sets


def balanced(dataset: Dataset, met: int) -> None:
    """Check the books as the reader left them, and once every example was read."""
    try:
        scanned = scan(dataset, progress=Progress()).dataset
    except DataError as error:
        if "another label" not in str(error):
            raise
        scanned = dataset
    for one in (dataset, scanned):
        ids = [example.id for example in one.examples] + [loss.id for loss in one.skipped]
        assert len(ids) + one.ignored == met == one.total
    assert all(loss.reason for loss in scanned.skipped)
    assert {example.id for example in dataset.examples} == {
        *(example.id for example in scanned.examples),
        *(loss.id for loss in scanned.skipped[len(dataset.skipped) :]),
    }


@settings(max_examples=60)
@given(files=FILES, packed=st.booleans())
def test_every_file_of_a_folder_is_accounted_for(files: dict[tuple[str, str], bytes], packed: bool) -> None:
    files = {f"{folder}/{name}".strip("/"): data for (folder, name), data in (files | SOUND).items()}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        if packed:
            with zipfile.ZipFile(Path(folder) / "photos.zip", "w") as archive:
                for name in files:
                    archive.write(root / name, name)
            root = Path(folder) / "photos.zip"
        for dataset in (open_dataset(root), open_inputs([root])):
            balanced(dataset, len(files))


@settings(max_examples=100)
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=12))
def test_every_row_of_a_table_is_accounted_for(rows: list[tuple[str, str]]) -> None:
    rows = [("a fine text", "cat"), ("another text", "dog"), *rows]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("text", "label"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.csv"
        path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
        try:
            balanced(open_dataset(path), len(rows))
        except DataError:
            return  # the file cannot be read as a whole, or contradicts itself: nothing is half read
        balanced(open_inputs([path], kind="text"), len(rows))
    pairs = ([first for first, _ in rows], [second for _, second in rows])
    balanced(open_dataset(pairs), len(rows))


def rows_of(broken: list[bool]) -> list[tuple[str, str]]:
    """Return texts with labels; those that are broken have one of the two alone."""
    spoilt = [("", "cat"), ("words", ""), (" ", "dog"), ("words", "nan")]
    return [spoilt[at % 4] if bad else (f"text {at} of many", ("cat", "dog")[at % 2]) for at, bad in enumerate(broken)]


def pixels_of(broken: list[bool], *, ragged: bool) -> list[list[object]]:
    """Return rows of a label and 64 pixels; those that are broken have a pixel beyond 255, or one too few."""
    rows: list[list[object]] = [[at % 2, *range(at, at + 64)] for at in range(len(broken))]
    for row, bad in zip(rows, broken, strict=True):
        if bad:
            row[3:4] = [] if ragged else [999]
    return rows


def write_cells(path: Path, rows: Iterable[Iterable[object]], mark: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=mark).writerows(rows)
    return path


def as_parquet(folder: Path, broken: list[bool]) -> Path:
    texts, labels = zip(*rows_of(broken), strict=True)
    pq.write_table(pa.table({"text": texts, "label": labels}), folder / "x.parquet")
    return folder / "x.parquet"


def as_pictures(folder: Path, broken: list[bool]) -> Path:
    png = ENCODED["png"]
    cells = [{"bytes": b"" if bad else png + bytes([at]), "path": None} for at, bad in enumerate(broken)]
    pq.write_table(pa.table({"image": cells, "label": [at % 2 for at in range(len(cells))]}), folder / "x.parquet")
    return folder / "x.parquet"


def as_json(folder: Path, broken: list[bool], *, lines: bool) -> Path:
    rows = [{"text": text or None, "label": label or None} for text, label in rows_of(broken)]
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps({"data": rows})
    (folder / "x.json").write_text(text)
    return folder / "x.json"


def as_shard(folder: Path, broken: list[bool]) -> Path:
    with tarfile.open(folder / "train-0.tar", "w") as tar:
        for at, bad in enumerate(broken):
            for name, data in (
                (f"{at}.png", ENCODED["png"] + bytes([at])),
                (f"{at}.cls", b"" if bad else b"%d" % (at % 2)),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return folder / "train-0.tar"


def as_arrays(folder: Path, broken: list[bool]) -> Path:
    labels = np.array(["" if bad else ("cat", "dog")[at % 2] for at, bad in enumerate(broken)])
    pictures = np.arange(64 * len(broken), dtype=np.uint32).reshape(-1, 8, 8) % 251
    np.savez(folder / "x.npz", x_train=pictures.astype(np.uint8), y_train=labels)
    return folder / "x.npz"


def as_listing(folder: Path, broken: list[bool]) -> Path:
    for at, bad in enumerate(broken):
        if not bad:
            (folder / f"{at}.png").write_bytes(ENCODED["png"] + bytes([at]))
    return write_cells(folder / "x.csv", [("path", "label"), *((f"{at}.png", at % 2) for at in range(len(broken)))])


READERS: dict[str, Callable[[Path, list[bool]], Path]] = {
    "csv": lambda folder, broken: write_cells(folder / "x.csv", [("text", "label"), *rows_of(broken)]),
    "tsv": lambda folder, broken: write_cells(folder / "x.tsv", [("text", "label"), *rows_of(broken)], "\t"),
    "txt": lambda folder, broken: write_cells(folder / "x.txt", [("text", "label"), *rows_of(broken)], ";"),
    "json": lambda folder, broken: as_json(folder, broken, lines=False),
    "json lines": lambda folder, broken: as_json(folder, broken, lines=True),
    "parquet": as_parquet,
    "pictures in parquet": as_pictures,
    "shard": as_shard,
    "arrays": as_arrays,
    "paths": as_listing,
    "pixels": lambda folder, broken: write_cells(
        folder / "x.csv", [["label", *(f"pixel{at}" for at in range(64))], *pixels_of(broken, ragged=False)]
    ),
    "ragged pixels": lambda folder, broken: write_cells(
        folder / "x.csv", [["label", *(f"pixel{at}" for at in range(64))], *pixels_of(broken, ragged=True)]
    ),
}


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=12)
@given(broken=st.lists(st.booleans(), min_size=0, max_size=8))
def test_every_reader_loses_what_is_broken_and_nothing_else(reader: str, broken: list[bool]) -> None:
    broken = [False] * 12 + broken
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_dataset(READERS[reader](Path(folder), broken))
        assert dataset.entries is not None
        balanced(dataset, len(broken))
        scanned = scan(dataset, progress=Progress()).dataset
        assert (len(scanned), len(scanned.skipped)) == (broken.count(False), broken.count(True))
