"""The vectors of words: those of a file, read when they are first asked for, and those that have learned since."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.sources.text.word_index import WordFileInfo

CLITIC = re.compile(r"(?i)(.+?)(n['’]t|['’]\w+)")


@dataclass(frozen=True)
class LearnedVectors:
    """Vectors that stand in for those of a file."""

    places: NDArray[np.int32]  # of their words in the index, ascending; those of new words follow on the last
    vectors: NDArray[np.float32]  # of shape (k, width)
    new: tuple[str, ...]  # words in lower case that the file does not know


class WordTable(Protocol):
    """Words and their vectors, as whatever holds them gives them."""

    @property
    def about(self) -> WordFileInfo:
        """What is known of it."""

    @property
    def ranks(self) -> NDArray[np.int32]:
        """How many words are more frequent than the one at each place, int32 of shape (words,)."""

    def place(self, word: bytes) -> int:
        """Return where a word stands, or -1."""

    def vector(self, place: int) -> NDArray[np.float32]:
        """Return the vector of the word there, float32 of shape (width,)."""


class Vectors:
    """Words and vectors of a file, found and parsed when they are first asked for.

    `seed` draws random vectors for the same words; those that have `learned` stand in for some, and for unknown words.
    """

    def __init__(self, table: WordTable, seed: int | None, learned: LearnedVectors) -> None:
        self._table, self._seed, self.learned = table, seed, learned
        self._new = {word: table.about.words + at for at, word in enumerate(learned.new)}
        self._places: dict[str, list[int]] = {}
        self._parsed: dict[int, NDArray[np.float32]] = {}
        self._whole = np.log(table.about.words) + np.euler_gamma

    def find(self, word: str) -> list[int]:
        """Return the places of a word in the index: as it is, in lower case, or as two parts ("does", "n't")."""
        places = self._places.get(word)
        if places is None:
            places = self._places[word] = self._look_up(word)
        return places

    def _look_up(self, word: str) -> list[int]:
        for spelled in dict.fromkeys((word, word.lower())):
            if (position := self._table.place(spelled.encode())) >= 0:
                return [position]
        if word.lower() in self._new:
            return [self._new[word.lower()]]
        parts = CLITIC.fullmatch(word)
        if parts is None:
            return []
        places = [self._table.place(part.lower().replace("’", "'").encode()) for part in parts.groups()]
        return [place for place in places if place >= 0]

    def frequency(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return how frequent words are, by their rank in the file, float64 of shape (n,); new ones are the rarest."""
        words = self._table.about.words
        ranks = np.where(ids < words, self._table.ranks[np.minimum(ids, words - 1)], words)
        return np.asarray(1 / ((ranks + 1.0) * self._whole))

    def at(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return vectors by their places, float32 of shape (n, width): learned ones, or else those of the file."""
        learned = self.learned
        rows = np.minimum(np.searchsorted(learned.places, ids), max(len(learned.places) - 1, 0))
        has = learned.places[rows] == ids if len(learned.places) else np.zeros(len(ids), bool)
        vectors = np.empty((len(ids), self._table.about.width), dtype=np.float32)
        vectors[has] = learned.vectors[rows[has]]
        vectors[~has] = self.original(ids[~has])
        return vectors

    def original(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the vectors of the file by their places, float32 of shape (n, width).

        SourceError: one of them is not made of finite numbers.
        """
        vectors = np.empty((len(ids), self._table.about.width), dtype=np.float32)
        for row, place in enumerate(ids.tolist()):
            vector = self._parsed.get(place)
            if vector is None:
                vector = self._parsed[place] = self._vector(place)
            vectors[row] = vector
        return vectors

    def _vector(self, place: int) -> NDArray[np.float32]:
        if self._seed is None:
            return self._table.vector(place)
        rng = np.random.default_rng([self._seed, int(self._table.ranks[place])])
        return rng.standard_normal(self._table.about.width, dtype=np.float32)
