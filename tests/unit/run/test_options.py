"""The options of fit, and those that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.base.errors import UsageError
from headstart.run.options import FitOptions
from headstart.tune.settings import Settings


def test_a_time_may_be_given_as_text_or_seconds() -> None:
    assert FitOptions(budget="10m").budget == FitOptions(budget=600).budget == 600.0
    with pytest.raises(UsageError, match="--budget must be a time"):
        FitOptions(budget="soon")


def test_columns_are_named_by_our_words() -> None:
    options = FitOptions(columns="path=file,group=patient", label_column="kind")
    assert options.column_names == {"path": "file", "group": "patient", "label": "kind"}
    assert FitOptions(columns={"text": "body"}).column_names == {"text": "body"}
    assert FitOptions().column_names is None
    with pytest.raises(UsageError, match="--columns must name columns"):
        FitOptions(columns="file,label=class")
    assert FitOptions(columns="label, title,text").column_names == {"header": ("label", "title", "text")}
    assert FitOptions(columns=["a", "b"], text_column="b").column_names == {"header": ("a", "b"), "text": ("b",)}
    assert FitOptions(text_column=["title", "body"], time_column="when").column_names == {
        "text": ("title", "body"),
        "time": "when",
    }


def test_a_budget_alone_means_auto() -> None:
    assert FitOptions().tuning == Settings()
    assert FitOptions(budget="1m").tuning == Settings("auto", budget=60.0)
    assert FitOptions(budget="1m", tune="none").tuning.mode == "none"
    tuning = FitOptions(tune="last:1", learning_rate=0.1, augmented_views=2, tensorboard="logs").tuning
    assert tuning == Settings("last:1", learning_rate=0.1, augmented_views=2, tensorboard=Path("logs"))


def test_the_size_is_that_of_a_keras_source_or_of_tuning() -> None:
    keras = FitOptions(source="keras:Xception", size=96)
    assert (keras.source_size, keras.tuning.size) == (96, None)
    other = FitOptions(source="timm:resnet18", size=96)
    assert (other.source_size, other.tuning.size) == (None, 96)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"engine": "abacus"}, "--engine must be one of auto, torch, openvino"),
        ({"long_texts": "drop"}, "--long-texts must be one of cut, chunks"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"labels_per_class": 1}, "--labels-per-class must be at least 2"),
        ({"tune": "everything"}, "--tune must be one of"),
        ({"epochs": 0}, "--epochs must be at least 1"),
        ({"label_smoothing": 1.0}, "--label-smoothing must be below 1"),
    ],
)
def test_values_that_cannot_be_are_refused_by_their_flag(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FitOptions(**values)


def test_whole_numbers_of_numpy_are_numbers() -> None:
    assert FitOptions(seed=np.int64(3), labels_per_class=np.int32(5)).labels_per_class == 5


def test_a_folder_of_other_things_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="name another folder"):
        FitOptions.for_run({"out": tmp_path, "data": "photos/"})
    assert FitOptions(out=tmp_path).checkpoints == tmp_path / "checkpoints"
