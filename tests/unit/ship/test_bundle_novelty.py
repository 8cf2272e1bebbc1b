"""Novelty statistics as a member of a bundle: what was written is read, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forged import small_bundle

from headstart.base.errors import BundleError
from headstart.judge.novelty import Novelty
from headstart.ship import bundle
from headstart.ship.bundle_novelty import checked_novelty

NOVELTY = Novelty(np.ones((2, 3), np.float32), np.eye(2, 3, dtype=np.float32), np.array([3, 2, 1], np.float32), 0.5)


def refuse(received: str) -> BundleError:
    return BundleError("the member must be sound", received, "save again")


def test_what_was_written_is_read() -> None:
    again = checked_novelty(NOVELTY.to_arrays(), (3, 2), refuse)
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_allclose(again.scores(x, (3,)), NOVELTY.scores(x, (3,)), rtol=1e-3)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"more": np.zeros(3, np.float32)}, "the arrays axes, means, more"),
        ({"means": np.ones((2, 3), np.float32)}, "means of float32"),
        ({"means": np.ones((3, 3), np.float16)}, "means of shape"),
        ({"means": np.ones((2, 4), np.float16)}, "means of shape"),
        ({"means": np.ones((0, 3), np.float16)}, "means of shape"),
        ({"axes": np.full((2, 3), np.inf, np.float16)}, "not finite"),
        ({"axes": np.ones((1, 3), np.float16)}, "variances of shape"),
        ({"variances": np.array([3, 0, 1], np.float32)}, "not above 0"),
        ({"threshold": np.zeros(1, np.float32)}, "not above 0"),
        ({"threshold": np.array(1, np.float32)}, "threshold of shape"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changed: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(BundleError, match=says) as caught:
        checked_novelty({**NOVELTY.to_arrays(), **changed}, (3, 2), refuse)
    assert "\n" not in str(caught.value)


def test_a_bundle_holds_it_and_an_older_one_does_not(tmp_path: Path) -> None:
    made = small_bundle()
    d, c = made.head.weight.shape
    bundle.save(tmp_path / "older", made)
    assert bundle.load(tmp_path / "older").novelty is None
    novelty = Novelty(np.ones((c, d), np.float32), np.eye(1, d, dtype=np.float32), np.ones(2, np.float32), 2.0)
    bundle.save(tmp_path / "bundle", replace(made, novelty=novelty))
    loaded = bundle.load(tmp_path / "bundle").novelty
    assert loaded is not None and loaded.threshold == 2.0
    path = tmp_path / "bundle" / bundle.NOVELTY
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(BundleError, match="sha256"):
        bundle.load(tmp_path / "bundle")
