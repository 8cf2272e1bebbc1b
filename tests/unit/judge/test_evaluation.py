"""Labelled data that a model was not fitted on: which examples are judged, and which column a class is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.data.audit import Scan
from headstart.data.dataset import Dataset, Example
from headstart.judge.evaluation import columns_of, difference, evaluated, judged_positions

CLASSES = ("ant", "bee", "wasp")


def scan_of(labels: str, splits: str = "") -> Scan:
    names = {"a": "ant", "b": "bee", "w": "wasp"}
    parts = {"t": "test", "r": "train"}
    examples = tuple(
        Example(f"{number}.jpg", names[label], parts[splits[number]] if splits else None)  # type: ignore[arg-type]
        for number, label in enumerate(labels)
    )
    classes = tuple(sorted({example.label for example in examples}))
    dataset = Dataset("data", "image", examples, classes, lambda position: b"")
    return Scan(dataset, tuple(map(str, range(len(labels)))), "", 0, (), ())


def certain(predicted: str) -> NDArray[np.float32]:
    return np.eye(3, dtype=np.float32)[["abw".index(label) for label in predicted]]


def test_labels_are_places_among_the_classes_of_the_model() -> None:
    assert columns_of(scan_of("wwb").dataset, CLASSES).tolist() == [1, 2]
    with pytest.raises(UsageError, match="found 'bee'; rename it"):
        columns_of(scan_of("ab").dataset, ("ant", "wasp"))


def test_the_test_part_alone_counts_where_there_is_one() -> None:
    assert judged_positions(scan_of("abw").dataset) == (0, 1, 2)
    assert judged_positions(scan_of("abw", "rtt").dataset) == (1, 2)
    evaluation = evaluated(scan_of("abwa", "rttt"), certain("bbwa"), CLASSES, engine="toy", cached=(0, 4))
    assert evaluation.accuracy == 1 and evaluation.ids == ("1.jpg", "2.jpg", "3.jpg")
    assert repr(evaluation).startswith("<Evaluation of 3 photos: accuracy 100.0 %")


def test_two_are_paired_by_the_examples_that_both_judged() -> None:
    def judged(labels: str, predicted: str, splits: str = ""):  # type: ignore[no-untyped-def]
        return evaluated(scan_of(labels, splits), certain(predicted), CLASSES, engine="toy", cached=(0, 0))

    whole, part = judged("abwabw", "abwabw"), judged("abwabw", "abwwww", "rrrttt")
    assert difference(whole, part).value == pytest.approx(2 / 3)
    assert difference(part, whole).value == pytest.approx(-2 / 3)
    alone = judged("abwabw", "abwabw", "trrrrr")
    with pytest.raises(UsageError, match="must share examples"):
        difference(part, alone)
