"""The model card is valid for the hub, says what it must, and shows hostile labels as text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from headstart.base.errors import one_line
from headstart.engines.base import Block
from headstart.ship import card
from headstart.ship.bundle import Calibration, DataIdentity, HeadIdentity, Manifest, SourceIdentity

MANIFEST = Manifest(
    task="image-classification",
    classes=["ants", "bees"],
    source=SourceIdentity("packaged:toy", "toy 1.0", "0" * 64, "Apache-2.0", "run: pip install toy==1.0"),
    preprocessing={"size": [224, 224]},
    layer="joined",
    blocks=[Block("pool", 4)],
    head=HeadIdentity("ridge", 0.5),
    calibration=Calibration(1.25),
    data=DataIdentity("ants_bees", "1" * 64),
    versions={"headstart": "0.1.0"},
)
RESULT: dict[str, Any] = {
    "task": "image-classification",
    "seed": 3,
    "examples": {"train": 244, "test": 153},
    "test": {
        "accuracy": {"value": 0.948, "low": 0.901, "high": 0.974},
        "macro_f1": {"value": 0.94, "low": 0.9, "high": 0.97},
        "log_loss": {"value": 0.2, "low": 0.1, "high": 0.3},
    },
    "baselines": {"majority": 0.5425, "simple": 0.61},
}


def test_the_hub_reads_it() -> None:
    parsed = ModelCard(card.bundle_card(MANIFEST, RESULT))
    data = parsed.data
    assert data.library_name == "headstart"
    assert data.pipeline_tag == "image-classification"
    assert data.license is None
    assert "headstart" in data.tags
    assert data.eval_results is not None
    found = {result.metric_name: result.metric_value for result in data.eval_results}
    assert found == {"Accuracy": 0.948, "Macro F1": 0.94, "Log loss": 0.2}
    assert data.eval_results[0].dataset_split == "test"


def test_a_card_of_texts_has_a_widget_for_the_page_of_the_hub_and_no_other_has_one() -> None:
    header = yaml.safe_load(card.bundle_card(replace(MANIFEST, task="text-classification"), RESULT).split("---")[1])
    assert [{"text": str}] == [{name: type(value) for name, value in one.items()} for one in header["widget"]]
    assert "widget" not in yaml.safe_load(card.bundle_card(MANIFEST, RESULT).split("---")[1])


def test_it_says_what_it_must() -> None:
    text = card.bundle_card(MANIFEST, RESULT)
    for words in (
        "94.8 % | 90.1 % to 97.4 %",
        "54.2 %",
        "61.0 %",
        "153 test examples",
        "not in this bundle",
        "pip install toy==1.0",
        "Apache-2.0",
        "hs.load",
        "headstart predict",
        "other cameras",
    ):
        assert words in text, words


def test_source_inside_and_source_on_the_hub() -> None:
    inside = replace(MANIFEST, source=replace(MANIFEST.source, included=True, uri="hf:org/name@abc"))
    text = card.bundle_card(inside, RESULT)
    assert "This bundle holds everything" in text
    assert ModelCard(text).data.base_model == "org/name"


@pytest.mark.parametrize(
    "label",
    [
        "<script>alert(1)</script>",
        "{{7*7}}",
        "\x1b[31mred",
        "a\n---\nlicense: evil",
        "[x](javascript:1)",
        "`a`|b",
        "\udc80",
    ],
)
def test_hostile_labels_are_text__TXT_07(label: str) -> None:
    hostile = replace(
        MANIFEST,
        classes=[label, "other"],
        data=DataIdentity(label, "1"),
        source=replace(MANIFEST.source, licence=label, get=label, uri=f"packaged:{label}"),
    )
    text = card.bundle_card(hostile, RESULT)
    parsed = ModelCard(text)
    assert parsed.data.license is None
    assert parsed.data.to_dict()["model-index"][0]["name"] == one_line(label)
    html = MarkdownIt().render(parsed.text)
    assert "<script" not in html
    assert "<a " not in html
    assert "\x1b" not in text
    assert html.count("<h1>") == 1


@given(st.text())
def test_any_text_survives_yaml(text: str) -> None:
    header = card._metadata(
        text, "image-classification", text, {"accuracy": 0.5}, metrics=["accuracy"], base_model=text
    )
    found = yaml.safe_load(header.strip().removeprefix("---").removesuffix("---"))
    assert found["model-index"][0]["name"] == (one_line(text) or "data")
    assert found["tags"][-1] == found["base_model"] == one_line(text)


@example("\\<")
@given(st.text(st.characters(exclude_categories=["Cn", "Co"]), max_size=60))
def test_any_text_survives_markdown(text: str) -> None:
    html = MarkdownIt().renderInline(f"x{card._text(text)}x")
    shown = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert html == f"x{shown}x"


def test_many_classes_are_cut() -> None:
    text = card.bundle_card(replace(MANIFEST, classes=[f"class {n}" for n in range(250)]), RESULT)
    assert "and 150 more" in text
