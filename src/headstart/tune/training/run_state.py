"""The state of a training run, and its checkpoints: everything that a run needs to go on to the very same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.tune.training.checkpoint import Checkpoint, check_same, newest, save, storable, under, with_nan
from headstart.tune.training.task import Task, load_tensors


class MovingAverage:
    """An exponential moving average of tensors (Polyak & Juditsky 1992), short at first: the start is forgotten.

    A step keeps a share of it, at most `decay`, 0..1. Whole numbers, such as counters, are left as they are.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.tensors = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
        self.decay = decay
        self.values = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}

    def update(self, step: int) -> None:
        """Take the tensors as they are after `step` steps, from 1, into the average."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self.values.items():
                value.lerp_(self.tensors[name].detach(), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the tensors have their averages inside the block."""
        now = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(now)

    def _put(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self.tensors[name].copy_(value)


@dataclass
class RunState:
    """Everything of a run that is no tensor."""

    epoch: int = 0  # epochs done
    batch: int = 0  # batches done of the epoch under way
    step: int = 0  # optimizer steps done
    planned: int = 0  # epochs in all
    micro_batches: int = 1  # pieces that a batch is computed in
    best: int = 0  # number of the best epoch
    seconds: float = 0.0
    learning_seconds: float = 0.0  # of them, those of optimizer steps
    loss: float = 0.0  # sum of the losses of the epoch under way, in nats
    correct: int = 0  # examples of it that were classified correctly
    seen: int = 0  # examples of it
    learned: int = 0  # examples of all epochs
    stop_reason: str = ""  # empty while the run goes on
    costs: dict[str, float] = field(default_factory=dict)  # planned seconds of an epoch of each kind
    history: list[dict[str, Any]] = field(default_factory=list)  # the epochs done, as plain values


@dataclass
class RunTensors:
    """The tensors of a run beside those of its task; `start` and `best` are weights and statistics, by name."""

    start: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None


def copied(task: Task) -> dict[str, Tensor]:
    """Return copies of the weights and statistics of a task, by name."""
    return {name: tensor.detach().clone() for name, tensor in task.tensors.items()}


def save_run(folder: Path, task: Task, state: RunState, tensors: RunTensors, *, identity: Mapping[str, Any]) -> None:
    """Write a checkpoint into `folder`; UsageError where the disk is full."""
    named = {f"now/{name}": tensor for name, tensor in copied(task).items()}
    named |= {f"best/{name}": tensor for name, tensor in tensors.best.items()}
    named |= {f"start/{name}": tensor for name, tensor in tensors.start.items()}
    if tensors.average is not None:
        named |= {f"average/{name}": tensor for name, tensor in tensors.average.values.items()}
    for number, weight in enumerate(task.weights):
        for name, tensor in tensors.optimizer.state.get(weight.tensor, {}).items():
            named[f"adam/{number}/{name}"] = tensor
    content = {"run": asdict(state), "identity": dict(identity), "learns": [weight.name for weight in task.weights]}
    arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in named.items()}
    save(folder, Checkpoint(state.step, arrays, storable(content)))


def load_run(
    folder: Path, task: Task, tensors: RunTensors, *, identity: Mapping[str, Any], say: Callable[[str], None]
) -> RunState | None:
    """Set task and tensors to the newest checkpoint in `folder`, and return its state; None where there is none.

    `say` is called with one line for each damaged checkpoint; UsageError where `identity` or weights are of another
    run.
    """
    checkpoint = newest(folder, say)
    if checkpoint is None:
        return None
    saved = {**checkpoint.state["identity"], "what learns": checkpoint.state["learns"]}
    expected = {**storable(dict(identity)), "what learns": [weight.name for weight in task.weights]}
    check_same(saved, expected)
    named = {name: torch.from_numpy(array.copy()) for name, array in checkpoint.tensors.items()}
    load_tensors(task, under("now/", named))
    tensors.best, tensors.start = under("best/", named), under("start/", named)
    if tensors.average is not None:
        tensors.average.values = under("average/", named)
    for number, weight in enumerate(task.weights):
        if moments := under(f"adam/{number}/", named):
            tensors.optimizer.state[weight.tensor] = {
                name: tensor if name == "step" else torch.empty_like(weight.tensor).copy_(tensor)
                for name, tensor in moments.items()
            }
    return RunState(**with_nan(checkpoint.state["run"]))
