"""The page of a comparison says its verdict in full, and draws what was measured."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import Any

import numpy as np
from page_samples import compared, comparison

from headstart.judge.benefit.benefit import Benefit, compute_benefit
from headstart.judge.report.comparison_page import render_comparison


def page_of(benefit: Benefit, **more: Any) -> str:
    return html.unescape(render_comparison("ants_bees", comparison(benefit, **more))).replace("\N{NO-BREAK SPACE}", " ")


def test_the_verdict_is_not_cut_however_long_it_is() -> None:
    benefit = compared()
    assert len(benefit.sentence) > 300
    assert f'<p class="verdict">{benefit.sentence}</p>' in page_of(benefit)


def test_every_figure_has_its_section() -> None:
    page = page_of(compared())
    for heading in (
        "Accuracy of each arm",
        "Transfer benefit: initial accuracy, learning speed and final accuracy",
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
