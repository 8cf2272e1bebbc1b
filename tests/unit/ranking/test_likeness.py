"""Size and likeness: planted examples on the source's classes, on one of them, and on none; and what each suggests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.ranking.likeness import SUGGESTIONS, Likeness, SourceClass, likeness_of, sentence
from headstart.ranking.rank import rank
from headstart.sources.imagenet import IMAGENET_CLASSES, imagenet_classes
from headstart.sources.registry import open_source
from headstart.testing import toy_photos

Y = np.arange(60) % 3
K = 20


def confident(top: np.ndarray, sure: float) -> np.ndarray:
    """Return probabilities of K classes that are `sure` of the classes `top`, and know nothing of the rest."""
    return np.where(np.arange(K) == top[:, None], sure, (1 - sure) / (K - 1))


@pytest.mark.parametrize(
    ("probabilities", "alike"),
    [
        (confident(Y, 0.8), True),  # each class of the target is one of the source's
        (confident(np.arange(60) % K, 0.6), True),  # spread over many of them
        (confident(np.full(60, 7), 0.9), True),  # all of one class, of which the source is sure
        (confident(np.full(60, 7), 0.2), False),  # all look alike, and like nothing that it knows
        (np.full((60, K), 1 / K), False),
        (np.random.default_rng(0).dirichlet(np.full(K, 20.0), 60), False),
    ],
)
def test_what_is_planted_as_alike_or_not_is_called_so(probabilities: np.ndarray, alike: bool) -> None:
    likeness = likeness_of("a:b", probabilities.astype(np.float32), Y, ())
    assert likeness.alike == alike and likeness.information >= 0
    order = np.random.default_rng(1).permutation(60)
    again = likeness_of("a:b", probabilities[order].astype(np.float32), Y[order], ())
    assert again.information == pytest.approx(likeness.information) and again.classes == likeness.classes


def test_the_information_is_that_of_the_labels_where_each_class_is_one_of_the_source() -> None:
    likeness = likeness_of("a:b", confident(Y, 1.0), Y, [f"n{place}" for place in range(K)])
    assert likeness.information == pytest.approx(1.0) and likeness.confidence == 1.0
    assert likeness.classes == tuple(SourceClass(f"n{place}", pytest.approx(1 / 3)) for place in range(3))
    assert likeness_of("a:b", confident(np.full(60, 7), 0.9), Y, ()).classes == (SourceClass("class 7", 1.0),)


@pytest.mark.parametrize("size", ["small", "medium", "large"])
@pytest.mark.parametrize("information", [0.1, 0.9])
def test_the_sentence_names_size_likeness_and_what_textbooks_suggest(size: str, information: float) -> None:
    likeness = Likeness("a:b", 0.3, information, (SourceClass("daisy", 0.44), SourceClass("vase", 0.06)))
    text = sentence(size, 90, "photos", likeness)
    words = "similar to" if information > 0.5 else "different from"
    assert f"is {size} (90 labels a class) and {words} what a:b was trained on" in text
    assert "30 % sure of these photos, first of all daisy (44 %), vase (6 %)" in text
    stated = sentence(size, 90, "photos", replace(likeness, own_confidence=0.7))
    assert "30 % sure of these photos (of their own 70 %), first of all" in stated
    assert text.endswith(f"textbooks suggest {SUGGESTIONS[size, information > 0.5]}.")


def test_the_classes_of_imagenet_are_those_of_networks_that_were_trained_on_it() -> None:
    names = imagenet_classes()
    assert len(names) == IMAGENET_CLASSES and (names[0], names[985], names[-1]) == ("tench", "daisy", "toilet tissue")
    for uri in ("packaged:efficientnet-lite0", "mirrored:packaged:efficientnet-lite1"):
        assert open_source(uri).class_names() == names
    assert not open_source("packaged:wordllama").class_names()


@pytest.mark.thorough
def test_a_ranking_of_photos_says_how_alike_they_are(tmp_path: Path) -> None:
    source = "packaged:efficientnet-lite0"
    data = toy_photos(tmp_path / "photos", per_class=6)
    result = rank(data, sources=[f"{source}@32px", source], layer="pool", out=tmp_path / "out")
    target = result.result["target"]
    assert (target["size"], target["likeness"]["source"]) == ("small", source)
    assert target["likeness"]["classes"][0]["name"] in imagenet_classes()
    assert (
        target["sentence"] in result.verdict and "Size and likeness" in (tmp_path / "out" / "report.html").read_text()
    )
