"""A training task: what is learned, with which recipe and loss, and the result; what the training loop works with."""

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
from torch.nn.functional import cross_entropy, one_hot

from headstart.heads.linear import fit_temperature, log_losses


class Examples(Protocol):
    """What the loop takes batches from; it alone knows the kind of data. `y` are the class ids, int64 of shape (n,)."""

    y: NDArray[np.int64]

    def order(self, epoch: int, *, batch_size: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> tuple[Tensor, ...]:
        """Return the network's inputs for `rows`, one row of each tensor an example; safe on another thread."""


EpochCallback = Callable[[int, bool, Callable[[], NDArray[np.float32]]], None]
"""Receives the number of an epoch, whether it is the last, and a function that computes the validation scores."""


@dataclass(frozen=True)
class Weight:
    """A tensor that learns."""

    name: str  # unique
    tensor: Tensor  # its values, changed in place
    lr_scale: float  # its learning rate, as a share of the recipe's
    decays: bool = True  # weight decay applies to it: not to vectors, nor to tables of which a batch meets few rows


@dataclass(frozen=True)
class Objective:
    """What is minimised, where it is not the cross-entropy of the class scores.

    Attributes:
        outputs: from the inputs of n examples, of shape (n, d).
        losses: of each, from outputs and class ids; and how many are right.
        refit_head: fits what no gradient reaches, before the weights are evaluated.
    """

    outputs: Callable[..., Tensor]
    losses: Callable[[Tensor, Tensor], tuple[Tensor, int]]
    refit_head: Callable[[], None]


@dataclass(frozen=True)
class Task:
    """What is learned.

    `plan` receives the number of epochs; those of one kind cost alike. `on_epoch` is called after each, while the
    weights stand as they are evaluated.
    """

    weights: Sequence[Weight]
    scores: Callable[..., Tensor]  # class scores of shape (n, c) from the inputs of n examples
    set_training: Callable[..., None]  # `set_training(training=…)` puts the network in training or in inference mode
    train: Examples
    validation: Examples
    c: int
    statistics: Mapping[str, Tensor] = field(default_factory=dict)  # what training moves without a gradient
    train_counts: NDArray[np.float64] | None = None  # how many examples each of `train` stands for; None for one each
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    validation_batches: Sequence[NDArray[np.intp]] = ()  # rows scored together; empty for any
    validation_first_of: NDArray[np.intp] | None = None  # whose scores each row has; None where every row is scored
    objective: Objective | None = None  # None for the cross-entropy of the class scores
    plan: Callable[[int], Sequence[int]] = lambda epochs: [0] * epochs  # the kind of each epoch
    on_epoch: EpochCallback = lambda epoch, last, scores: None  # its time is not counted
    validates: bool = True  # whether each epoch is scored; where not, the last one counts

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Everything that training changes, by name."""
        return {weight.name: weight.tensor for weight in self.weights} | dict(self.statistics)


@dataclass(frozen=True)
class Recipe:
    """How a task is learned."""

    epochs: int = 20  # at most
    learning_rate: float = 1e-3  # the highest learning rate of AdamW
    batch_size: int = 32  # examples a step
    patience: int = 5  # epochs without a better validation log loss, after which training stops
    weight_decay: float = 0.02  # of matrices and kernels alone
    max_gradient_norm: float = 1.0  # above it the gradient is scaled down
    mixup: float = 0.0  # alpha of the beta distribution (Zhang et al. 2018); 0 for none
    label_smoothing: float = 0.0  # share of each label that is spread over all classes (Szegedy et al. 2016)
    ema_decay: float = 0.0  # share of the weights' moving average, which is returned, that a step keeps; 0 for none
    keep_last: bool = False  # whether the last epoch counts, instead of the best on the validation examples
    micro_batches: int = 1  # pieces that a batch is computed in, one after the other, to save memory
    seed: int = 0  # of order, augmentation, dropout and mixup


@dataclass(frozen=True)
class EpochResult:
    """One epoch; epoch 0 is the start, which has learned nothing yet."""

    epoch: int
    train_loss: float  # mean over its batches, in nats; NaN for epoch 0
    train_accuracy: float  # share classified correctly while learning, 0..1; NaN for epoch 0
    loss: float  # log loss on the validation examples, after calibration, each class weighted as `class_weights` has it
    accuracy: float  # on the validation examples, 0..1
    seconds: float  # since the run began, those before a resume included

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, with None where a number is NaN, which JSON does not have."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class TrainResult:
    """The result of a run; the weights of the task are those of its best epoch."""

    history: tuple[EpochResult, ...]  # every epoch, the start first
    best: int  # the number of the best epoch; 0 where nothing was better than the start
    stop_reason: str  # `epochs`, `patience`, `budget`, `short` (a budget too short for one epoch) or `exploded`
    start: Mapping[str, Tensor]  # the weights that it started from, by name
    planned: int  # how many epochs were planned
    images_per_second: float  # examples learned from per second, validation apart
    images: int = 0  # examples learned from, those of all epochs
    costs: Mapping[str, float] = field(default_factory=dict)  # seconds of each kind of epoch, for a budget
    seconds_before_resume: float = 0.0  # that it had taken when it was resumed


def validation_scores(task: Task, *, batch_size: int = 64) -> NDArray[np.float32]:
    """Return the class scores of the validation examples, float32 of shape (n, c), in their order."""
    count = len(task.validation.y)
    task.set_training(training=False)
    scores = np.zeros((count, task.c), np.float32)
    batches = task.validation_batches or np.split(np.arange(count), range(batch_size, count, batch_size))
    with torch.inference_mode(), precision(task.device):
        for rows in batches if count else ():
            inputs = task.validation.inputs(rows, epoch=0)
            scores[rows] = task.scores(*(to_device(part, task.device) for part in inputs)).float().cpu().numpy()
    return scores if task.validation_first_of is None else scores[task.validation_first_of]


def loss_and_accuracy(
    scores: NDArray[np.float32], y: NDArray[np.int64], class_weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Return log loss in nats, each class weighted by `class_weights` (c,), and accuracy, of scores (n, c).

    The scores are calibrated first, as those of every head are: while a network learns, it grows surer than it is right
    long before it stops growing better. NaN where a score is not finite, and where there is none.
    """
    if not len(y) or not np.isfinite(scores).all():
        return math.nan, math.nan
    weights = class_weights[y]
    losses = log_losses(scores, y, fit_temperature(scores, y, weights))
    return float(weights @ losses / weights.sum()), float((scores.argmax(axis=1) == y).mean())


def batch_loss(
    task: Task,
    recipe: Recipe,
    inputs: tuple[Tensor, ...],
    y: Tensor,
    *,
    class_weights: Tensor,
    row_weights: Tensor,
    seed: int,
) -> tuple[Tensor, int]:
    """Return the weighted sum of the losses of some examples in nats, and how many are classified correctly.

    `inputs` hold a row of each tensor an example; `y` is int64 of shape (n,); `seed` is that of mixup. Each loss counts
    as `row_weights` (n,) says.
    """
    if task.objective is not None:
        with precision(task.device):
            outputs = task.objective.outputs(*inputs)
        losses, correct = task.objective.losses(outputs.float(), y)
        return (losses * class_weights[y] * row_weights).sum(), correct
    targets = one_hot(y, task.c).float()
    if recipe.mixup:
        mixed = [mixup(part.float(), targets, alpha=recipe.mixup, seed=seed) for part in (*inputs, row_weights)]
        (*inputs_mixed, row_weights), targets = [part for part, _ in mixed], mixed[0][1]
        inputs = tuple(inputs_mixed)
    with precision(task.device):
        scores = task.scores(*inputs)
    losses = cross_entropy(scores.float(), targets, reduction="none", label_smoothing=recipe.label_smoothing)
    losses = losses * (targets @ class_weights) * row_weights
    return losses.sum(), int((scores.detach().argmax(dim=1) == y).sum())


def mixup(inputs: Tensor, targets: Tensor, *, alpha: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return a batch whose examples are each mixed with another one, and its targets (mixup; Zhang et al. 2018).

    One share, of Beta(alpha, alpha), serves the whole batch, as in the paper's own experiments. Inputs are floats of
    shape (n, …), prepared inputs or features; targets of shape (n, classes), one-hot or probabilities.
    """
    rng = np.random.default_rng(seed)
    share = float(rng.beta(alpha, alpha))
    partners = torch.from_numpy(rng.permutation(len(inputs))).to(inputs.device)
    return inputs.lerp(inputs[partners], 1 - share), targets.lerp(targets[partners], 1 - share)


def default_device() -> torch.device:
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
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def load_tensors(task: Task, values: Mapping[str, Tensor]) -> None:
    """Set the weights and statistics of a task, in place."""
    tensors = task.tensors
    with torch.no_grad():
        for name, value in values.items():
            tensors[name].copy_(value)


def to_device(part: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on `device`; on its way to a GPU through pinned memory, which does not wait."""
    return part if device.type == "cpu" else part.pin_memory().to(device, non_blocking=True)
