"""Word vectors that learn: an embedding layer for the words of some texts, that starts from the vectors of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256, sha256_json
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.networks.source import Once
from headstart.sources.taps import Tap
from headstart.sources.text.word_index import hash_of
from headstart.sources.text.word_source import RARITY, WORD, WordSource
from headstart.sources.text.word_vectors import Learned

if TYPE_CHECKING:
    from torch import nn

LEAST = 2
"""Texts that a word must stand in to get a vector of its own, where the file has none for it."""
TABLE = "vectors.weight"
"""What learns in the network."""
RATES = {"all": 3e-4, "scratch": 1e-3}
"""The full learning rate of vectors that are known, and of random ones: each word is met in few batches."""


class WordNetwork(WordSource):
    """Word vectors as a network: a table of vectors, of which the blocks of a text are means.

    Words that stand in two of the texts to learn from, and not in the file, begin as random vectors of the mean and
    spread of the others.

    Args:
        base: the source whose vectors it starts from.
        texts: to learn from.
        others: further texts, whose words are looked up as well.
    """

    def __init__(self, base: WordSource, texts: Iterable[str], others: Iterable[str] = ()) -> None:
        known: set[int] = set()
        missing: Counter[str] = Counter()
        for text in texts:
            words = set(WORD.findall(text))
            for word in words:
                known.update(base.vectors.find(word))
            missing.update({word.lower() for word in words if not base.vectors.find(word)})
        for text in others:
            for word in set(WORD.findall(text)):
                known.update(base.vectors.find(word))
        self.base = base
        places = np.array(sorted(known), dtype=np.int32)
        self.start = base.vectors.at(places)
        new = tuple(sorted(word for word, count in missing.items() if count >= LEAST))
        drawn = _drawn(new, self.start)
        first = base.index.about.words
        news = np.arange(first, first + len(new), dtype=np.int32)
        super().__init__(base.info.uri, base.index, seed=base.seed, learned=Learned(news, drawn, new))
        self.places, self.new = np.concatenate([places, news]), new
        self.start = np.concatenate([self.start, drawn])
        width = base.index.about.width
        self.taps = (Tap("pool", width, "pool"), Tap("sif", width, "avg"))
        self.all_taps, self.stages, self.learns = self.taps, (), True
        self.opened, self.layer = base.opened, base.layer
        self.rates: Mapping[str, float] | None = RATES
        self._built = Once(self._build)

    def module(self) -> nn.Module:  # type: ignore[override]
        """Return the torch module: ids and mask, int64 of shape (n, length), to the blocks; the same one each time."""
        set_passive_omp_wait()
        return self._built()

    def _build(self) -> nn.Module:
        from headstart.sources.text.word_means import WordMeans

        rare = RARITY / (RARITY + self.vectors.frequency(self.places))
        return WordMeans(self.places, self.start, rare.astype(np.float32), self.common).eval()

    def learned(self, table: NDArray[np.float32]) -> TunedWords:
        """Return the source with another table of vectors, float32 of shape (words, width); what changed is kept."""
        kept = (table != self.start).any(axis=1)
        kept[len(kept) - len(self.new) :] = True
        words = np.frombuffer("\n".join(self.new).encode("utf-8", "surrogatepass"), dtype=np.uint8)
        return TunedWords(self.base, {"places": self.places[kept], "vectors": table[kept], "words": words})


class TunedWords(WordSource):
    """Word vectors of which some have learned on the user's own texts.

    Args:
        base: the source that it began as.
        weights: `places` of the vectors that have changed, int32, `vectors`, float32, and `words`, those that the file
            does not know, as UTF-8 with a line break between two.

    Raises:
        SourceError: they do not fit together.
    """

    def __init__(self, base: WordSource, weights: Mapping[str, NDArray[Any]]) -> None:
        self.base = base
        self.weights = {name: np.asarray(array, order="C") for name, array in weights.items()}
        super().__init__(base.info.uri, base.index, seed=base.seed, learned=_fitting(base, self.weights))
        parts = [(name, array.shape, sha256(array.data)) for name, array in sorted(self.weights.items())]
        self.info = replace(
            base.info,
            sha256=sha256_json({"base": base.info.sha256, "tuned": parts}),
            trained_on=f"{base.info.trained_on}; then tuned",
        )
        self.layer = base.layer


def _fitting(base: WordSource, weights: Mapping[str, NDArray[Any]]) -> Learned:
    width, words = base.index.about.width, base.index.about.words
    try:
        places, vectors, text = weights["places"], weights["vectors"], weights["words"].tobytes().decode()
        new = tuple(text.split("\n")) if text else ()
        sound = (
            places.dtype == np.int32
            and vectors.dtype == np.float32
            and vectors.shape == (len(places), width)
            and bool((np.diff(places) > 0).all())
            and (not len(places) or (places[0] >= 0 and places[-1] < words + len(new)))
        )
    except (KeyError, UnicodeDecodeError):
        sound = False
    if not sound:
        raise SourceError(
            f"the tuned vectors of {base.info.uri} must be places, vectors of {width} numbers and words",
            ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in weights.items()),
            "tune the source again",
        )
    return Learned(places, vectors, new)


def _drawn(words: tuple[str, ...], like: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return random vectors of the mean and spread of others, each drawn from the word itself."""
    width = like.shape[1]
    mean, spread = (like.mean(0), like.std(0)) if len(like) else (np.zeros(width), np.ones(width))
    found = np.empty((len(words), width), dtype=np.float32)
    for row, word in enumerate(words):
        rng = np.random.default_rng(hash_of(word.encode("utf-8", "surrogatepass")))
        found[row] = mean + spread * rng.standard_normal(width)
    return found
