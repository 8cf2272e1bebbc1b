"""What the page of a fit shows: the worst mistakes first, a preview of each, the candidates, and where it came from."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitted import fitted_on, prepared_on
from PIL import Image
from toy_texts import sentences, write_csv

from headstart.data.dataset import BadExample
from headstart.fitting.page import EXAMPLES_SHOWN, TEXT_SHOWN, THUMBNAIL, build_page, pick_examples
from headstart.fitting.predictor import Fitted
from headstart.fitting.result import build_model, build_result, measure
from headstart.heads.select import HeadCandidate
from headstart.judge.report.fit_page import Report
from headstart.run.prepare import PreparedData
from headstart.testing import PlantedSource, toy_stripes


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Return stripes of two directions, 24 a class, and the head that a source which knows them has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        return fitted_on(prepared_on(toy_stripes(2, 24), PlantedSource()))


def planted(prepared: PreparedData, mistakes: dict[int, float]) -> np.ndarray:
    """Return probabilities that name every test example correctly, surely but for its row, save for `mistakes`."""
    y = prepared.labels(prepared.parts.test)
    confidence = 0.9 + 0.001 * np.arange(len(y))
    probabilities = np.empty((len(y), 2), np.float32)
    for row, label in enumerate(y):
        named = 1 - label if row in mistakes else label
        probabilities[row, named] = mistakes.get(row, confidence[row])
        probabilities[row, 1 - named] = 1 - probabilities[row, named]
    return probabilities


def replaced(prepared: PreparedData, read: Callable[[int], bytes]) -> PreparedData:
    scan = prepared.scan
    scan = replace(scan, dataset=replace(scan.dataset, read=read))
    return replace(prepared, extraction=replace(prepared.extraction, scan=scan))


def page(fitted: Fitted, **changes: Any) -> Report:
    fitted = replace(fitted, **changes)
    result = build_result(fitted, measure(fitted, seed=0), tune="none", seed=0, seconds={})
    return build_page(fitted, build_model(fitted, result), ((), ()), "a verdict")


def test_mistakes_come_surest_first_and_the_others_least_sure_first(fitted: Fitted) -> None:
    prepared = fitted.prepared
    test, examples = prepared.parts.test, prepared.scan.dataset.examples
    assert len(test) > EXAMPLES_SHOWN
    mistakes, unsure = pick_examples(prepared, planted(prepared, {3: 0.6, 1: 0.99, 7: 0.6, 5: 0.75}))
    assert [shown.id for shown in mistakes] == [examples[test[row]].id for row in (1, 5, 3, 7)], "ties in their order"
    assert [round(shown.probability, 2) for shown in mistakes] == [0.99, 0.75, 0.6, 0.6]
    for shown, row in zip(mistakes, (1, 5, 3, 7), strict=True):
        assert shown.truth == examples[test[row]].label != shown.predicted
    assert [shown.id for shown in unsure[:4]] == [examples[test[row]].id for row in (3, 7, 5, 0)]
    assert len(unsure) == EXAMPLES_SHOWN
    assert unsure[3].truth == unsure[3].predicted


def test_no_more_mistakes_are_shown_than_a_page_holds(fitted: Fitted) -> None:
    count = len(fitted.prepared.parts.test)
    wrong = planted(fitted.prepared, {row: 0.6 + row / 100 for row in range(count)})
    mistakes, _ = pick_examples(fitted.prepared, wrong)
    assert len(mistakes) == EXAMPLES_SHOWN and mistakes[0].probability == pytest.approx(0.6 + (count - 1) / 100)
    assert pick_examples(fitted.prepared, planted(fitted.prepared, {}))[0] == ()


def test_pictures_are_shown_small_and_what_is_gone_by_its_name_alone(fitted: Fitted) -> None:
    def large(position: int) -> bytes:
        if position == fitted.prepared.parts.test[2]:
            raise BadExample("no such file")
        file = io.BytesIO()
        Image.fromarray(np.full((300, 600, 3), 80, np.uint8)).save(file, "PNG")
        return file.getvalue()

    shown, _ = pick_examples(replaced(fitted.prepared, large), planted(fitted.prepared, {0: 0.9, 2: 0.8}))
    assert Image.open(io.BytesIO(shown[0].thumbnail)).size == (THUMBNAIL, THUMBNAIL // 2)
    assert shown[1].thumbnail == b"" and shown[1].text == "" and shown[1].id


def test_of_a_text_its_beginning_is_shown_on_one_line(tmp_path: Path) -> None:
    rows = sentences(12)
    prepared = prepared_on(write_csv(tmp_path / "texts.csv", rows), "packaged:wordllama", engine="auto")
    test = prepared.parts.test
    texts = {test[0]: "short\n\n  one\ttext ", test[1]: "a" * TEXT_SHOWN, test[2]: "b " * TEXT_SHOWN}
    probabilities = np.full((len(test), 3), 0.1, np.float32)
    probabilities[:, 0] = np.linspace(0.3, 0.6, len(test))
    _, unsure = pick_examples(replaced(prepared, lambda at: texts.get(at, "rest").encode()), probabilities)
    assert [shown.text for shown in unsure[:2]] == ["short one text", "a" * TEXT_SHOWN]
    assert len(unsure[2].text) == TEXT_SHOWN
    assert unsure[2].text.startswith("b b b") and unsure[2].text[-1] == "…"
    assert all(not shown.thumbnail for shown in unsure)


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
