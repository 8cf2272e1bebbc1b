"""What a comparison can afford: how large its pictures are, what is tuned, and how its budget is shared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from headstart.comparison.arms import trained_layer
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.images.preprocessing import Preprocessing, shorter_side
from headstart.data.text import Tokens
from headstart.judge.benefit.gains import SCRATCH, TUNED
from headstart.judge.benefit.results import COARSE_EPOCH_RATIO, EPOCH_RATIO, measured_epochs
from headstart.run.prepare import PreparedData
from headstart.sources.base import Source

BACKWARD = 3.0  # what a picture costs to learn from, in passes through the network
CACHED_SHARE = 0.2  # the share of a pass that is left where the activations of the frozen layers are cached
CACHED_VIEWS = 4  # the views of each picture whose activations are cached
SAMPLED_PICTURES = 32  # the pictures whose size is looked at
SMALLEST_SIDE = {SCRATCH: 32, TUNED: 64}
"""Pixels: what has learned on large pictures finds nothing in much smaller ones; random weights may learn on them."""
SMALLER_SIDES = (192, 160, 128, 96, 64, 48, 32)
TIMED_BATCH = 16  # the pictures of a batch that is timed
SMALL_BATCH, BATCH, FEW_LABELS = 16, 32, 200  # the examples of a step: the smaller number below so many labels


@dataclass(frozen=True)
class Limits:
    """What bounds a comparison beside its options."""

    epochs: Mapping[str, tuple[int, int]] = field(default_factory=lambda: {SCRATCH: (20, 120), TUNED: (8, 30)})
    # the steps after which an arm has usually learned what it can from a few hundred labels
    steps: Mapping[str, int] = field(default_factory=lambda: {SCRATCH: 600, TUNED: 150})
    shares: Mapping[str, float] = field(default_factory=lambda: {SCRATCH: 0.65, TUNED: 0.35})
    reserve: float = 0.06  # the share of the budget that is kept for what comes after training

    def epochs_for(self, arm: str, labels: int) -> int:
        """Return how many epochs an arm is meant to have with so many labels: more where they are few."""
        least, most = self.epochs[arm]
        return int(np.clip(-(-self.steps[arm] // -(-labels // batch_for(labels))), least, most))


def batch_for(labels: int) -> int:
    """Return how many examples a step takes for so many labels."""
    return SMALL_BATCH if labels < FEW_LABELS else BATCH


@dataclass(frozen=True)
class ExperimentCell:
    """One arm at one number of labels."""

    labels: int
    tested: int
    epochs: int
    runs: int = 1


@dataclass(frozen=True)
class Plan:
    """How an arm that learns is to be run."""

    mode: str
    size: int  # side of its pictures in pixels; 0 for the source's own
    pace: float  # each epoch after which it is measured is so many times the one before
    a_pass: float  # seconds that a picture takes through the network at that size

    @property
    def caches(self) -> bool:
        """Whether epochs run from cached activations."""
        return self.mode.startswith("last:")

    def training_cost(self, cell: ExperimentCell) -> float:
        """Return the seconds of one run, measuring apart."""
        passes = BACKWARD * cell.epochs * cell.labels
        if self.caches:
            passes = CACHED_VIEWS * cell.labels + cell.tested + CACHED_SHARE * passes
        return self.a_pass * passes

    def measuring_cost(self, cell: ExperimentCell) -> float:
        """Return the seconds of measuring in one run."""
        points = len(measured_epochs(cell.epochs, self.pace))
        return self.a_pass * cell.tested * points * (CACHED_SHARE if self.caches else 1.0)

    def cost(self, cells: Sequence[ExperimentCell]) -> float:
        """Return the seconds of all runs, measuring included."""
        return sum(cell.runs * (self.training_cost(cell) + self.measuring_cost(cell)) for cell in cells)


def plan_arm(
    sizes: Sequence[int],
    a_pass: Callable[[int], float],
    cells: Sequence[ExperimentCell],
    left: float,
    *,
    mode: str | None,
    stages: int,
) -> Plan:
    """Return how an arm is run in the seconds left: at the largest size at which all of its epochs fit.

    If need be it is measured less often; where no plan fits, it is the cheapest one.

    Args:
        sizes: at which the network may learn, the largest first.
        a_pass: gives the seconds of a picture through the network at a size.
        mode: which weights learn; None for all where that is affordable, else the last stage on cached activations.
        stages: of the network; activations can be cached between two.
    """
    if mode is None:
        plans = [Plan("all", size, EPOCH_RATIO, a_pass(size)) for size in sizes[:3]]
        plans += [Plan("last:1", 0, EPOCH_RATIO, a_pass(0))] if stages > 1 else []
    else:
        tried = sizes[:1] if mode.startswith("last:") else sizes
        plans = [Plan(mode, size, EPOCH_RATIO, a_pass(size)) for size in tried]
    for pace in (EPOCH_RATIO, COARSE_EPOCH_RATIO):
        for plan in (replace(plan, pace=pace) for plan in plans):
            if plan.cost(cells) <= left:
                return plan
    return replace(min(plans, key=lambda plan: plan.cost(cells)), pace=COARSE_EPOCH_RATIO)


def affordable_sizes(source: Source, prepared: PreparedData, smallest: int) -> list[int]:
    """Return the sizes at which a network may learn, in pixels, the largest first; 0 for its own.

    Pictures smaller than its input hold no more than their own pixels: no size beyond them is tried.
    """
    preprocessing = source.preprocessing
    if not isinstance(preprocessing, Preprocessing):
        return [0]
    height, width = preprocessing.size
    if isinstance(preprocessing, AudioPreprocessing) or height != width or height <= smallest:
        return [0]
    if trained_layer(source) == "flatten":
        return [0]
    from headstart.sources.networks.tapped import accepts_size

    train = prepared.parts.train
    step = max(1, len(train) // SAMPLED_PICTURES)
    sides = [shorter_side(prepared.scan.dataset.read(position)) for position in train[::step][:SAMPLED_PICTURES]]
    enough = min(height, max(smallest, 32 * math.ceil(float(np.median(sides)) / 32)))
    smaller = [side for side in SMALLER_SIDES if smallest <= side < enough and accepts_size(source, side)]
    return [enough if enough < height and accepts_size(source, enough) else 0, *smaller]


def pass_timer(source: Source, prepared: PreparedData) -> Callable[[int], float]:
    """Return a function that gives the seconds of one example through the network at a size, measured once each."""
    return lru_cache(lambda size: _seconds_of_a_pass(source, prepared, size))


def _seconds_of_a_pass(source: Source, prepared: PreparedData, size: int) -> float:
    import torch

    from headstart.engines.base import padded
    from headstart.tune.training.task import default_device, precision

    device = default_device()
    examples = [prepared.scan.dataset.read(position) for position in prepared.parts.train[:TIMED_BATCH]]
    preprocessing = source.preprocessing
    inputs: tuple[Any, ...]
    if isinstance(preprocessing, Preprocessing):
        from headstart.sources.networks.tapped import Tapped

        preprocessing = preprocessing.at_side(size) if size else preprocessing
        tapped = Tapped(source.module(), preprocessing, source.taps[:1])
        network: Any = tapped.eval().to(memory_format=torch.channels_last)
        inputs = (torch.zeros((len(examples), *preprocessing.shape), dtype=torch.uint8),)
    else:
        network = source.module().eval()
        pieces = [tokens.pieces[0] for tokens in map(source.prepare, examples) if isinstance(tokens, Tokens)]
        inputs = tuple(map(torch.from_numpy, padded(pieces)))
    network, inputs = network.to(device), tuple(part.to(device) for part in inputs)
    with torch.inference_mode(), precision(device):
        seconds = []
        for _ in range(3):  # the first one warms up
            start = time.perf_counter()
            network(*inputs)
            seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / len(examples)
