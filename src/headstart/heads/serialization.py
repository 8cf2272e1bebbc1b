"""Choices as plain values and arrays, and back: what a memo holds of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from headstart.base.cache import Arrays
from headstart.heads.linear import LinearHead
from headstart.heads.select import Choice, HeadCandidate
from headstart.heads.tfidf import Terms, TfidfHead, TfidfTrial

VERSION = 5
"""Counts up when the code of this folder comes to choose another head for the same rows, or memos another form."""


def choice_parts(choice: Choice) -> tuple[dict[str, Any], Arrays]:
    """Return a choice as plain values and arrays."""
    head = choice.head
    plain = {
        "head": {"kind": head.kind, "penalty": float(head.penalty), "temperature": float(head.temperature)},
        "candidates": [{name: _plain(value) for name, value in asdict(one).items()} for one in choice.candidates],
        "notes": list(choice.notes),
    }
    return plain, {"weight": head.weight, "bias": head.bias, "out_of_fold": choice.out_of_fold}


def choice_from(plain: Mapping[str, Any], arrays: Arrays) -> Choice:
    """Return the choice that `choice_parts` took apart."""
    head = LinearHead(**plain["head"], weight=arrays["weight"], bias=arrays["bias"])
    candidates = tuple(HeadCandidate(**one) for one in plain["candidates"])
    return Choice(head, candidates, arrays["out_of_fold"], tuple(plain["notes"]))


def terms_parts(trial: TfidfTrial) -> tuple[dict[str, Any], Arrays]:
    """Return a trial of words as plain values and arrays."""
    head = trial.head
    names = np.frombuffer("\n".join(head.terms.names).encode("utf-8", "surrogatepass"), dtype=np.uint8)
    arrays: Arrays = {"names": names, "idf": head.terms.idf, "weight": head.weight, "bias": head.bias}
    arrays |= {"out_of_fold": trial.out_of_fold, "losses": trial.losses, "counted": trial.counted}
    return {"temperature": float(head.temperature), "penalty": float(head.penalty)}, arrays


def terms_from(plain: Mapping[str, Any], arrays: Arrays) -> TfidfTrial:
    """Return the trial that `terms_parts` took apart."""
    names = tuple(arrays["names"].tobytes().decode("utf-8", "surrogatepass").split("\n"))
    head = TfidfHead(Terms(names, arrays["idf"]), arrays["weight"], arrays["bias"], **plain)
    return TfidfTrial(head, arrays["out_of_fold"], arrays["losses"], arrays["counted"])


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)
