"""A fit learns what its data looks like: the bundle, the predictions and an evaluation hold what is unlike it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_texts import sentences, write_csv

import headstart as hs
from headstart.base.progress import Progress
from headstart.data.readers.open import open_inputs
from headstart.evaluating.evaluate import run_evaluate
from headstart.evaluating.options import EvaluateOptions
from headstart.fitting.novelty import measured_novelty
from headstart.sources.providers.simple import SimpleSource
from headstart.testing import ToySource, toy_photos

FOREIGN = [f"def f{n}(x): return x[{n}] ** 2 % len(x)" for n in range(12)]


@pytest.fixture
def model(tmp_path: Path, cache: Path) -> hs.Model:
    return hs.fit(write_csv(tmp_path / "topics.csv", sentences(40)), source="packaged:wordllama", out=tmp_path / "run")


def test_foreign_texts_are_unlike_and_the_bundle_knows_it(model: hs.Model, tmp_path: Path) -> None:
    own = [text for text, _ in sentences(40, seed=5)]
    assert model.report["novelty"]["known"] is (model.novelty is not None)
    assert model.novelty is not None and 0 <= model.report["novelty"]["test"] < 0.2
    scores = model.novelty_scores([*own, *FOREIGN])
    assert scores.dtype == np.float32 and scores.shape == (len(own) + 12,)
    assert (scores[: len(own)] > 1).mean() < 0.1
    assert (scores[len(own) :] > 1).mean() > 0.9
    again = hs.load(tmp_path / "run")
    np.testing.assert_allclose(again.novelty_scores(FOREIGN), scores[len(own) :], rtol=1e-5)
    (tmp_path / "new.txt").write_text(FOREIGN[0])
    found = again.predict_dataset(open_inputs([str(tmp_path / "new.txt")], kind="text"))
    assert found.novelty is not None and found.novelty[0] > 1


def test_an_evaluation_counts_what_is_unlike(model: hs.Model, tmp_path: Path) -> None:
    label = model.classes[0]
    rows = [*sentences(6, seed=3), *((text, label) for text in FOREIGN)]
    data = write_csv(tmp_path / "new.csv", rows)
    run = run_evaluate(tmp_path / "run", data, EvaluateOptions(), Progress())
    assert run.evaluation.novelty is not None
    assert run.result["unlike"] == run.evaluation.unlike >= 11
    assert any(
        "are unlike the training data of the model, where 1.0 % would be" in note for note in run.result["warnings"]
    )


def test_a_model_that_reads_words_alone_has_no_features_to_compare() -> None:
    prepared = SimpleNamespace(
        distinct=lambda part: SimpleNamespace(positions=(0, 1)),
        parts=SimpleNamespace(train=(0, 1)),
        scan=SimpleNamespace(dataset=SimpleNamespace(kind="text")),
    )
    fitted: Any = SimpleNamespace(prepared=prepared, predictor=SimpleNamespace(source=SimpleSource("words")))
    assert measured_novelty(fitted, seed=0, progress=Progress()) == (None, None, {"known": False, "test": None})


def test_photos_of_another_kind_and_rows_that_cannot_be_used(tmp_path: Path, cache: Path) -> None:
    photos = toy_photos(tmp_path / "photos", classes=2, per_class=24, seed=0)
    model = hs.fit(photos, source=ToySource(), engine="torch")
    assert model.novelty is not None
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    assert (model.novelty_scores(list(noise)) > 1).all()
    table = {"path": [str(next(photos.rglob("*.png"))), str(tmp_path / "nowhere.png")]}
    assert np.isnan(model.novelty_scores(table)).tolist() == [False, True]
