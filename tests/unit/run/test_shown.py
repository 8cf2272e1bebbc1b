"""The examples that a page shows: the worst mistakes first, the least sure next, and a preview of each."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fitted import prepared_on
from PIL import Image
from toy_texts import sentences, write_csv

from headstart.data.dataset import BadExample
from headstart.run.prepare import PreparedData
from headstart.run.shown import EXAMPLES_SHOWN, TEXT_SHOWN, THUMBNAIL, PickedExamples, pick_examples
from headstart.testing import PlantedSource, toy_stripes


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Return stripes of two directions, 24 a class."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        return prepared_on(toy_stripes(2, 24), PlantedSource())


def picked(prepared: PreparedData, probabilities: np.ndarray) -> PickedExamples:
    dataset, test = prepared.scan.dataset, prepared.parts.test
    return pick_examples(dataset, test, prepared.labels(test), probabilities, dataset.classes)


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


def test_mistakes_come_surest_first_and_the_others_least_sure_first(prepared: PreparedData) -> None:
    test, examples = prepared.parts.test, prepared.scan.dataset.examples
    assert len(test) > EXAMPLES_SHOWN
    mistakes, unsure = picked(prepared, planted(prepared, {3: 0.6, 1: 0.99, 7: 0.6, 5: 0.75}))
    assert [shown.id for shown in mistakes] == [examples[test[row]].id for row in (1, 5, 3, 7)], "ties in their order"
    assert [round(shown.probability, 2) for shown in mistakes] == [0.99, 0.75, 0.6, 0.6]
    for shown, row in zip(mistakes, (1, 5, 3, 7), strict=True):
        assert shown.truth == examples[test[row]].label != shown.predicted
    assert [shown.id for shown in unsure[:4]] == [examples[test[row]].id for row in (3, 7, 5, 0)]
    assert len(unsure) == EXAMPLES_SHOWN
    assert unsure[3].truth == unsure[3].predicted


def test_no_more_mistakes_are_shown_than_a_page_holds(prepared: PreparedData) -> None:
    count = len(prepared.parts.test)
    wrong = planted(prepared, {row: 0.6 + row / 100 for row in range(count)})
    mistakes, _ = picked(prepared, wrong)
    assert len(mistakes) == EXAMPLES_SHOWN and mistakes[0].probability == pytest.approx(0.6 + (count - 1) / 100)
    assert picked(prepared, planted(prepared, {}))[0] == ()


def test_pictures_are_shown_small_and_what_is_gone_by_its_name_alone(prepared: PreparedData) -> None:
    def large(position: int) -> bytes:
        if position == prepared.parts.test[2]:
            raise BadExample("no such file")
        file = io.BytesIO()
        Image.fromarray(np.full((300, 600, 3), 80, np.uint8)).save(file, "PNG")
        return file.getvalue()

    shown, _ = picked(replaced(prepared, large), planted(prepared, {0: 0.9, 2: 0.8}))
    assert Image.open(io.BytesIO(shown[0].thumbnail)).size == (THUMBNAIL, THUMBNAIL // 2)
    assert shown[1].thumbnail == b"" and shown[1].text == "" and shown[1].id


def test_of_a_text_its_beginning_is_shown_on_one_line(tmp_path: Path) -> None:
    rows = sentences(12)
    prepared = prepared_on(write_csv(tmp_path / "texts.csv", rows), "packaged:wordllama", engine="auto")
    test = prepared.parts.test
    texts = {test[0]: "short\n\n  one\ttext ", test[1]: "a" * TEXT_SHOWN, test[2]: "b " * TEXT_SHOWN}
    probabilities = np.full((len(test), 3), 0.1, np.float32)
    probabilities[:, 0] = np.linspace(0.3, 0.6, len(test))
    _, unsure = picked(replaced(prepared, lambda at: texts.get(at, "rest").encode()), probabilities)
    assert [shown.text for shown in unsure[:2]] == ["short one text", "a" * TEXT_SHOWN]
    assert len(unsure[2].text) == TEXT_SHOWN
    assert unsure[2].text.startswith("b b b") and unsure[2].text[-1] == "…"
    assert all(not shown.thumbnail for shown in unsure)
