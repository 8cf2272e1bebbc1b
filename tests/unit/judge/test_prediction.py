"""A prediction as a plain object."""

from __future__ import annotations

import numpy as np

from headstart.judge.prediction import plain_prediction

SHARES = np.array([0.25, 0.75], np.float32)


def test_what_is_known_is_shown_and_nothing_else() -> None:
    assert plain_prediction("ab", SHARES, None, every_class=False) == {"label": "b", "probability": 0.75}
    every = plain_prediction("ab", SHARES, 1.00004, every_class=True)
    assert every["probabilities"] == {"a": 0.25, "b": 0.75}
    assert (every["novelty"], every["unlike"]) == (1.0, True), "unlike goes by the score, not by what is shown of it"
    assert plain_prediction("ab", SHARES, 1.0, every_class=False)["unlike"] is False
