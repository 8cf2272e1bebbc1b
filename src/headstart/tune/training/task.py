"""A task: what is to be learned, how, and what came of it; the shapes that the training loop takes and gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.heads.calibration import fit_temperature, log_losses


class Examples(Protocol):
    """What the loop takes batches from; it alone knows the kind of data.

    Attributes:
        y: class ids of the n examples, int64 of shape (n,).
    """

    y: NDArray[np.int64]

    def order(self, epoch: int, *, batch: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> tuple[Tensor, ...]:
        """Return what the network is given for `rows`, one row of each tensor an example; safe on another thread."""


class Nothing:
    """No examples at all: what judges where no choice is made."""

    y: NDArray[np.int64] = np.zeros(0, np.int64)

    def order(self, epoch: int, *, batch: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return no batches."""
        return []

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> tuple[Tensor, ...]:
        """Return nothing."""
        return ()


@dataclass(frozen=True)
class Weight:
    """A tensor that learns.

    Attributes:
        name: unique.
        tensor: its values, changed in place.
        rate: what it learns at, as a share of the recipe's rate.
        decays: whether the recipe's decay is for it: not for vectors, nor for tables of which a batch meets few rows.
    """

    name: str
    tensor: Tensor
    rate: float
    decays: bool = True


@dataclass(frozen=True)
class Aim:
    """What is learned from, where it is not the class scores.

    Attributes:
        outputs: from the inputs of n examples, of shape (n, d).
        losses: from these outputs and the class ids, the loss of each example, and how many are right.
        settle: fits what no gradient reaches, before what has been learned is judged.
    """

    outputs: Callable[..., Tensor]
    losses: Callable[[Tensor, Tensor], tuple[Tensor, int]]
    wait_for_parity: Callable[[], None]


@dataclass(frozen=True)
class Task:
    """What is to be learned.

    Attributes:
        weights: what learns.
        scores: class scores of shape (n, c) from the inputs of n examples.
        mode: `mode(training=…)` puts the network in training mode or in inference mode.
        train: what is learned from.
        validation: what judges; it may hold nothing where the last epoch counts.
        c: number of classes.
        statistics: tensors that training moves without a gradient (running means), by name.
        device: where the network is.
        turns: rows of `validation` that are judged together, each once; empty for its own order.
        aim: what is learned from; None for the class scores.
        plan: is told how many epochs there will be, and returns the kind of each; epochs of one kind cost alike.
        each: is told the number of each epoch, and whether it is the last one, while the weights stand as they are
            judged; its time counts as none of the run's.
    """

    weights: Sequence[Weight]
    scores: Callable[..., Tensor]
    mode: Callable[..., None]
    train: Examples
    validation: Examples
    c: int
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    turns: Sequence[NDArray[np.intp]] = ()
    aim: Aim | None = None
    plan: Callable[[int], Sequence[int]] = lambda epochs: [0] * epochs
    each: Callable[[int, bool], None] = lambda epoch, last: None

    @property
    def held(self) -> dict[str, Tensor]:
        """Everything that training changes, by name."""
        return {weight.name: weight.tensor for weight in self.weights} | dict(self.statistics)


@dataclass(frozen=True)
class Recipe:
    """How it is learned.

    Attributes:
        epochs: at most.
        rate: the full learning rate of AdamW.
        batch: examples a step.
        patience: epochs without a better validation log loss, after which training stops.
        decay: weight decay, of matrices and kernels alone.
        clip: the greatest norm of a gradient.
        mixup: alpha of the beta distribution (Zhang et al. 2018); 0 for none.
        smoothing: share of each label that is spread over all classes (Szegedy et al. 2016).
        average: share of the moving average of the weights that a step keeps; 0 for none, else the average is judged.
        last: whether the last epoch counts, instead of the one that judges best.
        parts: pieces that a batch is computed in, one after the other, to save memory.
        seed: of order, views, dropout and mixup.
    """

    epochs: int = 20
    rate: float = 1e-3
    batch: int = 32
    patience: int = 5
    decay: float = 0.02
    clip: float = 1.0
    mixup: float = 0.0
    smoothing: float = 0.0
    average: float = 0.0
    last: bool = False
    parts: int = 1
    seed: int = 0


@dataclass(frozen=True)
class EpochResult:
    """What came of one epoch; epoch 0 is the start, which has learned nothing yet.

    Attributes:
        epoch: its number.
        train_loss: mean over its batches, in nats; NaN for epoch 0.
        train_accuracy: share named right while learning, 0..1; NaN for epoch 0.
        loss: log loss on validation, after calibration, each class counting as `class_weights` says.
        accuracy: on validation, 0..1.
        seconds: since the run began, those before a resume included.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    loss: float
    accuracy: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, with None where a number is NaN, which JSON does not have."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Trained:
    """What came of a run; the weights of the task are those of its best epoch.

    Attributes:
        history: every epoch, the start first.
        best: the number of the best epoch; 0 where nothing was better than the start.
        why: why it ended: `epochs`, `patience`, `budget`, `short` (a budget too short for one epoch) or `exploded`.
        start: the weights that it started from, by name.
        planned: how many epochs were planned.
        images_per_second: examples learned from per second, validation apart.
        images: examples learned from, those of all epochs.
        costs: seconds of an epoch of each kind as they were planned; empty without a budget.
        before: seconds that it had taken when it was resumed.
    """

    history: tuple[EpochResult, ...]
    best: int
    why: str
    start: Mapping[str, Tensor]
    planned: int
    images_per_second: float
    images: int = 0
    costs: Mapping[str, float] = field(default_factory=dict)
    before: float = 0.0


def evaluate(task: Task, *, batch: int = 64) -> NDArray[np.float32]:
    """Return the class scores of the validation examples, float32 of shape (n, c), in their order."""
    count = len(task.validation.y)
    task.mode(training=False)
    found = np.zeros((count, task.c), np.float32)
    turns = task.turns or np.split(np.arange(count), range(batch, count, batch))
    with torch.inference_mode(), precision(task.device):
        for rows in turns if count else ():
            given = task.validation.inputs(rows, epoch=0)
            found[rows] = task.scores(*(moved(part, task.device) for part in given)).float().cpu().numpy()
    return found


def judge(scores: NDArray[np.float32], y: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Return log loss in nats, each class counting as `weights` (c,) says, and accuracy, of scores (n, c).

    The scores are calibrated first, as those of every head are: while a network learns, it grows surer than it is right
    long before it stops growing better. NaN where a score is not finite.
    """
    if not np.isfinite(scores).all():
        return math.nan, math.nan
    counted = weights[y]
    losses = log_losses(scores, y, fit_temperature(scores, y, counted))
    return float(counted @ losses / counted.sum()), float((scores.argmax(axis=1) == y).mean())


def processor() -> torch.device:
    """Return where networks learn: the CUDA device where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def precision(device: torch.device) -> Iterator[None]:
    """Compute in bfloat16 inside the block where the processor does so natively, else in float32."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device)):
        yield


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a processor multiplies bfloat16 natively; where it does not, float32 is faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def put(task: Task, values: Mapping[str, Tensor]) -> None:
    """Set the weights and statistics of a task, in place."""
    held = task.held
    with torch.no_grad():
        for name, value in values.items():
            held[name].copy_(value)


def moved(part: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on `device`; on its way to a GPU through pinned memory, which does not wait."""
    return part if device.type == "cpu" else part.pin_memory().to(device, non_blocking=True)
