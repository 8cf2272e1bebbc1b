"""The verdict follows from what was planted; what was not planted is not claimed; every figure is as it is defined."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from simulated import EPOCHS, arms, curve, simulate

from headstart.judge.benefit.benefit import Benefit, compute_benefit
from headstart.judge.benefit.gains import FROZEN, SCRATCH, SIMPLE, START, TUNED, compute_labels_saved, labels_to_reach
from headstart.judge.benefit.results import (
    ArmResults,
    ComparisonMeta,
    LearningCurve,
    Outcome,
    is_flat,
    measured_epochs,
    stack_seeds,
)

META = ComparisonMeta("toy:source", "raw pixels with logistic regression", "photos")


def judged(*results: ArmResults, meta: ComparisonMeta = META, **more: Any) -> Benefit:
    n = results[0].tested.shape[1]
    return compute_benefit(results, np.arange(n) % 5, meta, ids=[str(at) for at in range(n)], **more)


def test_a_planted_benefit_is_found_and_said() -> None:
    found = judged(simulate(arms(start=0.8, frozen=0.85, tuned=0.9, scratch=(0.3, 0.75)), n=300))
    assert found.verdict == "benefit"
    assert found.start is not None and found.start.low > 0.3
    assert found.asymptote is not None and 0.05 < found.asymptote.value < 0.25
    assert found.sentence.startswith(
        "Use the source, tuned: compared with the same network trained from scratch, its accuracy starts at +5"
    )
    assert "reaches before any training the level at which scratch ends after 40 epochs" in found.sentence
    assert found.gains[-1].reached
    assert repr(found) == f"Benefit(benefit: {found.sentence})"
    page = found._repr_html_()
    assert "Transfer benefit · benefit" in page and "Final accuracy (asymptote)" in page and "starts at +5" in page


def test_a_planted_harm_is_found_and_said() -> None:
    found = judged(simulate(arms(start=0.4, frozen=0.6, tuned=0.65, scratch=(0.4, 0.9)), n=150))
    assert found.verdict == "harm"
    assert "Do not use this source: compared with the same network trained from scratch, its accuracy" in found.sentence
    assert " ends at -3" in found.sentence


def test_no_network_above_the_simple_baseline_is_the_verdict_whatever_scratch_does() -> None:
    found = judged(simulate(arms(simple=0.9, start=0.7, frozen=0.75, tuned=0.78, scratch=(0.3, 0.5)), n=300))
    assert found.verdict == "baseline"
    assert found.sentence.startswith(
        "Do not use this source: the accuracy of raw pixels with logistic regression exceeds "
    )
    even = judged(simulate(arms(simple=0.8, start=0.7, frozen=0.8, tuned=0.8, scratch=(0.3, 0.8)), n=60))
    assert even.verdict == "baseline"
    assert "no network is shown to be more accurate than raw pixels with logistic regression" in even.sentence


def test_what_cannot_be_told_apart_is_not_and_the_smallest_difference_is_said() -> None:
    found = judged(simulate(arms(start=0.6, frozen=0.8, tuned=0.8, scratch=(0.6, 0.8)), n=60, seed=3))
    assert found.verdict == "none"
    assert found.asymptote is not None
    assert "No difference is shown" in found.sentence and found.sentence.endswith("80 times in 100.")


NULLS = {
    "two scratch arms": {"simple": 0.3, "start": 0.4, "frozen": 0.7, "tuned": 0.7, "scratch": (0.4, 0.7)},
    "permuted labels": {"simple": 0.2, "start": 0.2, "frozen": 0.2, "tuned": 0.2, "scratch": (0.2, 0.2)},
}


def verdicts(true: dict[str, Any], rounds: int, seeds: Sequence[int] = (5,), n: int = 100) -> Counter[str]:
    return Counter(
        judged(simulate(arms(**true), n=n, seeds=seeds[at % len(seeds)], seed=at)).verdict for at in range(rounds)
    )


@pytest.mark.slow
@pytest.mark.parametrize("true", NULLS.values(), ids=list(NULLS))
def test_of_100_nulls_at_most_7_are_claimed(true: dict[str, Any]) -> None:
    said = verdicts(true, 100, seeds=(3, 5))
    assert said["benefit"] + said["harm"] <= 7


@pytest.mark.slow
def test_of_100_planted_benefits_95_are_found() -> None:
    true = {"simple": 0.4, "start": 0.6, "frozen": 0.75, "tuned": 0.8, "scratch": (0.3, 0.65)}
    assert verdicts(true, 100, seeds=(3, 5))["benefit"] >= 95


def test_of_a_few_nulls_next_to_none_is_claimed() -> None:
    said = verdicts(NULLS["two scratch arms"], 8, n=60)
    assert said["benefit"] + said["harm"] <= 2


def test_labels_saved_and_the_area_between_the_curves() -> None:
    numbers = (25, 50, 100, 200)
    results = [
        replace(
            simulate(arms(start=0.5, frozen=0.5, tuned=high, scratch=(0.3, low)), n=200, seed=9, labels=labels),
            per_class=None if labels == 200 else labels // 5,
        )
        for labels, high, low in zip(numbers, (0.7, 0.8, 0.85, 0.9), (0.5, 0.6, 0.7, 0.8), strict=True)
    ]
    found = judged(*results)
    assert found.saved is not None and found.saved.needed is not None
    assert 30 < found.saved.needed < 75 and not found.saved.at_least
    assert found.saved.count.value == pytest.approx(200 - found.saved.needed)
    assert found.saved.count.low > 50
    assert 0.1 < found.saved.area.value < 0.22
    assert f"With about {found.saved.needed:,.0f} labels it is as accurate as scratch with 200." in found.sentence
    assert found.last_step is not None and found.last_step.value > 0
    assert "Label about 200 more" in found.sentence


def test_where_a_curve_crosses_what_is_wanted() -> None:
    labels = np.array([10.0, 20.0, 40.0])
    curves = np.array([[0.5, 0.7, 0.9], [0.8, 0.7, 0.9], [0.1, 0.2, 0.3], [0.5, 0.7, 0.9]])
    found = labels_to_reach(curves, np.array([0.6, 0.75, 0.9, 0.9]), labels)
    np.testing.assert_allclose(found, [10 * 2**0.5, 10, 40, 40])


def flat(levels: Sequence[float], cut: bool = False) -> bool:
    right = np.zeros((1, len(EPOCHS), 1000), np.bool_)
    for at, level in enumerate(levels):
        right[0, at, : round(1000 * level)] = True
    result = LearningCurve(EPOCHS, right, right.astype(np.float32), np.ones((1, len(EPOCHS))), cut, "")
    return is_flat(result, np.ones((1, 1000), np.bool_))


def test_a_curve_is_flat_by_the_stated_rule() -> None:
    assert flat(curve(0.3, 0.8, 4))
    assert not flat(curve(0.3, 0.8, 30)), "still rising"
    assert not flat(curve(0.3, 0.8, 4), cut=True), "it ended before it was meant to"
    assert flat(curve(0.8, 0.3, 30)), "what falls does not rise"


def test_the_slope_is_that_of_the_line_through_the_first_quarter() -> None:
    made = simulate(arms(start=0.2, frozen=0.5, tuned=0.9, scratch=(0.2, 0.5)), n=500)
    found = judged(made)
    until = found.gains[-1].slope_epochs
    assert until == 10
    points = until >= EPOCHS
    lines = [
        np.polyfit(EPOCHS[points], made.arms[name].right[:, points].mean(axis=(0, 2)), 1)[0]
        for name in (TUNED, SCRATCH)
    ]
    assert found.slope is not None and found.slope.value == pytest.approx(lines[0] - lines[1])
    assert found.slope.low > 0


def without(made: ArmResults, *names: str) -> ArmResults:
    return replace(made, arms={name: one for name, one in made.arms.items() if name not in names})


def test_an_arm_that_is_missing_leaves_the_others() -> None:
    made = simulate(arms(start=0.8, frozen=0.85, tuned=0.9, scratch=(0.3, 0.75)), n=150)
    frozen = judged(without(made, TUNED))
    assert frozen.verdict == "benefit" and frozen.gains[-1].transfer == FROZEN
    assert frozen.slope is None and frozen.as_dict()["slope"]["value"] is None
    alone = judged(without(made, SCRATCH), failures={SCRATCH: "out of memory"})
    assert alone.verdict == "unanswered" and alone.gains[-1].control == SIMPLE
    assert alone.start is None and alone.gains[-1].threshold is None
    assert alone.sentence.startswith("Not answered: scratch was not trained; better than raw pixels with logistic ")
    assert alone.as_dict()["arms"]["scratch"] == {"error": "out of memory"}
    for one in (frozen, alone):
        json.dumps(one.as_dict(), allow_nan=False)
        assert one.as_text()


def test_start_and_asymptote_are_minus_what_scratch_has_at_both_ends() -> None:
    made = simulate(arms(start=0.6, frozen=0.7, tuned=0.8, scratch=(0.3, 0.7)), n=200)
    found = judged(made)
    right = {name: one.right for name, one in made.arms.items()}
    assert found.start is not None and found.asymptote is not None
    assert found.start.value == pytest.approx(right[START][:, 0].mean() - right[SCRATCH][:, 0].mean())
    tail = EPOCHS >= 32
    assert found.asymptote.value == pytest.approx(right[TUNED][:, tail].mean() - right[SCRATCH][:, tail].mean())
    said = found.as_dict()
    assert {"value", "low", "high", "detectable", "reached"} <= said["asymptote"].keys()
    assert set(said["arms"]) == {"baseline", "scratch", "frozen", "tuned"}
    assert said["arms"]["baseline"]["accuracy"]["value"] == pytest.approx(right[SIMPLE].mean())
    assert all(len(line) <= 80 for line in found.as_text().splitlines()[1:])


def test_the_epochs_that_are_measured_lie_ever_farther_apart() -> None:
    assert measured_epochs(0) == {0}
    assert measured_epochs(3) == {0, 1, 2, 3}
    found = measured_epochs(120)
    assert {0, 1, 2, 3, 4, 5, 120} <= found and len(found) <= 26
    assert len([one for one in found if one >= 96]) >= 2, "the tail is not left to one point"
    assert {0, 1, 2, 120} <= measured_epochs(120, 1.6) and len(measured_epochs(120, 1.6)) <= 13


def test_slopes_need_two_measured_points_of_both_curves() -> None:
    made = simulate(arms(scratch=(0.3, 0.7)), n=50)
    sparse = made.arms[SCRATCH]
    late = replace(sparse, epochs=np.array([0, 50]), right=sparse.right[:, :2], loss=sparse.loss[:, :2])
    late = replace(late, seconds=sparse.seconds[:, :2])
    found = judged(replace(made, arms={**made.arms, SCRATCH: late}))
    assert found.slope is None and found.as_dict()["slope"]["value"] is None
    json.dumps(found.as_dict(), allow_nan=False)


def test_seeds_that_ended_at_other_epochs_stand_side_by_side() -> None:
    def outcome(epochs: list[int], *, cut: bool) -> Outcome:
        right = np.array([[at % 2 == 0, True] for at in range(len(epochs))])
        return Outcome(np.array(epochs), right, right.astype(np.float32), np.array(epochs, float), cut=cut)

    found = stack_seeds(
        [outcome([0, 1, 2], cut=False), outcome([0, 2], cut=True)], [np.array([0, 1]), np.array([1, 2])], 3
    )
    assert found.epochs.tolist() == [0, 1, 2] and found.cut
    assert found.right[0].tolist() == [[True, True, False], [False, True, False], [True, True, False]]
    assert found.right[1].tolist() == [[False, True, True], [False, True, True], [False, False, True]]
    assert found.seconds.tolist() == [[0, 1, 2], [0, 0, 2]]


def test_the_drawing_shows_both_curves_and_the_benefits() -> None:
    results = [
        replace(simulate(arms(scratch=(0.3, low)), n=100, labels=labels), per_class=None)
        for labels, low in ((50, 0.5), (100, 0.6))
    ]
    drawing = ElementTree.fromstring(judged(*results).as_svg())
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    classes = Counter(part.get("class", "") for part in drawing.iter())
    assert classes["band scratch"] == classes["line scratch"] == 2, "over epochs and over labels"
    assert classes["line baseline"] == 2 and classes["zero"] == 3


def test_intervals_of_a_benefit_are_those_of_clusters__f31() -> None:
    results = simulate(arms(start=0.6, frozen=0.76, tuned=0.78, scratch=(0.5, 0.62)), n=200)
    random = np.random.default_rng(0)
    copies = random.integers(0, 40, 200)  # 200 examples of which only 40 differ
    names = (TUNED, FROZEN, SCRATCH, SIMPLE, START)
    alike = replace(
        results,
        arms={name: replace(results.arms[name], right=results.arms[name].right[:, :, copies]) for name in names},
    )
    alone, clustered = judged(alike), judged(replace(alike, clusters=copies))
    assert alone.asymptote is not None and clustered.asymptote is not None
    assert clustered.asymptote.value == pytest.approx(alone.asymptote.value)
    assert clustered.asymptote.detectable > 1.4 * alone.asymptote.detectable


def test_nothing_is_claimed_where_the_accuracy_rests_on_copies__f31() -> None:
    results = simulate(arms(start=0.8, frozen=0.85, tuned=0.9, scratch=(0.3, 0.75)), n=300)
    copied, tuned = np.arange(300) < 250, results.arms[TUNED]
    assert judged(replace(results, related=results.tested & (np.arange(300) < 30))).verdict == "benefit"
    by_heart = replace(tuned, right=np.broadcast_to(copied, tuned.right.shape))
    leaking = replace(results, arms={**results.arms, TUNED: by_heart}, related=results.tested & copied)
    found = judged(leaking)
    assert found.gains[-1].transfer == TUNED or found.verdict != "none"
    without = found.as_dict()["arms"][TUNED]["accuracy_without_relatives"]
    assert without["value"] == 0
    wholly = judged(replace(results, related=results.tested))
    assert wholly.verdict == "none" and wholly.sentence.startswith(
        "Nothing is claimed of this source: its accuracy is "
    )
    assert wholly.sentence.endswith("every one of them has a copy or near copy in the train part.")


def test_no_labels_are_saved_from_one_seed_or_from_a_curve_that_still_rises() -> None:
    made = [
        replace(simulate(arms(start=0.6, frozen=frozen, scratch=(0.3, scratch)), n=200), labels=labels)
        for labels, frozen, scratch in ((50, 0.75, 0.5), (200, 0.85, 0.7))
    ]

    def saved(results: list[ArmResults]) -> object:
        return compute_labels_saved(results, FROZEN, overlap=0.0, seed=0)

    assert saved(made) is not None
    assert saved([one.first_seeds(1) for one in made]) is None
    rising = {**made[1].arms, SCRATCH: replace(made[1].arms[SCRATCH], cut=True)}
    assert saved([made[0], replace(made[1], arms=rising)]) is None
    assert saved(made[:1]) is None and saved([]) is None


def test_of_two_arms_as_accurate_the_frozen_source_stands_for_it() -> None:
    made = simulate(arms(start=0.6, frozen=0.8, scratch=(0.3, 0.6)), n=200)
    same = replace(made, arms={**made.arms, TUNED: made.arms[FROZEN]})
    assert judged(same).gains[-1].transfer == FROZEN
