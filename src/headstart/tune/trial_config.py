"""The configuration of a tuning trial: what learns, from which augmented views, and with which recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

from headstart.tune.network.param_groups import LAYER_DECAY
from headstart.tune.training.task import Recipe


@dataclass(frozen=True)
class TrialConfig:
    """How a trial tunes.

    Attributes:
        mode: `norm`, `lora`, `last:N` or `all`.
        size: side of the network's input, in pixels; 0 for the source's own.
        horizontal_flip: whether a horizontally flipped picture keeps its label.
        augmented_views: augmented views of each example, where activations are cached.
        train_batchnorm: whether the BatchNorm layers that learn run in training mode.
        contrastive: whether the body learns from pairs before a head is fitted (see `inputs.contrastive`).
        class_names: whether the name of each class is one more example of it (see `class_names`).
        cache_activations: whether the activations of the frozen layers may be cached at all.
        layer_decay: learning rate of a stage, as a share of that of the stage above it; 1 for random weights.
    """

    mode: str
    size: int = 0
    augment: str = "light"
    horizontal_flip: bool = False
    augmented_views: int = 4
    train_batchnorm: bool = False
    contrastive: bool = False
    class_names: bool = False
    cache_activations: bool = True
    layer_decay: float = LAYER_DECAY
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def name(self) -> str:
        """The name of the trial in reports and progress lines."""
        name = f"{self.mode} by pairs" if self.contrastive else self.mode
        name += " and names" if self.class_names else ""
        return f"{name} at {self.size} px" if self.size else name
