"""What the page of a fit shows: the worst mistakes first, a preview of each, the candidates, and where it came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fitted import fitted_on, prepared_on

from headstart.fitting.page import build_page
from headstart.fitting.predictor import Fitted
from headstart.fitting.result import build_model, build_result, measure
from headstart.heads.select import HeadCandidate
from headstart.judge.report.fit_page import Report
from headstart.testing import PlantedSource, toy_stripes


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Return stripes of two directions, 24 a class, and the head that a source which knows them has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        return fitted_on(prepared_on(toy_stripes(2, 24), PlantedSource()))


def page(fitted: Fitted, **changes: Any) -> Report:
    fitted = replace(fitted, **changes)
    result = build_result(fitted, measure(fitted, seed=0), tune="none", seed=0, seconds={})
    return build_page(fitted, build_model(fitted, result, {}), ((), ()), "a verdict")


def test_the_page_holds_what_was_measured(fitted: Fitted) -> None:
    shown = page(fitted)
    y, probabilities = fitted.prepared.labels(fitted.prepared.parts.test), fitted.predictor.probabilities
    assert shown.title == fitted.prepared.scan.dataset.name and shown.verdict == "a verdict"
    expected = np.zeros((2, 2), np.int64)
    np.add.at(expected, (y, probabilities.argmax(1)), 1)
    np.testing.assert_array_equal(shown.confusion, expected)
    assert sum(found.count for found in shown.reliability) == len(y)
    assert shown.notes == shown.words == () and shown.skipped == fitted.prepared.scan.dataset.skipped


def test_candidates_come_best_first_and_one_is_chosen(fitted: Fitted) -> None:
    rows = page(fitted).candidates
    assert [row.log_loss for row in rows] == sorted(row.log_loss or 0 for row in rows)
    assert [(row.head, row.layer) for row in rows if row.chosen] == [(fitted.choice.head.kind, fitted.choice.layer)]
    assert {row.head for row in rows} == {candidate.kind for candidate in fitted.choice.candidates}


def test_the_mean_of_two_heads_is_shown_beside_each(fitted: Fitted) -> None:
    """The penalty of one member is not that of the mean."""
    both = HeadCandidate("ridge and svm", 1.0, 0.01, 0.001, 0.99, 0.1, "pool,joined")
    rows = page(fitted, choice=replace(fitted.choice, candidates=(*fitted.choice.candidates, both))).candidates
    (shown,) = (row for row in rows if row.layer == "pool,joined")
    assert (shown.head, shown.penalty, shown.log_loss) == ("ridge and svm", None, 0.01)


def test_where_it_came_from_is_told(fitted: Fitted) -> None:
    told = dict(page(fitted).provenance)
    info = fitted.prepared.source.info
    assert told["Source"] == info.uri == "toy:planted@0"
    assert told["sha256 of the weights"] == info.sha256
    assert told["Fingerprint of the data"] == fitted.prepared.scan.fingerprint
    assert (told["Layer"], told["Seed"]) == ("pool", "0") and told["Engine"].startswith("torch")
    assert "Version of headstart" in told


def test_examples_under_several_labels_are_named() -> None:
    pictures, labels = toy_stripes(2, 24)
    prepared = prepared_on(([*pictures, pictures[0]], [*labels, "class1"]), PlantedSource())
    (note,) = page(fitted_on(prepared)).notes
    assert note.text == "Photos that stand under several labels"
    assert set(note.ids) == {"item 0", "item 48"}
