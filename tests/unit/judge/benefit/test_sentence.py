"""The sentence says what was measured, in points, the right way round; the table has a line for what is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from headstart.judge.benefit.gains import FROZEN, SCRATCH, SIMPLE, TUNED, Gains, LabelsSaved, TimeToThreshold
from headstart.judge.benefit.results import ArmResults, ComparisonMeta, LearningCurve
from headstart.judge.benefit.sentence import format_points, sentence, table
from headstart.judge.crossed import Estimate

META = ComparisonMeta("toy:source", "raw pixels", "photos")
UP, DOWN = Estimate(0.123, 0.051, 0.195, 0.07), Estimate(-0.123, -0.195, -0.051, 0.07)
LEVEL = Estimate(0.004, -0.02, 0.028, 0.031)
SIMPLE_CURVE = LearningCurve(
    np.zeros(1, np.int64),
    np.array([[[True] * 3 + [False]]]),
    np.zeros((1, 1, 4), np.float32),
    np.zeros((1, 1)),
    cut=False,
    note="",
)
RESULTS = ArmResults(None, 400, {SIMPLE: SIMPLE_CURVE}, np.ones((1, 4), bool))


def gains(**values: Any) -> Gains:
    plain: dict[str, Any] = dict.fromkeys(("start", "slope", "asymptote", "threshold"))
    plain |= {"per_class": None, "labels": 400.0, "transfer": FROZEN, "control": SCRATCH, "slope_epochs": 0}
    plain |= {"reached": True, "balanced": (None, None), "loss": (None, None), "over_simple": {}, "asymptotes": {}}
    return Gains(**plain | values)


def says(verdict: str, measured: Gains, *, saved: LabelsSaved | None = None, last_step: Estimate | None = None) -> str:
    return sentence(verdict, measured, RESULTS, META, saved=saved, last_step=last_step)


@pytest.mark.parametrize(
    ("difference", "points"),
    [
        (0.01, "1.0 point"),
        (-0.01, "1.0 point"),
        (0.0104, "1.0 point"),
        (0.02, "2.0 points"),
        (0.123, "12 points"),
        (0, "0.0 points"),
    ],
)
def test_a_difference_is_given_in_points_without_its_sign(difference: float, points: str) -> None:
    assert format_points(difference) == points


def test_a_benefit_at_start_and_end_is_one_sentence() -> None:
    assert says("benefit", gains(start=UP, asymptote=UP)) == (
        "Use the source: compared with the same network trained from scratch, its accuracy starts at +12.3 points "
        "[+5.1, +19.5], and ends at +12.3 points [+5.1, +19.5]."
    )
    tuned = says("benefit", gains(start=LEVEL, asymptote=UP, transfer=TUNED))
    assert tuned.startswith("Use the source, tuned: ") and "starts" not in tuned


def test_a_curve_that_still_rises_ends_at_least_where_it_is() -> None:
    results = replace(RESULTS, arms={**RESULTS.arms, SCRATCH: replace(SIMPLE_CURVE, cut=True)})
    text = sentence("benefit", gains(asymptote=UP, reached=False), results, META, saved=None, last_step=None)
    assert text.endswith("ends at +12.3 points [+5.1, +19.5] (scratch, still rising, ends at 75.0% at least).")


@pytest.mark.parametrize(
    ("epoch", "ends", "clause"),
    [
        (0, 40, "reaches before any training the level at which scratch ends after 40 epochs"),
        (1, 1, "reaches after 1 epoch the level at which scratch ends after 1 epoch"),
        (None, 40, None),
        (3, 0, None),
    ],
)
def test_when_the_level_of_scratch_is_reached_is_said_where_it_is(
    epoch: int | None, ends: int, clause: str | None
) -> None:
    text = says("benefit", gains(asymptote=UP, threshold=TimeToThreshold(epoch, 1.0, ends, 9.0)))
    assert clause in text if clause is not None else "reaches" not in text


def test_an_end_that_shows_nothing_names_the_number_of_test_examples() -> None:
    text = says("benefit", gains(start=UP, asymptote=LEVEL))
    assert "and ends with no difference that 4 test photos can show (+0.4 points [-2.0, +2.8])." in text


def test_without_scratch_the_source_is_compared_with_the_simple_baseline() -> None:
    text = says("unanswered", gains(control=SIMPLE, asymptote=UP))
    assert text == "Not answered: scratch was not trained; better than raw pixels by +12.3 points [+5.1, +19.5]."


def test_harm_has_its_sign_at_the_value_and_at_either_end_of_the_interval() -> None:
    assert says("harm", gains(start=DOWN, asymptote=DOWN)) == (
        "Do not use this source: compared with the same network trained from scratch, its accuracy starts at -12.3 "
        "points [-19.5, -5.1] and ends at -12.3 points [-19.5, -5.1]."
    )


def test_no_difference_names_both_and_the_smallest_that_would_show() -> None:
    assert says("none", gains(start=LEVEL._replace(detectable=0.05), asymptote=LEVEL)) == (
        "No difference is shown: compared with the same network trained from scratch, the source differs in accuracy "
        "by +0.4 points [-2.0, +2.8] at the start and +0.4 points [-2.0, +2.8] at the end; an experiment of this size "
        "shows a true difference of 3.1 points 80 times in 100."
    )
    assert "at the start" not in says("none", gains(asymptote=LEVEL))


def test_the_baseline_is_compared_with_the_best_network() -> None:
    worse = says("baseline", gains(over_simple={SCRATCH: Estimate(-0.3, -0.4, -0.2, 0.1), FROZEN: DOWN}))
    assert worse == (
        "Do not use this source: the accuracy of raw pixels exceeds that of the frozen source by +12.3 "
        "points [+5.1, +19.5]."
    )
    even = says("baseline", gains(over_simple={TUNED: LEVEL, SCRATCH: DOWN}))
    assert even.startswith(
        "Do not count on this source: no network is shown to be more accurate than raw pixels (75.0%)"
    )
    assert "the best of them, the tuned source, differs by +0.4 points [-2.0, +2.8]" in even


def test_labels_saved_are_said_with_a_benefit_whose_interval_is_above_none() -> None:
    saved = LabelsSaved(Estimate(300, 100, 350, 50), 1234.0, at_least=False, area=UP)
    end = " With about 1,234 labels it is as accurate as scratch with 400."
    assert says("benefit", gains(asymptote=UP), saved=saved).endswith(end)
    bound = replace(saved, at_least=True)
    assert says("benefit", gains(asymptote=UP), saved=bound).endswith(end.replace("about", "at most"))
    for none in (replace(saved, needed=None), replace(saved, count=Estimate(300, -1, 350, 50))):
        assert "With" not in says("benefit", gains(asymptote=UP), saved=none)
    assert "With" not in says("harm", gains(asymptote=DOWN), saved=saved)


def test_more_labels_are_advised_only_where_accuracy_still_rises() -> None:
    text = says("none", gains(asymptote=LEVEL), last_step=Estimate(0.031, 0.01, 0.052, 0.02))
    assert text.endswith(
        " Label about 400 more: accuracy still rises with the number of labels, by +3.1 points [+1.0, +5.2] "
        "over the last step."
    )
    assert "Label" not in says("none", gains(asymptote=LEVEL), last_step=LEVEL)


def result(**values: Any) -> dict[str, Any]:
    empty = {"value": None, "low": None, "high": None}
    plain: dict[str, Any] = {"arms": {}, "start": empty, "slope": empty, "asymptote": {**empty, "reached": True}}
    return plain | {"labels_saved": {**empty, "at_least": False}} | values


def arm(value: float, *, epochs: int = 0, reached: bool = True) -> dict[str, Any]:
    accuracy = {"value": value, "low": value - 0.05, "high": value + 0.05}
    loss = {"value": 0.5, "low": 0.4, "high": 0.6}
    return {"accuracy": accuracy, "log_loss": loss, "epochs": epochs, "seconds_a_run": 1.25, "reached": reached}


def test_the_table_has_a_line_for_each_arm_and_each_benefit_that_is_there() -> None:
    arms = {
        "baseline": arm(0.5),
        "scratch": arm(0.75, epochs=20, reached=False),
        "tuned": {"error": "no memory"},
        "x": {},
    }
    saved = {"value": 1200.0, "low": 300.0, "high": 1500.0, "at_least": True}
    shown = table(
        result(arms=arms, asymptote={"value": 0.1, "low": -0.02, "high": 0.22, "reached": False}, labels_saved=saved)
    )
    assert [" ".join(line.split()) for line in shown] == [
        "arm accuracy 95 % interval log loss epochs seconds",
        "simple baseline 50.0% 45.0% to 55.0% 0.500 - 1.2",
        "scratch >=75.0% 70.0% to 80.0% 0.500 20 1.2",
        "tuned failed",
        "",
        "benefit points 95 % interval",
        "final accuracy (asymptote), still rising +10.0 -2.0 to +22.0",
        "labels saved >=1,200 300 to 1,500",
    ]
    assert len({len(line) for line in shown[:4]}) == 1 and table(result())[-1] == ""
