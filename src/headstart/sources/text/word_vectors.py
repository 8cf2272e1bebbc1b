"""The vectors of words: those of a file, read when they are first asked for, and those that have learned since."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.sources.text.word_index import WordIndex, hash_of

CLITIC = re.compile(r"(?i)(.+?)(n['’]t|['’]\w+)")


@dataclass(frozen=True)
class LearnedVectors:
    """Vectors that stand in for those of a file."""

    places: NDArray[np.int32]  # of their words in the index, ascending; those of new words follow on the last
    vectors: NDArray[np.float32]  # of shape (k, width)
    new: tuple[str, ...]  # words in lower case that the file does not know


class Vectors:
    """Words and vectors of a file, found and parsed when they are first asked for.

    `seed` draws random vectors for the same words; those that have `learned` stand in for some, and for unknown words.
    """

    def __init__(self, index: WordIndex, seed: int | None, learned: LearnedVectors) -> None:
        self._index, self._seed, self.learned = index, seed, learned
        self._new = {word: index.about.words + at for at, word in enumerate(learned.new)}
        self._places: dict[str, list[int]] = {}
        self._parsed: dict[int, NDArray[np.float32]] = {}
        file = index.path.open("rb")
        with file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes.madvise(mmap.MADV_RANDOM)
        self._whole = np.log(index.about.words) + np.euler_gamma

    def find(self, word: str) -> list[int]:
        """Return the places of a word in the index: as it is, in lower case, or as two parts ("does", "n't")."""
        places = self._places.get(word)
        if places is None:
            places = self._places[word] = self._look_up(word)
        return places

    def _look_up(self, word: str) -> list[int]:
        for spelled in dict.fromkeys((word, word.lower())):
            if (position := self._place(spelled.encode())) >= 0:
                return [position]
        if word.lower() in self._new:
            return [self._new[word.lower()]]
        parts = CLITIC.fullmatch(word)
        if parts is None:
            return []
        places = [self._place(part.lower().replace("’", "'").encode()) for part in parts.groups()]
        return [place for place in places if place >= 0]

    def _place(self, word: bytes) -> int:
        """Return where a word is in the index, or -1; of a word that comes twice, the first."""
        index, key = self._index, np.uint64(hash_of(word))
        low, high = np.searchsorted(index.hashes, key), np.searchsorted(index.hashes, key, side="right")
        for row in range(int(low), int(high)):
            start = int(index.starts[row])
            if self._bytes[start : start + int(index.sizes[row])] == word:
                return row
        return -1

    def frequency(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return how frequent words are, by their rank in the file, float64 of shape (n,); new ones are the rarest."""
        words = self._index.about.words
        ranks = np.where(ids < words, self._index.ranks[np.minimum(ids, words - 1)], words)
        return np.asarray(1 / ((ranks + 1.0) * self._whole))

    def at(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return vectors by their places, float32 of shape (n, width): learned ones, or else those of the file."""
        learned = self.learned
        rows = np.minimum(np.searchsorted(learned.places, ids), max(len(learned.places) - 1, 0))
        has = learned.places[rows] == ids if len(learned.places) else np.zeros(len(ids), bool)
        vectors = np.empty((len(ids), self._index.about.width), dtype=np.float32)
        vectors[has] = learned.vectors[rows[has]]
        vectors[~has] = self.original(ids[~has])
        return vectors

    def original(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the vectors of the file by their places, float32 of shape (n, width).

        SourceError: one of them is not made of finite numbers.
        """
        vectors = np.empty((len(ids), self._index.about.width), dtype=np.float32)
        for row, place in enumerate(ids.tolist()):
            vector = self._parsed.get(place)
            if vector is None:
                vector = self._parsed[place] = self._read(place)
            vectors[row] = vector
        return vectors

    def _read(self, place: int) -> NDArray[np.float32]:
        index = self._index
        if self._seed is not None:
            rng = np.random.default_rng([self._seed, int(index.ranks[place])])
            return rng.standard_normal(index.about.width, dtype=np.float32)
        start, end = int(index.starts[place]) + int(index.sizes[place]) + 1, int(index.ends[place])
        data = self._bytes[start:end]
        vector = np.frombuffer(data, "<f4") if index.about.form == "binary" else _parsed(data)
        if vector.shape != (index.about.width,) or not np.isfinite(vector).all():
            word = self._bytes[int(index.starts[place]) : start - 1].decode("utf-8", "replace")
            raise SourceError(
                f"every vector of {self._index.path} must be {index.about.width} finite numbers",
                f"word {int(index.ranks[place]) + 1:,}, {word!r}, is not",
                "fetch the file again, or remove that line",
            )
        return vector.astype(np.float32)


def _parsed(data: bytes) -> NDArray[np.float32]:
    """Return the numbers in a line; none where one of them is no number."""
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
            return np.array(data.replace(b"\t", b" ").split(b" "), dtype=np.float32)
    except ValueError:
        return np.empty(0, dtype=np.float32)
