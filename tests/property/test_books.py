"""The books balance: every file of a folder and row of a table is an example, a loss with a reason, or ignored."""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from pathlib import Path

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


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=100, deadline=None)
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
