"""Word vectors from a file (GloVe, word2vec): a text is the mean of its words' vectors, plain or weighted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256, sha256_json
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.text import Tokens, text_of
from headstart.engines.base import Network
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import Identity, Source, TextPreprocessing, Weights
from headstart.sources.layers import Tap
from headstart.sources.text.word_index import hash_of
from headstart.sources.text.word_vectors import LearnedVectors, Vectors, WordTable

if TYPE_CHECKING:
    from torch import nn

RECIPE = 2
"""Counts up when the same file comes to mean other numbers."""
BLOCKS: dict[str, Literal["pool", "avg", "max"]] = {"pool": "pool", "sif": "avg", "max": "max"}
"""Of a text, by name, with how its words' vectors become one."""
WORD = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
SIF_SMOOTHING = 1e-3
"""`a` of the smooth inverse frequency (Arora et al. 2017): words that are commoner than this count less."""
COMMON_WORDS = 2_000
"""Words from which the component that all texts share is found."""
MIN_TEXTS_OF_A_NEW_WORD = 2
"""Texts that a word must stand in to get a vector of its own, where the file has none for it."""
TABLE_NAME = "vectors.weight"
"""What learns in the network."""
RATES = {"all": 3e-4, "scratch": 1e-3}
"""The full learning rate of vectors that are known, and of random ones: each word is met in few batches."""


class WordSource(Source):
    """A source that is a file of word vectors; only the words that occur are read.

    A text has three blocks, zeros where no word of it is known: `pool`, the mean of its words' vectors, `max`, the
    greatest number of any of them at each place, and `sif`, their mean weighted by smooth inverse frequency with the
    common component removed (Arora, Liang & Ma, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings", ICLR
    2017). How frequent a word is follows from its place in the file, which is sorted by frequency (Zipf 1949), and the
    common component is that of the file's commonest words: the features of a text depend on no other text.

    Args:
        seed: draws random vectors for the same words, as the control arm; None for those of the file.
        learned: vectors that stand in for some of them, and those of further words; None for none.
    """

    preprocessing: TextPreprocessing
    auto_layers = ("pool", "sif", "joined")
    whole_words = True

    def __init__(
        self, uri: str, index: WordTable, *, seed: int | None = None, learned: LearnedVectors | None = None
    ) -> None:
        learned = learned or LearnedVectors(np.empty(0, np.int32), np.empty((0, index.about.width), np.float32), ())
        self.index, self.seed = index, seed
        self.vectors = Vectors(index, seed, learned)
        about = index.about
        identity = Identity(uri, "word vectors", about.words * about.width, sha256=about.sha256, notes=about.notes)
        if seed is not None:
            identity = replace(
                identity,
                licence="none (random vectors)",
                revision=f"seed {seed}",
                sha256=sha256_json({"words": about.sha256, "seed": seed}),
                trained_on=f"nothing (random vectors, seed {seed})",
            )
        reading = TextPreprocessing(sha256_json({"words": RECIPE, "pattern": WORD.pattern}))
        super().__init__(identity, reading, tuple(Tap(name, about.width, how) for name, how in BLOCKS.items()))

    def prepare(self, data: bytes) -> Tokens:
        """Return the words of one text that the file knows, by their places in the index.

        BadExample: the bytes are no text, or a blank one.
        """
        places = [self.vectors.find(word) for word in WORD.findall(text_of(data))]
        known = np.array([place for of_word in places for place in of_word], dtype=np.int32)
        return Tokens((known,), len(places), min(len(known), len(places)))

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """Return the words of texts that the file does not know, in lower case, and how often each comes."""
        missing: Counter[str] = Counter()
        for text in texts:
            words = WORD.findall(text)
            missing.update(word.lower() for word in words if not self.vectors.find(word))
        return missing

    def network(self) -> Network:
        """Return the network: nothing but a table to look up."""
        learned, blocks = self.vectors.learned, tuple(tap.block for tap in self.taps)
        made_of: dict[str, Any] = {
            "recipe": RECIPE,
            "words": self.identity.sha256,
            "reading": asdict(self.preprocessing),
        }
        if len(learned.places):
            made_of["learned"] = [sha256(learned.vectors.data), list(learned.new)]
        return Network(sha256_json(made_of), (), blocks, self.module, lookup=self._lookup)

    def module(self) -> nn.Module:
        """Raise SourceError: there is no torch network."""
        raise SourceError(
            f"{self.info.uri} must be a torch network for that", "a table of vectors", "use it frozen, with --tune none"
        )

    def as_trainable(self, texts: Callable[[], Iterable[str]], others: Callable[[], Iterable[str]]) -> WordNetwork:
        """Return the source as a layer of the vectors of the words in these texts; see `Source.as_trainable`."""
        return WordNetwork(self, texts(), others())

    def with_weights(self, weights: Weights, preprocessing: Preprocessing | None = None) -> WordSource:
        """Return the source with some of its vectors changed; SourceError where the arrays do not fit together.

        `weights` are `places` of the vectors that have changed, int32, `vectors`, float32, and `words`, those that the
        file does not know, as UTF-8 with a line break between two.
        """
        changed = {name: np.asarray(array, order="C") for name, array in weights.items()}
        tuned = WordSource(self.identity.uri, self.index, seed=self.seed, learned=_checked_vectors(self, changed))
        tuned.identity = self.identity.as_tuned(changed)
        tuned.base, tuned.weights, tuned.layer = self, changed, self.layer
        return tuned

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
            rare = (SIF_SMOOTHING / (SIF_SMOOTHING + frequency)).astype(np.float32)
            weighted = csr_array((shares * rare[columns], columns, starts), shape=shape) @ vectors
            weighted -= np.outer(weighted @ common, common)
            greatest = np.zeros_like(plain)
            if len(columns):
                filled = lengths > 0
                greatest[filled] = np.maximum.reduceat(vectors[columns], starts[:-1][filled], axis=0)
            return np.concatenate([plain, weighted, greatest], axis=1).astype(np.float32)

        return run

    @cached_property
    def common(self) -> NDArray[np.float32]:
        """The direction that the file's commonest words share, of unit length, float32 of shape (width,)."""
        ids = np.flatnonzero(self.index.ranks < COMMON_WORDS).astype(np.int32)
        weights = np.sqrt(self.vectors.frequency(ids))[:, None]
        scatter = (self.vectors.original(ids) * weights).astype(np.float64)
        _, axes = np.linalg.eigh(scatter.T @ scatter)
        return np.asarray(axes[:, -1], dtype=np.float32)


