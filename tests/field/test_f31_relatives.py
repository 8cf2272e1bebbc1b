"""Photos augmented before the split, with labels that are noise: nothing above chance may be claimed (field f31)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import headstart as hs

pytestmark = [pytest.mark.shared, pytest.mark.thorough]


@pytest.fixture
def augmented(made: Callable[[str], Path]) -> Path:
    return made("f31")


def test_copies_stay_on_one_side_of_a_drawn_split__f31(augmented: Path, cache: Path) -> None:
    report = hs.fit(augmented / "drawn", folds=4).report
    assert report["relatives"]["examples"] >= 0.95 * 240
    assert report["relatives"]["test"] == 0
    accuracy = report["test"]["accuracy"]
    assert accuracy["low"] <= 0.5 + 0.1 and accuracy["value"] < 0.7
    assert abs(report["folds"]["mean"] - 0.5) < 0.15
    assert "--group-by" in " ".join(report["warnings"])


def test_copies_across_given_parts_are_counted_and_nothing_is_claimed__f31(augmented: Path, cache: Path) -> None:
    from headstart.base.progress import Progress
    from headstart.fitting.fit import run_fit
    from headstart.run.options import FitOptions

    made = run_fit(augmented / "given", FitOptions(), Progress())
    assert made.result["relatives"]["test"] >= 76
    assert "near copies of training examples" in " ".join(made.result["warnings"])
    assert "better" not in made.verdict
