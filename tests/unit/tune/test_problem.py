"""Copies among the examples: what is computed of a content is computed once, and counts as often as it stands there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tuning_problem import tuning_problem

from headstart.base.progress import Progress
from headstart.heads.folds import MOST_VISITS
from headstart.heads.select import refit
from headstart.testing import ToySource
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.training.task import Recipe
from headstart.tune.trial import TuningTrial

CPU = torch.device("cpu")
COPIES = 5


def copied(problem: TuningProblem, copies: int = COPIES) -> TuningProblem:
    """Return the problem with every example so many times, of which the last stands under another class."""
    count, dataset = len(problem.dataset), problem.dataset
    places = [at + copy * count for copy in range(copies) for at in range(count)]
    return replace(
        problem,
        dataset=replace(
            dataset, examples=dataset.examples * copies, read=lambda at: dataset.read(at % count), entries=None
        ),
        keys=problem.keys * copies,
        train_positions=tuple(at for at in places if at % count in problem.train_positions),
        validation_positions=tuple(at for at in places if at % count in problem.validation_positions),
        y_train=np.concatenate([*[problem.y_train] * (copies - 1), (problem.y_train + 1) % problem.c]),
        y_validation=np.tile(problem.y_validation, copies),
        row_of=np.tile(problem.row_of, copies),
    )


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> TuningProblem:
    return copied(tuning_problem(tmp_path_factory.mktemp("copies"), ToySource(), per_class=8))


def test_a_head_of_counts_is_that_of_the_copies__TXT_06(problem: TuningProblem) -> None:
    x, _, counts = problem.distinct_train()
    distinct = len(problem.train_positions) // COPIES
    assert (len(x), sorted(set(counts))) == (2 * distinct, [1, COPIES - 1])
    expanded = refit(problem.features(problem.train_positions), problem.y_train, problem.c, like=problem.head)
    np.testing.assert_allclose(problem.refitted().weight, expanded.weight, rtol=1e-3, atol=1e-5)
    scores = problem.validation_scores(problem.head)
    np.testing.assert_array_equal(scores, problem.head.scores(problem.features(problem.validation_positions)))


@pytest.mark.parametrize("mode", ["all", "last:1"])
def test_a_content_is_decoded_run_and_kept_once__TXT_06(mode: str, problem: TuningProblem) -> None:
    decoded: dict[Any, Any] = {}
    trial = TuningTrial(
        problem,
        TrialConfig(mode, augmented_views=2, recipe=Recipe(epochs=1, batch_size=16)),
        decoded_cache=decoded,
        device=CPU,
        progress=Progress(),
    )
    count = len(problem.dataset) // COPIES
    ((_, rows),) = decoded.values()
    assert len(rows) == count
    trial.run(budget=None, folder=None, identity={})
    assert trial.cached == (mode == "last:1")
    if trial._activations is not None:
        train, validation = trial._activations
        assert len(train.firsts) + len(validation.firsts) == count
        np.testing.assert_array_equal(*(train.inputs(np.array([at]), epoch=1)[0] for at in (0, len(train.firsts))))
    assert sum(map(len, trial.pipeline.batches()[1])) == len(problem.validation_positions) // COPIES
    scores = trial.validation_scores()
    np.testing.assert_array_equal(scores, np.tile(scores[: len(scores) // COPIES], (COPIES, 1)))
    x, _, counts = trial.train_features()
    assert (len(x), counts.sum()) == (2 * len(problem.train_positions) // COPIES, len(problem.y_train))


def test_an_epoch_over_massive_repeats_visits_each_pair_a_few_times_and_counts_all__TXT_06(tmp_path: Path) -> None:
    plain = tuning_problem(tmp_path, ToySource(), per_class=4)
    assert plain.visited() is plain
    many = copied(plain, copies=40)
    visited = many.visited()
    pairs = 2 * len(plain.train_positions)
    assert len(visited.train_positions) <= (MOST_VISITS + 1) * pairs
    assert visited.train_counts is not None and visited.train_counts.sum() == pytest.approx(len(many.train_positions))
    assert set(visited.train_positions) <= set(many.train_positions)
    for label in range(plain.c):
        of_label = visited.train_counts[visited.y_train == label].sum()
        assert of_label == pytest.approx((many.y_train == label).sum())
    recipe = Recipe(epochs=1, batch_size=16)
    config = TrialConfig("last:1", augment="none", recipe=recipe)
    trial = TuningTrial(many, config, decoded_cache={}, device=CPU, progress=Progress())
    assert trial.run(budget=None, folder=None, identity={}).images == len(visited.train_positions)
    assert trial.train_features()[2].sum() == len(many.train_positions)
