"""The page of a comparison says its verdict in full, and draws what was measured."""

from __future__ import annotations

import html
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from simulated import arms, simulate

from headstart.judge.benefit.benefit import Benefit, compute_benefit
from headstart.judge.benefit.results import ComparisonMeta
from headstart.judge.report.comparison_page import render_comparison


@cache
def compared(**failures: str) -> Benefit:
    levels = ((25, 5, 0.7, 0.5), (50, 10, 0.8, 0.6), (100, 20, 0.85, 0.7), (200, None, 0.9, 0.8))
    results = [
        simulate(arms(start=0.5, tuned=tuned, scratch=(0.3, scratch)), n=200, labels=labels, per_class=per_class)
        for labels, per_class, tuned, scratch in levels
    ]
    meta = ComparisonMeta("toy:source", "raw pixels with logistic regression", "photos")
    return compute_benefit(results, np.arange(200) % 5, meta, failures=failures)


def page_of(benefit: Benefit, **more: Any) -> str:
    result: dict[str, Any] = {
        "task": "image-classification",
        "source": "toy:source",
        "seed": 0,
        "seeds": {"5": 5, "all": 3},
        "budget": 600.0,
        "examples": {"train": 200, "test": 200, "skipped": 0, "ignored": 1},
        "classes": ["<a>", "b"],
        "engine": "torch",
        "warnings": ["<b>note</b>"],
        "seconds": {"total": 512.0},
        **benefit.as_dict(),
        **more,
    }
    return html.unescape(render_comparison("ants_bees", result)).replace("\N{NO-BREAK SPACE}", " ")


def test_the_verdict_is_not_cut_however_long_it_is() -> None:
    benefit = compared()
    assert len(benefit.sentence) > 300
    assert f'<p class="verdict">{benefit.sentence}</p>' in page_of(benefit)


def test_every_figure_has_its_section() -> None:
    page = page_of(compared())
    for heading in (
        "Accuracy of each arm",
        "Transfer benefit: start, slope and asymptote",
        "Accuracy over epochs",
        "Accuracy over training labels",
        "Training time of each arm",
        "Data and experimental set-up",
    ):
        assert f">{heading}</h2>" in page, heading
    assert page.count('class="band scratch"') == 2 and page.count('class="zero"') == 3
    assert "labels the source is as accurate as scratch with all of them" in page


def test_an_arm_that_failed_says_why() -> None:
    assert "failed: out of memory" in page_of(compared(frozen="out of memory"))


def test_accuracies_without_copies_of_training_photos_stand_beside_the_first__f31() -> None:
    (last,) = compared().results[-1:]
    related = last.tested & (np.arange(200) < 60)
    benefit = compute_benefit([replace(last, related=related)], np.arange(200) % 5, compared().meta)
    page = page_of(benefit, relatives={"test": 60})
    value = benefit.as_dict()["arms"]["tuned"]["accuracy_without_relatives"]["value"]
    assert "60 of the test photos have a copy or near copy in the train part. Without them the accuracy is" in page
    assert f"{100 * value:.1f} % (" in page
    whole = compute_benefit([replace(last, related=last.tested)], np.arange(200) % 5, compared().meta)
    assert "None are left without them." in page_of(whole, relatives={"test": 200})
