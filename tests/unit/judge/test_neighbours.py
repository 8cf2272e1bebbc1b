"""The nearest training examples, by the cosine of features whose blocks have length 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.judge.neighbours import Neighbours, checked_neighbours

CLASSES = ("ants", "bees")
X = np.array([[1, 0, 2, 0], [0, 3, 0, 1], [1, 1, 1, 1]], np.float32)


def known() -> Neighbours:
    return Neighbours.of(X, np.array([0, 1, 1]), (2, 2), ("a.jpg", "b.jpg", "c.jpg"))


def test_the_nearest_come_first_with_the_mean_cosine_of_the_blocks() -> None:
    (first,) = known().nearest(np.array([[5, 0, 1, 0]], np.float32), (2, 2), CLASSES, count=2)
    assert [(one.name, one.label) for one in first] == [("a.jpg", "ants"), ("c.jpg", "bees")]
    np.testing.assert_allclose([one.similarity for one in first], [1.0, np.sqrt(0.5)], atol=1e-3)
    assert first[0].as_dict() == {"path": "a.jpg", "label": "ants", "similarity": 1.0}


def test_fewer_are_named_where_fewer_are_known_and_none_of_no_row() -> None:
    assert len(known().nearest(X[:1], (2, 2), CLASSES, count=9)[0]) == 3
    assert known().nearest(X[:0], (2, 2), CLASSES, count=9) == ()


def test_arrays_give_the_same_again() -> None:
    again = checked_neighbours(known().to_arrays(), (4, 2), ValueError)
    assert again.names == known().names
    assert again.nearest(X, (2, 2), CLASSES, count=3) == known().nearest(X, (2, 2), CLASSES, count=3)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"labels": np.array([0, 1, 2], np.int32)}, "a class that the model has not"),
        ({"labels": np.array([0, 1], np.int32)}, "for 3 examples"),
        ({"features": np.full((3, 4), np.nan, np.float16)}, "not finite"),
        ({"features": np.zeros((3, 5), np.float16)}, "for 3 examples"),
        ({"features": np.zeros((3, 4), np.float32)}, "the arrays"),
        ({"names": np.frombuffer(b"[1]", np.uint8)}, "no list of texts"),
        ({"names": np.frombuffer(b"\xff", np.uint8)}, "no list of texts"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        checked_neighbours({**known().to_arrays(), **change}, (4, 2), ValueError)
