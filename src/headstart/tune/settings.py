"""How `fit` tunes, in plain values; known without torch, so that a wrong one is refused before any work starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from headstart.base.errors import UsageError, check_at_least, check_choice, did_you_mean
from headstart.base.extras import require
from headstart.data.modality import MODALITIES, Kind

NONE, NORM, LORA, ALL, AUTO = "none", "norm", "lora", "all", "auto"
MODES = (NONE, NORM, LORA, "last:N", ALL, AUTO)
MIN_VALIDATION = 8
"""Examples that tuning is judged by, at least."""
LAST = re.compile(r"last:(\d+)")
BATCHNORM = ("keep", "train")
STRENGTHS = ("none", "light", "strong")
"""How far a view of an example may be from it, in ascending order."""
TRACKERS = ("mlflow", "wandb")
"""What `--track` knows."""
BUDGET = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Settings:
    """How `fit` tunes."""

    mode: str = NONE  # which source weights also learn; one of `MODES`
    budget: float | None = None  # seconds; None for as many as the epochs need, and ten minutes for `auto`
    epochs: int = 10  # at most, in one run
    learning_rate: float | None = None  # the highest one; None for that of the mode
    batch_size: int = 32
    size: int | None = None  # of the network's input, in pixels; None for the source's own
    augment: str = "light"
    augmented_views: int = 4  # of each example, where the activations of the frozen layers are cached
    batchnorm: str = "keep"  # `keep` for running statistics that stay, `train` for those of what learns
    mixup: float = 0.0  # alpha (Zhang et al. 2018); 0 for none
    label_smoothing: float = 0.0  # share of each label that is spread over all classes; 0 for none
    patience: int = 5  # epochs without a better validation loss, after which training stops
    tensorboard: Path | None = None  # folder for TensorBoard's files
    track: str | None = None

    def check(self) -> None:
        """Raise UsageError for a value that cannot be, and MissingExtra where a library that it needs is missing."""
        check_mode(self.mode)
        if self.mode != NONE:
            check_mode_installed(self.mode)
        check_choice("--augment", self.augment, STRENGTHS)
        check_choice("--batchnorm", self.batchnorm, BATCHNORM)
        if self.track is not None:
            require(f"--track {check_choice('--track', self.track, TRACKERS)}", self.track)
        if self.tensorboard is not None:
            require("--tensorboard", "tensorboard")
        for name in ("epochs", "batch_size", "augmented_views", "patience", "size"):
            if getattr(self, name) is not None:
                check_at_least(f"--{name.replace('_', '-')}", getattr(self, name), 1)
        check_at_least("--mixup", self.mixup, 0)
        check_at_least("--label-smoothing", self.label_smoothing, 0)
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise UsageError("--learning-rate must be above 0", self.learning_rate, "give a rate such as 0.0003")
        if self.label_smoothing >= 1:
            raise UsageError("--label-smoothing must be below 1", self.label_smoothing, "give a share such as 0.1")

    def check_kind(self, kind: Kind) -> None:
        """Raise UsageError for a setting that means nothing for examples of one kind."""
        if kind == "image":
            return
        options: dict[str, object] = {"--size": self.size}
        if kind == "text":
            options |= {"--mixup": self.mixup, "--augment": self.augment == "strong"}
        for name, value in options.items():
            if value:
                raise UsageError(f"{name} changes pictures", MODALITIES[kind].plural, f"leave out {name}")


def check_mode(mode: str) -> None:
    """Raise UsageError unless `mode` is one of MODES."""
    if mode not in MODES and not LAST.fullmatch(mode):
        raise UsageError(
            f"--tune must be one of {', '.join(MODES)}", repr(mode), f"choose one{did_you_mean(mode, MODES)}"
        )
    if mode == "last:N":
        raise UsageError("--tune last:N must have a number for N", repr(mode), "give one, such as last:1")


def check_mode_installed(mode: str) -> None:
    """Raise MissingExtra unless what a mode other than `none` needs is installed."""
    lora = mode == LORA
    require(f"--tune {mode}", "torch", *(["peft"] if lora else []), extra="lora" if lora else None)


def parse_budget(text: str) -> float:
    """Return the seconds that `30s`, `10m` or `1h` stands for; UsageError where it is none of these, or nothing."""
    match = BUDGET.fullmatch(text.strip().lower())
    if match is None or float(match[1]) <= 0:
        raise UsageError("--budget must be a time such as 30s, 10m or 1h", repr(text), "give one of these")
    return float(match[1]) * SECONDS[match[2]]
