"""The names of classes as examples: which ones tell something, and that an arm learns from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tuning_problem import text_tuning_problem, tuning_problem

from headstart.base.progress import Progress
from headstart.heads.select import refit
from headstart.sources.registry import open_source
from headstart.sources.text.source import TextSource
from headstart.testing import ToySource
from headstart.tune.frozen_checks import class_names_help
from headstart.tune.inputs.texts import phrase
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.training.task import Recipe
from headstart.tune.trial import TuningTrial

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("card_arrival", "card arrival"),
        ("card-arrival", "card arrival"),
        ("CardArrival", "card arrival"),
        ("Refund not showing up?", "refund not showing up"),
        ("HUM", "hum"),
        ("grün/blau", "grün blau"),
        ("type2", "type2"),
        ("?!", ""),
    ],
)
def test_a_name_becomes_words(name: str, words: str) -> None:
    assert phrase(name) == words


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> TuningProblem:
    """Return a ground of eight texts of each topic, on real weights."""
    source = open_source("packaged:minilm")
    assert isinstance(source, TextSource)
    return text_tuning_problem(tmp_path_factory.mktemp("few"), source, per_class=8)


def called(place: TuningProblem, *names: str) -> TuningProblem:
    """Return the ground with other names for its classes."""
    examples = tuple(
        replace(one, label=names[place.dataset.classes.index(one.label)]) for one in place.dataset.examples
    )
    return replace(place, dataset=replace(place.dataset, classes=names, examples=examples))


def test_names_tell_where_they_say_what_the_texts_are_about(few: TuningProblem, tmp_path: Path) -> None:
    assert few.dataset.classes == ("cooking", "music", "sailing")
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.15, few.x.shape).astype(np.float32)
    vague = replace(few, x=few.x + noise)  # as of texts that say little
    assert class_names_help(vague, CPU, seed=0)
    assert not class_names_help(called(vague, "music", "sailing", "cooking"), CPU, seed=0), "of other classes"
    assert not class_names_help(called(vague, "?!", "1", "2"), CPU, seed=0), "that mean nothing"
    assert not class_names_help(tuning_problem(tmp_path, ToySource()), CPU, seed=0), "photos are not named by words"


@pytest.mark.thorough
@pytest.mark.usefixtures("float32")
def test_an_arm_learns_from_the_names_and_its_head_too(few: TuningProblem) -> None:
    config = TrialConfig(
        "last:1",
        contrastive=True,
        class_names=True,
        recipe=Recipe(epochs=1, learning_rate=1e-4, batch_size=8, keep_last=True),
    )
    trial = TuningTrial(few, config, decoded_cache={}, device=CPU, progress=Progress())
    x, y, counts = trial.train_features()
    assert config.name == "last:1 by pairs and names" and len(x) == len(few.train_positions) + few.c
    np.testing.assert_array_equal(y, [*few.y_train, *range(few.c)])
    assert (counts == 1).all()
    np.testing.assert_allclose(x[: len(few.train_positions)], few.features(few.train_positions), atol=1e-4)
    assert trial.run(budget=None, folder=None, identity={}).best == 1 and trial.changed_weights()
    learned, *_ = trial.train_features()
    head = refit(learned, y, few.c, like=few.head)
    trial.classifier.set_head(head)
    wanted = trial.validation_scores()
    trial.refit_head()
    np.testing.assert_array_equal(trial.validation_scores(), wanted)
