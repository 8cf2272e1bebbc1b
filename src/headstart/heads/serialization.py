"""Choices as plain values and arrays, and back: what the cache holds of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from headstart.base.cache import Arrays
from headstart.heads.linear import LinearHead
from headstart.heads.select import HeadCandidate, HeadChoice
from headstart.heads.tfidf import TfidfChoice, TfidfHead

CHOICE_VERSION = 6
"""Counts up when the code of this folder comes to choose another head for the same rows, or stores another form."""


def head_choice_to_parts(choice: HeadChoice) -> tuple[dict[str, Any], Arrays]:
    """Return a choice as plain values and arrays."""
    head = choice.head
    plain = {
        "head": {"kind": head.kind, "penalty": float(head.penalty), "temperature": float(head.temperature)},
        "candidates": [
            {name: value if isinstance(value, str) else float(value) for name, value in asdict(candidate).items()}
            for candidate in choice.candidates
        ],
        "notes": list(choice.notes),
    }
    return plain, {"weight": head.weight, "bias": head.bias, "out_of_fold": choice.out_of_fold}


def head_choice_from_parts(plain: Mapping[str, Any], arrays: Arrays) -> HeadChoice:
    """Return the choice that `head_choice_to_parts` took apart."""
    head = LinearHead(**plain["head"], weight=arrays["weight"], bias=arrays["bias"])
    candidates = tuple(HeadCandidate(**candidate) for candidate in plain["candidates"])
    return HeadChoice(head, candidates, arrays["out_of_fold"], tuple(plain["notes"]))


def tfidf_choice_to_parts(choice: TfidfChoice) -> tuple[dict[str, Any], Arrays]:
    """Return a choice of a head on words as plain values and arrays."""
    head = choice.head
    arrays: Arrays = {**head.to_arrays(), "out_of_fold": choice.out_of_fold, "test_weights": choice.test_weights}
    return {"temperature": float(head.temperature), "penalty": float(head.penalty)}, arrays


def tfidf_choice_from_parts(plain: Mapping[str, Any], arrays: Arrays) -> TfidfChoice:
    """Return the choice that `tfidf_choice_to_parts` took apart."""
    return TfidfChoice(TfidfHead.from_arrays(arrays, **plain), arrays["out_of_fold"], arrays["test_weights"])
