"""The choice of a head is made once: the second run of the same data gives the very same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_texts import sentences, write_csv

import headstart as hs
from headstart.fitting import predictor
from headstart.run import baseline
from headstart.run.baseline import remembered_choice
from headstart.testing import toy_photos


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count how often a head is chosen and a baseline fitted."""
    calls: dict[str, int] = {}

    def counting(name: str, plain: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            return plain(*args, **kwargs)

        return call

    choose = predictor.choose_layer_and_head
    monkeypatch.setattr(predictor, "choose_layer_and_head", counting("choose_head", choose))
    monkeypatch.setattr(baseline, "fit_text_baseline", counting("fit_text_baseline", baseline.fit_text_baseline))
    monkeypatch.setattr(baseline, "fit_simple", counting("fit_simple", baseline.fit_simple))
    return calls


def test_texts_are_chosen_for_once(tmp_path: Path, cache: Path, counted: dict[str, int]) -> None:
    table = write_csv(tmp_path / "topics.csv", sentences(12))
    first = hs.fit(table, source="packaged:wordllama")
    second = hs.fit(table, source="packaged:wordllama")
    assert counted == {"choose_head": 1, "fit_text_baseline": 1}
    first_report, second_report = ({**model.report, "seconds": 0, "cache": 0} for model in (first, second))
    assert first_report == second_report
    for name in ("weight", "bias"):
        np.testing.assert_array_equal(getattr(first.head, name), getattr(second.head, name))
    texts = [text for text, _ in sentences(2, seed=3)]
    np.testing.assert_array_equal(first.predict_proba(texts), second.predict_proba(texts))
    hs.fit(table, source="packaged:wordllama", seed=1)
    assert counted == {"choose_head": 2, "fit_text_baseline": 2}


def test_photos_too_and_other_labels_are_another_choice(tmp_path: Path, cache: Path, counted: dict[str, int]) -> None:
    photos = toy_photos(tmp_path / "photos", classes=2, per_class=12, seed=0)
    how: dict[str, Any] = {"source": "arch:lenet5", "weights": "none", "engine": "torch"}
    first, second = hs.fit(photos, **how), hs.fit(photos, **how)
    assert counted == {"choose_head": 1, "fit_simple": 1}
    np.testing.assert_array_equal(first.head.weight, second.head.weight)
    assert first.report["baselines"] == second.report["baselines"]
    (photos / sorted(path.name for path in photos.iterdir())[0]).rename(photos / "zebra")
    hs.fit(photos, **how)
    assert counted["choose_head"] == 2


def test_a_choice_is_made_again_by_other_code_and_of_other_numbers(cache: Path) -> None:
    made: list[int] = []

    def choose() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        made.append(len(made))
        return {"made": made[-1]}, {}

    for numbers, code in ((3, 1), (3, 1), (3, 2), (4, 2), (3, 1)):
        values, _ = remembered_choice("head", [np.arange(numbers)], {}, choose, version_of_code=code)
    assert (made, values["made"]) == ([0, 1, 2], 0)
