"""The head on words as a member of a bundle: what was written is read, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.base.errors import BundleError
from headstart.heads.tfidf import TfidfHead, Vocabulary
from headstart.ship.bundle_words import checked_tfidf_head

HEAD = TfidfHead(
    Vocabulary(("bread", "bread oven", "oven"), np.ones(3, np.float32)),
    np.arange(6, dtype=np.float32).reshape(3, 2),
    np.zeros(2, np.float32),
)


def refuse(received: str) -> BundleError:
    return BundleError("the member must be sound", received, "save again")


def test_what_was_written_is_read() -> None:
    head = checked_tfidf_head(HEAD.to_arrays(), 2, refuse)
    assert head.vocabulary.terms == HEAD.vocabulary.terms
    np.testing.assert_array_equal(head.scores(["bread oven", ""]), HEAD.scores(["bread oven", ""]))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"names": np.frombuffer(b"bread\n\xff\noven", np.uint8)}, "not UTF-8"),
        ({"names": np.frombuffer(b"bread\noven", np.uint8)}, "for 2 words"),
        ({"names": np.zeros(3, np.float32)}, "the arrays"),
        ({"more": np.zeros(3, np.float32)}, "the arrays bias, idf, more, names, weight"),
        ({"weight": np.zeros((3, 3), np.float32)}, "weight of shape"),
        ({"weight": np.zeros((3, 2), np.float64)}, "weight of float64"),
        ({"bias": np.zeros(3, np.float32)}, "bias of shape"),
        ({"idf": np.array([1, np.nan, 1], np.float32)}, "not finite"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changed: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(BundleError, match=says) as caught:
        checked_tfidf_head({**HEAD.to_arrays(), **changed}, 2, refuse)
    assert "\n" not in str(caught.value)
