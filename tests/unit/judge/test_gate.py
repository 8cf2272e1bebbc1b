"""The gate lets pass what beats both baselines beyond the interval, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.judge.gate import judge_gate

Y = np.arange(200) % 2


def answers(right: int, *, last: bool = False) -> np.ndarray:
    """Return probabilities that name the first, or the last, `right` examples right and the others wrong."""
    at = np.arange(len(Y))
    named = np.where((at[::-1] if last else at) < right, Y, 1 - Y)
    return np.eye(2)[named]


@pytest.mark.parametrize(("network", "simple", "passed"), [(160, 120, True), (125, 120, False), (110, 190, False)])
def test_only_what_is_better_beyond_the_interval_passes(network: int, simple: int, passed: bool) -> None:
    gate = judge_gate(answers(network), np.tile([0.6, 0.4], (200, 1)), answers(simple, last=True), Y, seed=0)
    assert gate.passed == passed
    assert gate.majority == 0.5 and gate.simple == simple / 200
    assert gate.as_dict()["accuracy"]["value"] == network / 200


def test_a_network_no_better_than_the_commonest_class_does_not_pass() -> None:
    assert not judge_gate(answers(104), np.tile([0.6, 0.4], (200, 1)), answers(20), Y, seed=0).passed


def test_the_sentence_states_each_figure_with_its_interval() -> None:
    gate = judge_gate(answers(110), np.tile([0.6, 0.4], (200, 1)), answers(190, last=True), Y, seed=0)
    sentence = gate.sentence("recordings", 200, "MFCC with logistic regression")
    assert sentence.startswith("55.0 % [48.1, 61.7] of 200 test recordings are classified correctly, -40.0 points [")
    assert sentence.endswith("(95.0 %); always predicting the most frequent class gives 50.0 %.")


def test_what_beats_the_baselines_by_near_copies_alone_does_not_pass__f31() -> None:
    related = np.arange(200) < 150
    network, majority, simple = answers(150), np.tile([0.6, 0.4], (200, 1)), answers(100, last=True)
    assert judge_gate(network, majority, simple, Y, seed=0).passed
    gate = judge_gate(network, majority, simple, Y, seed=0, related=related)
    assert not gate.passed and gate.without is not None and gate.without.value == 0
    assert "without the 150 that have a copy or near copy in the train part" in gate.sentence("photos", 200, "pixels")


def test_clusters_of_the_test_part_widen_every_interval__f31() -> None:
    given = answers(130), np.tile([0.6, 0.4], (200, 1)), answers(90)
    plain = judge_gate(*given, Y, seed=0)
    grouped = judge_gate(*given, Y, seed=0, clusters=np.arange(200) // 10)
    assert plain.passed and grouped.accuracy.value == plain.accuracy.value
    assert grouped.accuracy.low < plain.accuracy.low and grouped.over_simple.low < plain.over_simple.low
