"""Relatives, groups and folds on the way through `fit`: a small twin of field f31 that always runs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from toy_texts import write_csv

import headstart as hs

WORDS = [a + b + c for a in ("mor", "tel", "gan", "vis") for b in ("i", "o", "u") for c in ("da", "ker", "len", "sta")]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Return a table of 40 texts, each in three versions, with labels that have nothing to do with them."""
    rng = random.Random(0)
    rows = []
    for _ in range(40):
        text, label = " ".join(rng.choices(WORDS, k=9)), rng.choice(["yes", "no"])
        rows += [(text, label), (text.upper() + " !", label), (text + " thank you", label)]
    return write_csv(tmp_path / "noise.csv", rows)


def test_noise_in_three_versions_stays_at_chance__f31(noise: Path, cache: Path) -> None:
    report = hs.fit(noise, source="packaged:wordllama", folds=3).report
    assert (report["relatives"]["examples"], report["relatives"]["clusters"]) == (120, 40)
    assert report["relatives"]["test"] == 0
    assert report["test"]["accuracy"]["low"] < 0.55
    folds = report["folds"]
    assert (folds["count"], folds["tested"], len(folds["accuracies"])) == (3, 120, 3)
    assert abs(folds["mean"] - 0.5) < 0.2 and folds["spread"] >= 0
