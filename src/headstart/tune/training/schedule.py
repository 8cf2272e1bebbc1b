"""The learning rate over a run: a linear warm-up, then half a cosine down to nothing."""

from __future__ import annotations

import math

WARM_UP = 0.1
"""Share of the steps over which the rate rises."""


def learning_rate_share(step: int, steps: int, *, warm_up: float = WARM_UP) -> float:
    """Return the share of the full rate at a step, in 0..1 (Loshchilov & Hutter 2017, after a warm-up).

    Args:
        step: 0-based.
        steps: of the whole run, at least 1; a step beyond them has a share of 0.
        warm_up: share of the steps over which it rises.
    """
    rising = max(1, round(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    if step >= steps:
        return 0.0
    return (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2
