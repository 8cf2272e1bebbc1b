"""Word vectors as the arrays of a package: words in a Parquet column, vectors in a NumPy file that is memory-mapped."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.sources.text.word_index import WordFileInfo


class WordArrays:
    """Words, the most frequent first, and their vectors, in files that were checked by sha256.

    Args:
        words: a Parquet file, whose first column holds them.
        vectors: a NumPy file of float32 of shape (words, width).
        sha256: of what both hold.
    """

    def __init__(self, words: Path, vectors: Path, sha256: str) -> None:
        self._words, self._vectors = words, np.load(vectors, mmap_mode="r")
        count, width = self._vectors.shape
        self.about = WordFileInfo("arrays", count, width, sha256)
        self.ranks = np.arange(count, dtype=np.int32)

    @cached_property
    def _places(self) -> dict[str, int]:
        from pyarrow import parquet

        words = parquet.read_table(self._words).column(0).to_pylist()
        return dict(zip(words, range(len(words)), strict=True))

    def place(self, word: bytes) -> int:
        """Return where a word stands, or -1."""
        return self._places.get(word.decode("utf-8", "replace"), -1)

    def vector(self, place: int) -> NDArray[np.float32]:
        """Return the vector of the word there, float32 of shape (width,)."""
        return np.array(self._vectors[place], dtype=np.float32)
