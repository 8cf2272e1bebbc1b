"""Relatives, groups and folds on the way through `fit`: a small twin of field f31 that always runs."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fitted import prepared_on
from toy_texts import write_csv

import headstart as hs
from headstart.base.progress import Progress
from headstart.data.split import Parts
from headstart.fitting.folds import cross_validated
from headstart.run.prepare import PreparedData
from headstart.testing import PlantedSource, toy_stripes

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


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Return stripes in three directions, 16 a class, with the features of a source that knows them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        return prepared_on(toy_stripes(3, 16, noise=0.02), PlantedSource())


def relabelled(prepared: PreparedData, labels: list[str]) -> PreparedData:
    dataset = prepared.scan.dataset
    examples = tuple(replace(one, label=label) for one, label in zip(dataset.examples, labels, strict=True))
    scan = replace(prepared.scan, dataset=replace(dataset, examples=examples))
    return replace(prepared, extraction=replace(prepared.extraction, scan=scan))


def figures(prepared: PreparedData, folds: int = 3, seed: int = 0) -> dict[str, object]:
    return cross_validated(prepared, folds=folds, seed=seed, progress=Progress())


@pytest.mark.parametrize("folds", [2, 5])
def test_every_example_is_tested_once_whatever_part_it_was_in(stripes: PreparedData, folds: int) -> None:
    found = figures(stripes, folds)
    assert (found["count"], found["tested"]) == (folds, 48)
    accuracies = np.array(found["accuracies"])
    assert len(accuracies) == folds and found["mean"] == pytest.approx(accuracies.mean())
    assert found["spread"] == pytest.approx(accuracies.std(ddof=1)), "that of the folds, as a sample"
    pooled = found["accuracy"]
    assert isinstance(pooled, dict) and pooled["low"] < pooled["value"] <= pooled["high"]
    assert pooled["value"] > 0.85, "a source that knows stripes classifies them"


def test_what_was_left_out_of_the_parts_is_left_out_here(stripes: PreparedData) -> None:
    train, test = stripes.parts.train, stripes.parts.test
    fewer = replace(stripes, parts=Parts(train[::2], train[1:8:2], test, ()))
    assert figures(fewer)["tested"] == len({*train[::2], *train[1:8:2], *test})


def test_the_seed_draws_the_folds_and_the_same_one_the_same(stripes: PreparedData) -> None:
    rng = np.random.default_rng(0)
    noise = relabelled(stripes, [f"class{label}" for label in rng.integers(0, 3, 48)])
    one, again, other = (figures(noise, seed=seed) for seed in (0, 0, 1))
    assert one == again and one["accuracies"] != other["accuracies"]
    pooled = one["accuracy"]
    assert isinstance(pooled, dict) and pooled["low"] < 1 / 3 + 0.05, "labels at random stay at chance"


def test_a_class_in_one_group_is_never_tested_and_no_fold_is_made_up(stripes: PreparedData) -> None:
    dataset = stripes.scan.dataset
    examples = tuple(replace(one, group="all" if one.label == "class0" else None) for one in dataset.examples)
    scan = replace(stripes.scan, dataset=replace(dataset, examples=examples))
    grouped = replace(stripes, extraction=replace(stripes.extraction, scan=scan))
    assert figures(grouped, 2)["tested"] == 32


def test_copies_are_held_out_together(stripes: PreparedData) -> None:
    rng = np.random.default_rng(1)
    noise = relabelled(stripes, [f"class{label}" for label in rng.integers(0, 2, 16)] * 3)
    scan, extraction = noise.scan, noise.extraction
    hashes = tuple(scan.hashes[at % 16] for at in range(48))  # each content three times, under one label
    rows = extraction.row_of[np.arange(48) % 16]
    copies = replace(noise, extraction=replace(extraction, scan=replace(scan, hashes=hashes), row_of=rows))
    pooled = figures(copies, 4)["accuracy"]
    assert isinstance(pooled, dict) and pooled["value"] < 0.8, "a copy in the train part would give its label away"