class WordNetwork(WordSource):
    """Word vectors as a network: a table of vectors, of which the blocks of a text are means.

    Words that stand in two of the texts to learn from, and not in the file, begin as random vectors of the mean and
    spread of the others. The words of `others` are looked up as well.
    """

    rates = RATES

    def __init__(self, base: WordSource, texts: Iterable[str], others: Iterable[str] = ()) -> None:
        known_places: set[int] = set()
        missing: Counter[str] = Counter()
        for text in texts:
            words = set(WORD.findall(text))
            for word in words:
                known_places.update(base.vectors.find(word))
            missing.update({word.lower() for word in words if not base.vectors.find(word)})
        for text in others:
            for word in set(WORD.findall(text)):
                known_places.update(base.vectors.find(word))
        places = np.array(sorted(known_places), dtype=np.int32)
        self.start = base.vectors.at(places)
        new = tuple(sorted(word for word, count in missing.items() if count >= MIN_TEXTS_OF_A_NEW_WORD))
        drawn = _draw_vectors(new, self.start)
        first = base.index.about.words
        news = np.arange(first, first + len(new), dtype=np.int32)
        super().__init__(base.info.uri, base.index, seed=base.seed, learned=LearnedVectors(news, drawn, new))
        self._from = base
        self.places, self.new_words = np.concatenate([places, news]), new
        self.start = np.concatenate([self.start, drawn])
        self.opened, self.layer, self.identity = base.opened, base.layer, base.identity
        self._module = cache(self._build)

    def module(self) -> nn.Module:
        """Return the torch module: ids and mask, int64 of shape (n, length), to the blocks; the same one each time."""
        set_passive_omp_wait()
        return self._module()

    def _build(self) -> nn.Module:
        from headstart.sources.text.word_network import WordMeans

        rare = SIF_SMOOTHING / (SIF_SMOOTHING + self.vectors.frequency(self.places))
        return WordMeans(self.places, self.start, rare.astype(np.float32), self.common).eval()

    def as_trainable(self, texts: Callable[[], Iterable[str]], others: Callable[[], Iterable[str]]) -> WordNetwork:
        """Return the source itself: the words are those of the texts that it was made for."""
        return self

    def with_weights(self, weights: Weights, preprocessing: Preprocessing | None = None) -> WordSource:
        """Return the source of the file with other vectors: those that have changed, and those of new words.

        `weights` hold `vectors.weight`, the whole table, float32 of shape (words, width).
        """
        table = weights.get(TABLE_NAME, self.start)
        kept = (table != self.start).any(axis=1)
        kept[len(kept) - len(self.new_words) :] = True
        words = np.frombuffer("\n".join(self.new_words).encode("utf-8", "surrogatepass"), dtype=np.uint8)
        return self._from.with_weights({"places": self.places[kept], "vectors": table[kept], "words": words})


def _checked_vectors(base: WordSource, weights: Weights) -> LearnedVectors:
    width, words = base.index.about.width, base.index.about.words
    try:
        places, vectors, text = weights["places"], weights["vectors"], weights["words"].tobytes().decode()
        new = tuple(text.split("\n")) if text else ()
        fits = (
            places.dtype == np.int32
            and vectors.dtype == np.float32
            and vectors.shape == (len(places), width)
            and bool((np.diff(places) > 0).all())
            and (not len(places) or (places[0] >= 0 and places[-1] < words + len(new)))
        )
    except (KeyError, UnicodeDecodeError):
        fits = False
    if not fits:
        raise SourceError(
            f"the tuned vectors of {base.info.uri} must be places, vectors of {width} numbers and words",
            ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in weights.items()),
            "tune the source again",
        )
    return LearnedVectors(places, vectors, new)


def _draw_vectors(words: tuple[str, ...], like: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return random vectors of the mean and spread of others, each drawn from the word itself."""
    width = like.shape[1]
    mean, spread = (like.mean(0), like.std(0)) if len(like) else (np.zeros(width), np.ones(width))
    vectors = np.empty((len(words), width), dtype=np.float32)
    for row, word in enumerate(words):
        rng = np.random.default_rng(hash_of(word.encode("utf-8", "surrogatepass")))
        vectors[row] = mean + spread * rng.standard_normal(width)
    return vectors
