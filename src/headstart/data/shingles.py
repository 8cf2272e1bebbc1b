"""Whether two texts are copies of each other: how much of the shorter one's rare shingles stand in the other."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

LENGTH = 4  # characters of a shingle, as Broder's resemblance and containment (1997) compare documents by
MAX_CHARACTERS = 4_000  # of a text: those behind are not compared
WORD = re.compile(r"\w+")


def normal_form(text: str) -> str:
    """Return the words of a text in one spelling: without case, punctuation, and what sets them apart."""
    return " ".join(WORD.findall(unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold()))


def shingles(text: str) -> frozenset[str]:
    """Return the runs of 4 characters of a text in normal form, its ends marked by a space."""
    padded = f" {text} "
    return frozenset(padded[at : at + LENGTH] for at in range(max(1, len(padded) - LENGTH + 1)))


class ShingleWeights:
    """How much each shingle tells: the logarithm of how rare it is among `sample`, texts in normal form."""

    def __init__(self, sample: Sequence[str]) -> None:
        self._texts_with: Counter[str] = Counter()
        for text in sample:
            self._texts_with.update(shingles(text))
        self._count = len(sample) + 1

    def mass(self, some: Iterable[str]) -> float:
        """Return the sum of the weights of some shingles, at least 0."""
        return sum(math.log(self._count / (self._texts_with.get(one, 0) or 1)) for one in some)

    def agreements(self, texts: Sequence[str], pairs: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return how much pairs of texts share, float32 of shape (p,), 0..1.

        That is the containment of the lighter text's shingles in the other, at most twice their resemblance: a text to
        which a sentence was added is a copy, one of which the other is made up in small part is not.
        """
        sets = {row: shingles(texts[row]) for row in np.unique(pairs).tolist()}
        masses = {row: self.mass(some) for row, some in sets.items()}
        scores = np.empty(len(pairs), np.float32)
        for at, (first, second) in enumerate(pairs.tolist()):
            shared = self.mass(sets[first] & sets[second])
            lighter, both = min(masses[first], masses[second]), masses[first] + masses[second] - shared
            equal = texts[first] == texts[second]
            scores[at] = 1 if equal else min(shared / max(lighter, 1e-9), 2 * shared / max(both, 1e-9))
        return scores
