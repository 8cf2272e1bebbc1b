"""How the vectors of tokens become one vector of a text."""

from __future__ import annotations

from dataclasses import dataclass

POOLINGS = ("cls", "mean", "max", "mean_sqrt_len_tokens")


@dataclass(frozen=True)
class Pooling:
    """How the vectors of tokens become one.

    Attributes:
        how: one of `POOLINGS`, by the names of sentence-transformers.
        normalise: whether the result is scaled to unit length.
        layers: further layers whose mean is taken, counted from 0.
    """

    how: str
    normalise: bool
    layers: tuple[int, ...]
