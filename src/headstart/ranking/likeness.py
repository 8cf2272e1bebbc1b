"""How alike the examples and what a source was trained on are, how many there are, and what the two suggest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.modality import MODALITIES
from headstart.ranking.measuring import CandidateResult, Ranking, own_probabilities
from headstart.run.prepare import PreparedData
from headstart.sources.uri import innermost

SMALL, LARGE = 100, 1000
"""Labels of a class, median over the classes: fewer are a small data set, as many or more a large one."""
ALIKE, SURE = 0.5, 0.5
"""What the source's classes tell of an example, as a share of what tells its class, and how sure they are of it: of
examples that are like those of the source at least one is as large."""
COMPARED = 500
"""Distinct examples that the source classifies."""
SHOWN = 3
SUGGESTIONS = {
    ("small", True): "a frozen source with a head on its features (--tune none)",
    ("small", False): "a frozen source with a head on its earlier layers (--layer joined), or another source",
    ("medium", True): "a source that is partly tuned, its last layers (--tune last:2)",
    ("medium", False): "a source that is tuned as far as it pays (--tune auto), or another source",
    ("large", True): "a source that is fully tuned (--tune all)",
    ("large", False): "a source that is fully tuned (--tune all), compared with training from scratch",
    ("small", None): "a frozen source with a head on its features (--tune none)",
    ("medium", None): "a source that is partly tuned (--tune auto)",
    ("large", None): "a source that is fully tuned (--tune all)",
}
"""What textbooks suggest by size and likeness (Goodfellow et al. 2016, section 15.2; CS231n, Transfer learning)."""


@dataclass(frozen=True)
class SourceClass:
    """A class of the source, and the share of the examples that it says are of it."""

    name: str
    share: float  # 0..1


@dataclass(frozen=True)
class Likeness:
    """What the source's own classes say of the examples."""

    source: str
    confidence: float  # 0..1, mean of the largest probability of each example
    information: float  # mutual information of example and source class, over the entropy of the labels; 0 or more
    classes: tuple[SourceClass, ...]  # on which most examples fall, first the largest
    # 0..1, mean of the largest probability of unseen examples of the source's own data; None where it states none
    own_confidence: float | None = None

    @property
    def alike(self) -> bool:
        """Whether the source's classes tell the examples apart, or are sure of them."""
        return self.information >= ALIKE or self.confidence >= SURE


def likeness_of(
    source: str,
    probabilities: NDArray[np.floating],
    y: NDArray[np.int64],
    names: Sequence[str],
    own_confidence: float | None = None,
) -> Likeness:
    """Return how alike examples are to those that a classifier was trained on.

    The information is that of the inception score (Salimans et al. 2016), H(mean p) - mean H(p): it is small where all
    examples look alike to the classifier, and where it is sure of none. It is compared with what the labels hold.

    Args:
        probabilities: of the source's own classes, of shape (n, k), rows summing to 1.
        y: class ids of shape (n,), of at least two classes.
        names: of the source's classes, k of them, or none.
        own_confidence: how sure the source is on average of unseen examples of its own data, 0..1; None if not known.
    """
    mean = probabilities.mean(axis=0, dtype=np.float64)
    labels = np.bincount(y) / len(y)
    information = _entropy(mean) - float(np.mean([_entropy(row) for row in probabilities]))
    shares = np.bincount(probabilities.argmax(axis=1), minlength=len(mean)) / len(y)
    largest = [place for place in np.argsort(-shares, kind="stable")[:SHOWN].tolist() if shares[place] > 0]
    return Likeness(
        source,
        float(probabilities.max(axis=1).mean()),
        max(0.0, information) / _entropy(labels),
        tuple(SourceClass(names[place] if names else f"class {place}", float(shares[place])) for place in largest),
        own_confidence,
    )


def _entropy(shares: NDArray[np.floating]) -> float:
    positive = shares[shares > 0].astype(np.float64)
    return float(-(positive * np.log(positive)).sum())


def describe(prepared: PreparedData, ranking: Ranking) -> dict[str, Any]:
    """Return size and likeness as `result.json` holds them, and the sentence on what they suggest."""
    dataset, learned = prepared.scan.dataset, ranking.best.learned
    labels = np.bincount(learned.y[learned.row_of])
    per_class = int(np.median(labels[labels > 0]))
    size = "small" if per_class < SMALL else "medium" if per_class < LARGE else "large"
    comparison = _of_first_classifier(prepared, ranking)
    return {
        "size": size,
        "labels_per_class": per_class,
        "likeness": None if comparison is None else {**asdict(comparison), "alike": comparison.alike},
        "sentence": sentence(size, per_class, MODALITIES[dataset.kind].plural, comparison),
    }


def sentence(size: str, per_class: int, items: str, likeness: Likeness | None) -> str:
    """Return in one sentence how large and how alike the data is, and what textbooks suggest for that."""
    suggestion = SUGGESTIONS[size, None if likeness is None else likeness.alike]
    start = f"The data set is {size} ({per_class:,} labels a class)"
    if likeness is None:
        unknown = "no source that was measured has classes of its own to compare it with"
        return f"{start}, and {unknown}: textbooks suggest {suggestion}."
    most = ", ".join(f"{each.name} ({100 * each.share:.0f} %)" for each in likeness.classes)
    own = "" if likeness.own_confidence is None else f" (of their own {100 * likeness.own_confidence:.0f} %)"
    how_alike = "similar to" if likeness.alike else "different from"
    return (
        f"{start} and {how_alike} what {likeness.source} was trained on, whose own classes are on average "
        f"{100 * likeness.confidence:.0f} % sure of these {items}{own}, first of all {most}: "
        f"textbooks suggest {suggestion}."
    )


def _of_first_classifier(prepared: PreparedData, ranking: Ranking) -> Likeness | None:
    """Return the likeness to the recommended source, or the best one that has classes of its own.

    A source at its own size and from one side comes first: a classifier is less sure of features at another (Touvron et
    al. 2019, Fixing the train-test resolution discrepancy).
    """
    chosen = ranking.recommended
    rows: list[CandidateResult] = [*(chosen.members or (chosen,)), *ranking.rows]
    for row in sorted(rows, key=lambda row: innermost(row.candidate.uri) != row.candidate.uri):
        some = row.learned.first(COMPARED)
        probabilities = own_probabilities(prepared, row, some)
        if probabilities is not None:
            source = row.candidate.source
            return likeness_of(source.identity.uri, probabilities, some.y, source.class_names(), source.own_confidence)
    return None
