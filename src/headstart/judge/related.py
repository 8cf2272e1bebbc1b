"""Test examples that have a copy or near copy in the train part: how many, and what the accuracy is without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.base.errors import counted
from headstart.data.dataset import Example

SHOWN = 20  # ids of such examples that `result.json` names


def relatives_entry(
    examples: Sequence[Example], related: Sequence[int], accuracy_without: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what `result.json` says of near copies.

    Args:
        related: the positions of the test examples with a copy or near copy in the train part.
        accuracy_without: the accuracy without these, with its interval; None where none is left.
    """
    clusters = [example.relatives for example in examples if example.relatives is not None]
    return {
        "examples": len(clusters),
        "clusters": len(set(clusters)),
        "test": len(related),
        "ids": [examples[position].id for position in related[:SHOWN]],
        "accuracy_without": accuracy_without,
    }


def without_related(accuracy: Mapping[str, float], relatives: Mapping[str, Any] | None) -> tuple[str, bool]:
    """Return words on the accuracy without related examples, "" where there are none, and whether it bears a claim.

    It does where the accuracy without them, if any are left, lies in the interval of the one with all.
    """
    if not relatives or not relatives["test"]:
        return "", True
    count, without = relatives["test"], relatives["accuracy_without"]
    if without is None:
        return ", but every one of them has a copy or near copy in the train part", False
    text = (
        f" ({100 * without['value']:.1f} % [{100 * without['low']:.1f}, {100 * without['high']:.1f}] without the "
        f"{counted(count, 'that has', 'that have')} a copy or near copy in the train part)"
    )
    if accuracy["low"] <= without["value"] <= accuracy["high"]:
        return text, True
    return f"{text}; the two differ by more than the interval", False
