"""The tuned arm is the tuning of `fit` behind its gate: it gains where that is planted, and else stays frozen."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from headstart.base.progress import Progress
from headstart.comparison.arms import ArmConfig, run_untrained_arms
from headstart.comparison.tuned_arm import enough_to_judge, run_tuned_arm
from headstart.judge.benefit.gains import FROZEN
from headstart.judge.benefit.results import Outcome
from headstart.run.clock import Clock
from headstart.run.options import FitOptions
from headstart.run.prepare import PreparedData, prepare
from headstart.testing import PlantedSource, toy_stripes

CONFIG = ArmConfig("tuned", "all", 0, horizontal_flip=False, pace=2.0, epochs=12, batch_size=8)

pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, warm_cache: Path) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))


class Eager(PlantedSource):
    """A source that does not know its stripes and learns them within a few epochs."""

    rates: ClassVar[dict[str, float]] = {"all": 3e-3}


def stripes(per_class: int, *, random_labels: bool = False) -> PreparedData:
    pictures, labels = toy_stripes(2, per_class, noise=0.05)
    if random_labels:
        labels = [labels[row] for row in np.random.default_rng(1).permutation(len(labels))]
    options = FitOptions(source=Eager(shuffled=True), layer="pool", engine="torch")
    return prepare((pictures, labels), options, Progress(), Clock())


def both(prepared: PreparedData) -> tuple[Outcome, Outcome]:
    """Return the outcomes of the frozen source and of the tuned one."""
    frozen = run_untrained_arms(prepared, "pool", seed=0, extraction=0.0)[FROZEN]
    return frozen, run_tuned_arm(prepared, CONFIG, frozen, seed=0, decoded_cache={}, progress=Progress())


@pytest.mark.thorough
def test_tuning_that_is_kept_has_a_curve_on_the_test_part_that_ends_with_the_final_model() -> None:
    frozen, tuned = both(stripes(40))
    assert tuned.right[-1].mean() > frozen.right[-1].mean() + 0.1
    assert tuned.epochs[0] == 0 and len(tuned.epochs) > 2 and (np.diff(tuned.seconds) >= 0).all()
    assert tuned.note.startswith("--tune all from ")


def test_tuning_that_is_not_kept_is_the_frozen_source() -> None:
    frozen, tuned = both(stripes(30, random_labels=True))
    assert (tuned.right == frozen.right).all() and tuned.epochs.tolist() == [0]
    assert tuned.note == "frozen: tuning (all) was tried and not kept" and not tuned.cut
    assert tuned.seconds[-1] > frozen.seconds[-1], "the time of trying counts"


def test_too_few_labels_to_judge_tuning_by_cost_nothing() -> None:
    few = stripes(10)
    assert not enough_to_judge(few, seed=0)
    frozen, tuned = both(few)
    assert (tuned.right == frozen.right).all() and (tuned.seconds == frozen.seconds).all()
    assert tuned.note == "frozen: too few labels to judge tuning by"
