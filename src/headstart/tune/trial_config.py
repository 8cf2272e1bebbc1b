"""A way of tuning: what learns, from which views, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from headstart.tune.network.param_groups import DECAY
from headstart.tune.training.task import Recipe


@dataclass(frozen=True)
class TrialConfig:
    """How an arm tunes.

    Attributes:
        mode: `norm`, `lora`, `last:N` or `all`.
        size: of the network's input, in pixels; 0 for the source's own.
        augment: strength of the views of pictures.
        mirror: whether a mirrored picture keeps its label.
        views: of each picture, where activations are kept.
        batchnorm: whether BatchNorm of what learns runs in training mode.
        contrast: whether the body learns from pairs before a head is fitted (see `contrast`).
        named: whether the name of each class is one more example of it (see `naming`).
        keep: whether activations may be kept at all.
        decay: the rate of a stage, as a share of that of the stage above it; 1 for random weights.
        recipe: of the loop.
    """

    mode: str
    size: int = 0
    augment: str = "light"
    mirror: bool = False
    views: int = 4
    batchnorm: bool = False
    contrast: bool = False
    named: bool = False
    keep: bool = True
    decay: float = DECAY
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def name(self) -> str:
        """What to call it."""
        name = f"{self.mode} by pairs" if self.contrast else self.mode
        name += " and names" if self.named else ""
        return f"{name} at {self.size} px" if self.size else name
