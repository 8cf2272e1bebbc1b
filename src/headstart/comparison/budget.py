"""What a comparison can afford: how large its pictures are, what is tuned, and how its budget is shared."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.comparison.trained_arms import epochs_for
from headstart.comparison.untrained_arms import trained_layer
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.images.preprocessing import Preprocessing, shorter_side
from headstart.data.text import Tokens
from headstart.judge.benefit.gains import SCRATCH, TUNED
from headstart.judge.benefit.results import COARSE_EPOCH_RATIO, EPOCH_RATIO, measured_epochs
from headstart.run.prepared import PreparedData
from headstart.sources.base import Source

BUDGET = 600.0
"""Seconds, where none are given."""
KEPT_BACK = 0.06
"""Of the budget, for what comes after training."""
SHARES = {SCRATCH: 0.65, TUNED: 0.35}
"""Of what is left for training, by arm, where both are run."""
BACKWARD = 3.0  # what a picture costs to learn from, in passes
LOOKED_AT = 32  # photos whose size is looked at
SMALLEST = {SCRATCH: 32, TUNED: 64}
"""Pixels: what has learned on large pictures finds nothing in much smaller ones, what learns anew may."""
SMALLER = (192, 160, 128, 96, 64, 48, 32)
TIMED = 16  # pictures in a batch that is timed
VIEWS = 4


@dataclass(frozen=True)
class ExperimentCell:
    """An arm that is to learn from so many labels, in so many seeds.

    Attributes:
        labels: that it learns from.
        tested: examples that it is measured on.
        runs: how many seeds.
    """

    labels: int
    tested: int
    runs: int


@dataclass(frozen=True)
class Plan:
    """How an arm that learns is to be run.

    Attributes:
        mode: what learns.
        size: of its pictures, in pixels; 0 for the source's own.
        pace: each epoch at which it is measured is so many times the one before.
        a_pass: seconds of a picture through the network at that size.
    """

    mode: str
    size: int
    pace: float
    a_pass: float

    def cost(self, arm: str, cell: ExperimentCell) -> float:
        """Return the seconds of one run, measuring apart."""
        epochs = epochs_for(arm, cell.labels)
        if self.mode.startswith("last:"):
            return self.a_pass * (VIEWS * cell.labels + cell.tested + 0.2 * BACKWARD * epochs * cell.labels)
        return self.a_pass * BACKWARD * epochs * cell.labels

    def measuring(self, arm: str, cell: ExperimentCell) -> float:
        """Return the seconds of measuring in one run."""
        points = len(measured_epochs(epochs_for(arm, cell.labels), self.pace))
        share = 0.2 if self.mode.startswith("last:") else 1.0
        return self.a_pass * cell.tested * points * share


def plan_scratch(source: Source, prepared: PreparedData, cells: Sequence[ExperimentCell], left: float) -> Plan:
    """Return how scratch is run: at the largest size at which all of its epochs fit, else at the smallest.

    Args:
        source: the network.
        prepared: the data.
        cells: what is to be run.
        left: seconds for all of it.
    """
    plans = [
        Plan("all", size, EPOCH_RATIO, a_pass(source, prepared, size))
        for size in sizes(source, prepared, SMALLEST[SCRATCH])
    ]
    return _fitting(SCRATCH, plans, cells, left)


def plan_tuned(
    source: Source, prepared: PreparedData, cells: Sequence[ExperimentCell], left: float, mode: str | None
) -> Plan:
    """Return how tuning is run: all of the weights where that is affordable, else the last stage on kept activations.

    Args:
        source: the network.
        prepared: the data.
        cells: what is to be run.
        left: seconds for all of it.
        mode: what was asked for; None lets the budget decide.
    """
    whole, *smaller = sizes(source, prepared, SMALLEST[TUNED])
    if mode is not None:
        if mode.startswith("last:"):
            smaller = []
        return _fitting(
            TUNED,
            [Plan(mode, size, EPOCH_RATIO, a_pass(source, prepared, size)) for size in (whole, *smaller)],
            cells,
            left,
        )
    plans = [Plan("all", size, EPOCH_RATIO, a_pass(source, prepared, size)) for size in (whole, *smaller[:2])]
    if len(source.stages) > 1:
        plans.append(Plan("last:1", 0, EPOCH_RATIO, a_pass(source, prepared, 0)))
    return _fitting(TUNED, plans, cells, left)


def _fitting(arm: str, plans: Sequence[Plan], cells: Sequence[ExperimentCell], left: float) -> Plan:
    """Return the first plan that fits, if need be measured less often; the last one where none does."""
    for pace in (EPOCH_RATIO, COARSE_EPOCH_RATIO):
        for plan in plans:
            chosen = Plan(plan.mode, plan.size, pace, plan.a_pass)
            if needed(arm, chosen, cells) <= left:
                return chosen
    cheapest = min(plans, key=lambda plan: needed(arm, plan, cells))
    return Plan(cheapest.mode, cheapest.size, COARSE_EPOCH_RATIO, cheapest.a_pass)


def needed(arm: str, plan: Plan, cells: Sequence[ExperimentCell]) -> float:
    """Return the seconds of all runs of an arm, measuring included."""
    return sum(cell.runs * (plan.cost(arm, cell) + plan.measuring(arm, cell)) for cell in cells)


def sizes(source: Source, prepared: PreparedData, smallest: int) -> list[int]:
    """Return the sizes at which a network may learn, in pixels, the largest first; 0 for its own.

    Pictures smaller than its input hold no more than their own pixels: no size beyond them is tried.

    Args:
        source: the network.
        prepared: the data.
        smallest: size that is tried.
    """
    how = source.preprocessing
    if not isinstance(how, Preprocessing) or isinstance(how, AudioPreprocessing):
        return [0]
    if how.size[0] != how.size[1] or trained_layer(source) == "flatten" or how.size[0] <= smallest:
        return [0]
    from headstart.tune.network.classifier import accepts_size

    train = prepared.parts.train
    step = max(1, len(train) // LOOKED_AT)
    sides = [shorter_side(prepared.scan.dataset.read(at)) for at in train[::step][:LOOKED_AT]]
    enough = min(how.size[0], max(smallest, 32 * math.ceil(float(np.median(sides)) / 32)))
    smaller = [side for side in SMALLER if smallest <= side < enough and accepts_size(source, side)]
    if enough < how.size[0] and accepts_size(source, enough):
        return [enough, *smaller]
    return [0, *smaller]


def a_pass(source: Source, prepared: PreparedData, size: int) -> float:
    """Return the seconds that one example takes through the network, pictures at a size of so many pixels."""
    import torch

    from headstart.engines.token_batches import padded
    from headstart.tune.training.task import default_device, precision

    device = default_device()
    some = [prepared.scan.dataset.read(at) for at in prepared.parts.train[:TIMED]]
    how = source.preprocessing
    if isinstance(how, Preprocessing):
        from headstart.sources.networks.tapped import Tapped
        from headstart.tune.inputs.images import resized

        how = resized(how, size) if size else how
        network: Any = Tapped(source.module(), how, source.taps[:1]).eval().to(memory_format=torch.channels_last)
        shape = (len(some), *how.size, 1 if how.channels == "grey" else 3)
        given: tuple[Any, ...] = (torch.zeros(shape, dtype=torch.uint8),)
    else:
        network = source.module().eval()
        pieces = [tokens.pieces[0] for tokens in map(source.prepare, some) if isinstance(tokens, Tokens)]
        given = tuple(map(torch.from_numpy, padded(pieces)))
    network, given = network.to(device), tuple(part.to(device) for part in given)
    with torch.inference_mode(), precision(device):
        took = []
        for _ in range(3):  # the first one warms up
            start = time.perf_counter()
            network(*given)
            took.append(time.perf_counter() - start)
    return min(took[1:]) / len(some)
