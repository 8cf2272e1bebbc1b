"""The training loop: the only one there is, for tuning, scratch and pretraining, of whatever kind of data.

Nothing random is carried from step to step: what a step draws follows from the seed and its number, so that a run that
was killed goes on from its checkpoint to the very weights of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.base.interrupts import keeping
from headstart.base.memory import is_no_memory, keep_freed, reraise_out_of_memory, too_large
from headstart.base.prefetch import Prefetcher
from headstart.base.progress import Progress, Step
from headstart.heads.folds import class_weights
from headstart.tune.training.run_state import MovingAverage, RunState, RunTensors, copied, load_run, save_run
from headstart.tune.training.schedule import RESERVED_SHARE, affordable_epochs, learning_rate_share, replanned
from headstart.tune.training.signals import StopRequest, interruptible
from headstart.tune.training.task import (
    EpochResult,
    Recipe,
    Task,
    TrainResult,
    batch_loss,
    load_tensors,
    loss_and_accuracy,
    to_device,
    validation_scores,
)
from headstart.tune.training.trackers import RUN, Tracker, tracking

SECONDS_BETWEEN_CHECKPOINTS = 60.0  # and there is one at the end of each epoch
EXPLODED = 5.0  # times the log loss of guessing, or of the start


def train(
    task: Task,
    recipe: Recipe,
    *,
    name: str = "Tuning",
    budget: float | None = None,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    seconds_between_checkpoints: float = SECONDS_BETWEEN_CHECKPOINTS,
    trackers: Sequence[Tracker] = (),
    progress: Progress | None = None,
) -> TrainResult:
    """Learn, and leave the weights of the best epoch in the task.

    Args:
        name: what the progress display calls it.
        budget: seconds that it may take, those before a resume included; None for as many as the epochs need.
        folder: where checkpoints are kept, and looked for: a run that stands there goes on; None keeps none.
        identity: plain values that say which run it is; a checkpoint of another one is refused.
        seconds_between_checkpoints: within an epoch.
        trackers: receive the numbers of each epoch.

    Raises:
        UsageError: the checkpoint is of another run; a batch does not fit in memory; the disk is full.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written.
    """
    keep_freed()
    run_identity = {**asdict(recipe), **(identity or {})}
    run = _Run(
        task, recipe, budget, folder, run_identity, seconds_between_checkpoints, trackers, progress or Progress()
    )
    with interruptible() as stop, keeping(run.kept), tracking(trackers, {RUN: name, **run_identity}):
        if not run.restore():
            run.begin()
        total = run.state.planned * len(task.train.y)
        done = run.state.epoch * len(task.train.y) + run.state.seen
        with run.progress.step(name, total, "examples", done=done) as step:
            while not run.state.stop_reason and not stop.requested():
                run.epoch(step, stop)
                step.total = run.state.planned * len(task.train.y)  # a budget may give another number of epochs
        if stop.requested() and not run.state.stop_reason:
            stop.raise_()
    return run.result()


@dataclass
class _Run:
    """One run under way."""

    task: Task
    recipe: Recipe
    budget: float | None
    folder: Path | None
    identity: dict[str, Any]
    seconds_between_checkpoints: float
    trackers: Sequence[Tracker]
    progress: Progress

    def __post_init__(self) -> None:
        task, recipe = self.task, self.recipe
        self.state = RunState(planned=recipe.epochs, micro_batches=recipe.micro_batches)
        groups = [
            {
                "params": [weight.tensor],
                "lr_scale": weight.lr_scale,
                "lr": 0.0,
                "weight_decay": recipe.weight_decay if weight.decays and weight.tensor.ndim > 1 else 0.0,
            }
            for weight in task.weights
        ]
        start = copied(task)
        average = MovingAverage(task.tensors, recipe.ema_decay) if recipe.ema_decay else None
        self.tensors = RunTensors(start, start, torch.optim.AdamW(groups), average)
        weights = class_weights(task.train.y, task.c, task.train_counts)
        self.class_weights = np.where(weights > 0, weights, 1.0)
        self.class_weight_tensor = torch.tensor(self.class_weights, dtype=torch.float32, device=task.device)
        counts = np.ones(len(task.train.y)) if task.train_counts is None else task.train_counts
        self.row_weights = torch.tensor(counts / counts.mean(), dtype=torch.float32)
        self.seconds_before_resume = 0.0
        self._clock = self._saved = time.monotonic()
        self._kept = 0  # steps that the newest checkpoint holds

    def begin(self) -> None:
        """Evaluate the start, and plan as many epochs as the budget allows."""
        self._tick()
        start = self.state.seconds
        self._record(math.nan, math.nan)
        validation_seconds = self.state.seconds - start
        if self.budget is not None:
            self.state.planned = self._affordable(validation_seconds)
        self.task.plan(self.state.planned)
        self._tick()
        if self.state.planned < 1:
            self.state.stop_reason = "short"
        self.save()

    def epoch(self, step: Step, stop: StopRequest) -> None:
        """Go on with the epoch under way, to its end or to where a stop is requested."""
        state, task, recipe = self.state, self.task, self.recipe
        task.set_training(training=True)
        batches = task.train.order(state.epoch, batch_size=recipe.batch_size, seed=recipe.seed)
        steps = len(batches) * state.planned
        remaining, epoch = batches[state.batch :], state.epoch
        with Prefetcher(lambda rows: self._inputs(rows, epoch), remaining, workers=1, window=1) as ahead:
            for rows, inputs in zip(remaining, ahead, strict=True):
                state.stop_reason = self._learn(rows, inputs, steps)
                step.advance(len(rows))
                self._tick(learning=True)
                if stop.requested():
                    with stop.saving():
                        self.save()
                    return
                if self.budget is not None and state.seconds > self.budget:
                    state.stop_reason = state.stop_reason or "budget"
                if state.stop_reason:
                    break
                if time.monotonic() - self._saved > self.seconds_between_checkpoints:
                    self.save()
        if state.stop_reason == "exploded":
            self.save()
        else:
            self._end_epoch()

    def _inputs(self, rows: NDArray[np.intp], epoch: int) -> tuple[Tensor, ...]:
        with reraise_out_of_memory(f"a batch of {self.recipe.batch_size}"):
            return self.task.train.inputs(rows, epoch=epoch)

    def _learn(self, rows: NDArray[np.intp], inputs: tuple[Tensor, ...], steps: int) -> str:
        """Take one step; return why the run must end, or nothing."""
        state = self.state
        # A later rate is due where the budget is used up faster than the steps.
        due = 0 if self.budget is None else int(steps * state.seconds / self.budget)
        rate = self.recipe.learning_rate * learning_rate_share(max(state.step, due), steps)
        for group in self.tensors.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        loss, correct = self._gradients(rows, inputs)
        if not math.isfinite(loss):
            return "exploded"
        weights = [weight.tensor for weight in self.task.weights]
        torch.nn.utils.clip_grad_norm_(weights, self.recipe.max_gradient_norm)
        self.tensors.optimizer.step()
        state.step += 1
        if self.tensors.average is not None:
            self.tensors.average.update(state.step)
        state.batch += 1
        state.loss += loss * len(rows)
        state.correct += correct
        state.seen += len(rows)
        state.learned += len(rows)
        return ""

    def _gradients(self, rows: NDArray[np.intp], inputs: tuple[Tensor, ...]) -> tuple[float, int]:
        """Return loss and number correct of one batch, its gradients left on the weights; in halves where it must."""
        while True:
            torch.manual_seed(self._step_seed)
            self.tensors.optimizer.zero_grad(set_to_none=True)
            try:
                pieces = np.array_split(np.arange(len(rows)), min(self.state.micro_batches, len(rows)))
                results = [self._piece(rows, inputs, piece) for piece in pieces]
            except (MemoryError, RuntimeError) as error:
                if not is_no_memory(error):
                    raise
                self._halve(error)
                continue
            return sum(loss for loss, _ in results), sum(correct for _, correct in results)

    @property
    def _step_seed(self) -> int:
        return self.recipe.seed * 1_000_003 + self.state.step

    def _piece(self, rows: NDArray[np.intp], inputs: tuple[Tensor, ...], piece: NDArray[np.intp]) -> tuple[float, int]:
        task = self.task
        parts = tuple(to_device(part[piece[0] : piece[-1] + 1], task.device) for part in inputs)
        y = torch.from_numpy(task.train.y[rows[piece]]).to(task.device)
        total, correct = batch_loss(
            task,
            self.recipe,
            parts,
            y,
            class_weights=self.class_weight_tensor,
            row_weights=self.row_weights[rows[piece]].to(task.device),
            seed=self._step_seed,
        )
        loss = total / len(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), correct

    def _halve(self, error: BaseException) -> None:
        if self.state.micro_batches > self.recipe.micro_batches:
            raise too_large(f"half a batch of {self.recipe.batch_size}", error) from error
        self.state.micro_batches = 2 * self.recipe.micro_batches
        self.progress.say(
            f"A batch of {self.recipe.batch_size} does not fit in memory: computed in {self.state.micro_batches} parts"
        )

    def _end_epoch(self) -> None:
        state = self.state
        state.epoch += 1
        state.batch = 0
        self._record(state.loss / state.seen, state.correct / state.seen)
        state.loss, state.correct, state.seen = 0.0, 0, 0
        last, best = state.history[-1], state.history[state.best]
        guessing = max(math.log(self.task.c), state.history[0]["loss"])
        sound = math.isfinite(last["loss"]) or (self.recipe.keep_last and math.isfinite(last["train_loss"]))
        if not sound or last["train_loss"] > EXPLODED * guessing:
            state.stop_reason = "exploded"
        elif self.recipe.keep_last or last["loss"] < best["loss"]:
            with self._averaged():
                state.best, self.tensors.best = state.epoch, copied(self.task)
        elif state.epoch - state.best >= self.recipe.patience:
            state.stop_reason = state.stop_reason or "patience"
        if not state.stop_reason and self.budget is not None:
            self._replan()
        if not state.stop_reason and state.epoch >= state.planned:
            state.stop_reason = "epochs"
        self.save()

    def _record(self, loss: float, accuracy: float) -> None:
        """Evaluate the weights as they stand, and report the epoch to the trackers."""
        state, task = self.state, self.task
        with self._averaged():
            if task.objective is not None and state.epoch:
                task.objective.refit_head()
            scores = validation_scores(task) if task.validates else None
            self._tick()
            last = bool(state.stop_reason) or state.epoch >= state.planned
            task.on_epoch(state.epoch, last, lambda: validation_scores(task))
            self._clock = time.monotonic()
        validation = (
            (math.nan, math.nan) if scores is None else loss_and_accuracy(scores, task.validation.y, self.class_weights)
        )
        epoch = EpochResult(state.epoch, loss, accuracy, *validation, round(state.seconds, 3))
        state.history.append(asdict(epoch))
        numbers = {
            "train/loss": loss,
            "train/accuracy": accuracy,
            "validation/loss": epoch.loss,
            "validation/accuracy": epoch.accuracy,
            **{f"rate/{group}": rate for group, rate in self._rates().items()},
        }
        known = {name: number for name, number in numbers.items() if not math.isnan(number)}
        for tracker in self.trackers:
            tracker.epoch(known, epoch=epoch.epoch)

    def _rates(self) -> dict[str, float]:
        """Return the present learning rates of the head and, at most, of the body."""
        rates: dict[str, float] = {}
        for weight, group in zip(self.task.weights, self.tensors.optimizer.param_groups, strict=True):
            part = "head" if weight.name.startswith("head.") else "body"
            rates[part] = max(rates.get(part, 0.0), float(group["lr"]))
        return rates

    def _affordable(self, validation_seconds: float) -> int:
        """Return how many epochs fit into what is left of the budget; steps are timed, and leave no trace."""
        assert self.budget is not None
        self.task.set_training(training=True)
        kinds = self.task.plan(self.recipe.epochs)
        for kind in dict.fromkeys(kinds):
            batches = self.task.train.order(0, batch_size=self.recipe.batch_size, seed=self.recipe.seed)
            for _ in range(2):  # the first step warms up
                start = time.monotonic()
                self._gradients(batches[0], self._inputs(batches[0], kinds.index(kind)))
                step_seconds = time.monotonic() - start
            self.state.costs[str(kind)] = step_seconds * len(batches) + validation_seconds
        self.tensors.optimizer.zero_grad(set_to_none=True)
        load_tensors(self.task, self.tensors.start)  # running statistics have moved
        self._tick()
        left = self.budget * (1 - RESERVED_SHARE) - self.state.seconds
        return affordable_epochs(self.task, self.state.costs, done=0, limit=self.recipe.epochs, left=left)

    def _replan(self) -> None:
        """Plan as many epochs as end within the budget, now that one more is over."""
        state = self.state
        assert self.budget is not None
        state.costs, planned = replanned(self.task, state, limit=self.recipe.epochs, budget=self.budget)
        if planned != state.planned:
            self.progress.say(f"{planned} epochs end within the budget, not {state.planned} as planned")
        state.planned = planned
        self.task.plan(planned)

    def _averaged(self) -> AbstractContextManager[None]:
        """Let the task have its averaged weights inside the block, where there are such."""
        return nullcontext() if self.tensors.average is None else self.tensors.average.in_place()

    def _tick(self, *, learning: bool = False) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._clock
        if learning:
            self.state.learning_seconds += now - self._clock
        self._clock = now

    def save(self) -> None:
        """Write a checkpoint, where there is a folder for it."""
        if self.folder is not None:
            save_run(self.folder, self.task, self.state, self.tensors, identity=self.identity)
            self._kept = self.state.step
        self._saved = time.monotonic()

    def kept(self) -> str:
        """Return what a checkpoint holds, as a clause; empty where there is none."""
        return f"{self._kept:,} steps are kept" if self._kept else ""

    def restore(self) -> bool:
        """Go back to the newest checkpoint; return False where there is none.

        Raises:
            UsageError: it is of another run.
        """
        if self.folder is None:
            return False
        state = load_run(self.folder, self.task, self.tensors, identity=self.identity, say=self.progress.say)
        if state is None:
            return False
        self.state, self.seconds_before_resume = state, state.seconds
        self.task.plan(state.planned)
        return True

    def result(self) -> TrainResult:
        """Put the best weights in place, and return the result of the run."""
        state = self.state
        load_tensors(self.task, self.tensors.best)
        self.task.set_training(training=False)
        return TrainResult(
            history=tuple(EpochResult(**epoch) for epoch in state.history),
            best=state.best,
            stop_reason=state.stop_reason,
            start=self.tensors.start,
            planned=state.planned,
            images_per_second=state.learned / state.learning_seconds if state.learning_seconds else 0.0,
            images=state.learned,
            costs=state.costs,
            seconds_before_resume=self.seconds_before_resume,
        )
