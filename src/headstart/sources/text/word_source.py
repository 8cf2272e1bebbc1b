"""Word vectors from a file (GloVe, word2vec): a text is the mean of its words' vectors, plain or weighted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256, sha256_json
from headstart.data.text import Tokens, text_of
from headstart.engines.base import Block, Network
from headstart.sources.base import Source, SourceInfo, TextPreprocessing
from headstart.sources.layers import layer_names
from headstart.sources.text.word_index import WordIndex
from headstart.sources.text.word_vectors import Learned, Vectors

RECIPE = 1
"""Counts up when the same file comes to mean other numbers."""
WORD = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
RARITY = 1e-3
"""`a` of the smooth inverse frequency (Arora et al. 2017): words that are commoner than this count less."""
COMMONEST = 2_000
"""Words from which the component that all texts share is found."""


class WordSource(Source):
    """A source that is a file of word vectors; only the words that occur are read.

    A text has two blocks: `pool`, the mean of its words' vectors, and `sif`, their mean weighted by smooth inverse
    frequency with the common component removed (Arora, Liang & Ma, "A Simple but Tough-to-Beat Baseline for Sentence
    Embeddings", ICLR 2017). How frequent a word is follows from its place in the file, which is sorted by frequency
    (Zipf 1949), and the common component is that of the file's commonest words: the features of a text depend on no
    other text.

    Args:
        uri: `words:PATH`.
        index: of the file.
        seed: draws random vectors for the same words, as the control arm; None for those of the file.
        learned: vectors that stand in for some of them, and those of further words; None for none.
    """

    preprocessing: TextPreprocessing
    tried = ("pool", "sif", "joined")
    whole_words = True

    def __init__(self, uri: str, index: WordIndex, *, seed: int | None = None, learned: Learned | None = None) -> None:
        learned = learned or Learned.none(index.about.width)
        self.index, self.seed = index, seed
        self.vectors = Vectors(index, seed, learned)
        about = index.about
        self.preprocessing = TextPreprocessing(sha256_json({"words": RECIPE, "pattern": WORD.pattern}))
        self.blocks = (Block("pool", about.width), Block("sif", about.width))
        self.info = SourceInfo(
            uri=uri,
            kind="text",
            parameters=about.words * about.width,
            feature_size=about.width,
            input=asdict(self.preprocessing),
            layers=layer_names([block.name for block in self.blocks]),
            licence="not stated" if seed is None else "none (random vectors)",
            revision="" if seed is None else f"seed {seed}",
            sha256=about.sha256 if seed is None else sha256_json({"words": about.sha256, "seed": seed}),
            trained_on="not stated" if seed is None else f"nothing (random vectors, seed {seed})",
            notes=about.notes,
        )

    def prepare(self, data: bytes) -> Tokens:
        """Return the words of one text that the file knows, by their places in the index.

        Raises:
            Unusable: the bytes are no text, or a blank one.
        """
        given, ids = 0, []
        for found in self._looked_up(text_of(data)):
            given += 1
            ids += found
        known = np.array(ids, dtype=np.int32)
        return Tokens((known,), given, min(len(known), given))

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """Return the words of texts that the file does not know, in lower case, and how often each comes."""
        missing: Counter[str] = Counter()
        for text in texts:
            words = WORD.findall(text)
            missing.update(word.lower() for word in words if not self.vectors.find(word))
        return missing

    def network(self) -> Network:
        """Return the network: nothing but a table to look up."""
        made_of: dict[str, Any] = {"recipe": RECIPE, "words": self.info.sha256, "reading": asdict(self.preprocessing)}
        if len(self.vectors.learned.places):
            made_of["learned"] = [sha256(self.vectors.learned.vectors.data), list(self.vectors.learned.new)]
        return Network(sha256_json(made_of), (), self.blocks, self.module, lookup=self._lookup)

    def module(self) -> NoReturn:
        """Refuse: there is no torch network.

        Raises:
            SourceError: always.
        """
        raise SourceError(
            f"{self.info.uri} must be a torch network for that", "a table of vectors", "use it frozen, with --tune none"
        )

    def _looked_up(self, text: str) -> Iterator[list[int]]:
        for word in WORD.findall(text):
            yield self.vectors.find(word)

    def _lookup(self) -> Callable[[Sequence[Tokens]], NDArray[np.float32]]:
        from scipy.sparse import csr_array

        common = self.common

        def run(texts: Sequence[Tokens]) -> NDArray[np.float32]:
            rows = [text.pieces[0] for text in texts]
            ids, columns = np.unique(np.concatenate(rows), return_inverse=True)
            vectors, frequency = self.vectors.at(ids), self.vectors.frequency(ids)
            lengths = np.array([len(row) for row in rows])
            starts = np.cumsum([0, *lengths])
            shares = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
            shape = (len(rows), len(ids))
            plain = csr_array((shares, columns, starts), shape=shape) @ vectors
            rare = (RARITY / (RARITY + frequency)).astype(np.float32)
            weighted = csr_array((shares * rare[columns], columns, starts), shape=shape) @ vectors
            weighted -= np.outer(weighted @ common, common)
            return np.concatenate([plain, weighted], axis=1).astype(np.float32)

        return run

    @cached_property
    def common(self) -> NDArray[np.float32]:
        """The direction that the file's commonest words share, of unit length, float32 of shape (width,)."""
        ids = np.flatnonzero(self.index.ranks < COMMONEST).astype(np.int32)
        weights = np.sqrt(self.vectors.frequency(ids))[:, None]
        scatter = (self.vectors.original(ids) * weights).astype(np.float64)
        _, axes = np.linalg.eigh(scatter.T @ scatter)
        return np.asarray(axes[:, -1], dtype=np.float32)
