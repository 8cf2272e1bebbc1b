"""12-bit values in 16-bit files: the same photos are classified as well as in 8 bits, by fit and by the bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import headstart as hs


@pytest.mark.shared
@pytest.mark.slow
def test_twelve_bits_are_as_good_as_eight__f36(made: Callable[[str], Path], tmp_path: Path) -> None:
    made("f36")
    models = {name: hs.fit(tmp_path / name) for name in ("eight", "twelve")}
    accuracy = {name: model.report["test"]["accuracy"]["value"] for name, model in models.items()}
    assert abs(accuracy["eight"] - accuracy["twelve"]) <= 0.03
    assert any("one range" in note for note in models["twelve"].report["warnings"])
    models["twelve"].save(tmp_path / "bundle")
    files = sorted((tmp_path / "twelve" / "test").rglob("*.png"))
    alone = hs.load(tmp_path / "bundle").predict_proba([str(files[0])])
    assert alone == pytest.approx(models["twelve"].predict_proba([str(file) for file in files])[:1], abs=0.02)
