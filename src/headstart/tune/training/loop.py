"""The training loop: the only one there is, for tuning, scratch and pretraining, of whatever kind of data.

Nothing random is carried from step to step: what a step draws follows from the seed and its number, so that a run that
was killed goes on from its checkpoint to the very weights of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.base.errors import UsageError
from headstart.base.memory import is_no_memory, keep_freed, reraise_out_of_memory, too_large
from headstart.base.progress import Progress, Step
from headstart.heads.folds import class_weights
from headstart.tune.training.checkpoint import Checkpoint, differences, newest, save, storable, under, with_nan
from headstart.tune.training.ema import Average
from headstart.tune.training.epoch_budget import KEPT_BACK, EpochsDone, fitting, replanned
from headstart.tune.training.losses import loss_of
from headstart.tune.training.schedule import share_of_rate
from headstart.tune.training.signals import Stop, interruptible
from headstart.tune.training.task import EpochResult, Recipe, Task, Trained, evaluate, judge, moved, put
from headstart.tune.training.trackers import RUN, Tracker, tracking

SAVED_EVERY = 60.0  # seconds, and at the end of each epoch
EXPLODED = 5.0  # times the log loss of guessing, or of the start


def train(
    task: Task,
    recipe: Recipe,
    *,
    name: str = "Tuning",
    budget: float | None = None,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    watchers: Sequence[Tracker] = (),
    progress: Progress | None = None,
) -> Trained:
    """Learn, and leave the weights of the best epoch in the task.

    Args:
        task: what is to be learned.
        recipe: how.
        name: what the progress display calls it.
        budget: seconds that it may take, those before a resume included; None for as many as the epochs need.
        folder: where checkpoints are kept, and looked for: a run that stands there goes on; None keeps none.
        identity: plain values that say which run it is; a checkpoint of another one is refused.
        watchers: are told the numbers of each epoch.
        progress: where to show progress; nothing is shown by default.

    Raises:
        UsageError: the checkpoint is of another run; a batch does not fit in memory; the disk is full.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written.
    """
    keep_freed()
    said = {**asdict(recipe), **(identity or {})}
    run = _Run(task, recipe, budget=budget, folder=folder, identity=said, progress=progress or Progress())
    run.watchers = watchers
    with interruptible() as stop, tracking(watchers, {RUN: name, **run.identity}):
        if not run.restore():
            run.begin()
        total = run.state.planned * len(task.train.y)
        done = run.state.epoch * len(task.train.y) + run.state.seen
        with run.progress.step(name, total, "examples", done=done) as step:
            while not run.state.why and not stop.asked():
                run.epoch(step, stop)
        if stop.asked() and not run.state.why:
            run.keep()
            stop.raise_()
    return run.result()


@dataclass
class _State:
    """Everything of a run that is no tensor; what a checkpoint holds of it."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    planned: int = 0
    parts: int = 1
    best: int = 0
    seconds: float = 0.0
    learning: float = 0.0
    loss: float = 0.0
    right: int = 0
    seen: int = 0
    learned: int = 0
    why: str = ""
    costs: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


class _Run:
    """One run under way."""

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        *,
        budget: float | None,
        folder: Path | None,
        identity: dict[str, Any],
        progress: Progress,
    ) -> None:
        self.task, self.recipe, self.budget, self.folder = task, recipe, budget, folder
        self.identity, self.progress = identity, progress
        self.watchers: Sequence[Tracker] = ()
        self.state = _State(planned=recipe.epochs, parts=recipe.parts)
        self.average = Average(task.held, recipe.average) if recipe.average else None
        self.start = self._copied()
        self.best = self.start
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [weight.tensor],
                    "share": weight.rate,
                    "lr": 0.0,
                    "weight_decay": recipe.decay if weight.decays and weight.tensor.ndim > 1 else 0.0,
                }
                for weight in task.weights
            ]
        )
        counted = class_weights(task.train.y, task.c)
        self.counted = np.where(counted > 0, counted, 1.0)
        self.class_weights = torch.tensor(self.counted, dtype=torch.float32, device=task.device)
        self.before = 0.0
        self._clock = self._saved = time.monotonic()

    def begin(self) -> None:
        """Judge the start, and plan as many epochs as the budget allows."""
        self._tick()
        start = self.state.seconds
        self._record(math.nan, math.nan)
        judging = self.state.seconds - start
        if self.budget is not None:
            self.state.planned = self._affordable(judging)
        self.task.plan(self.state.planned)
        self._tick()
        if self.state.planned < 1:
            self.state.why = "short"
        self.keep()

    def epoch(self, step: Step, stop: Stop) -> None:
        """Go on with the epoch under way, to its end or to where it is asked to stop."""
        state, task, recipe = self.state, self.task, self.recipe
        task.mode(training=True)
        batches = task.train.order(state.epoch, batch=recipe.batch, seed=recipe.seed)
        steps = len(batches) * state.planned
        with ThreadPoolExecutor(1, thread_name_prefix="inputs") as ahead:
            if state.batch < len(batches):  # else a run was stopped after the last batch
                coming = ahead.submit(self._inputs, batches[state.batch], state.epoch)
            while state.batch < len(batches):
                rows, given = batches[state.batch], coming.result()
                if state.batch + 1 < len(batches):
                    coming = ahead.submit(self._inputs, batches[state.batch + 1], state.epoch)
                state.why = self._learn(rows, given, steps)
                step.advance(len(rows))
                self._tick(learning=True)
                if stop.asked():
                    return
                if self.budget is not None and state.seconds > self.budget:
                    state.why = state.why or "budget"
                if state.why:
                    break
                if time.monotonic() - self._saved > SAVED_EVERY:
                    self.keep()
        if state.why == "exploded":
            self.keep()
        else:
            self._end_epoch()

    def _inputs(self, rows: NDArray[np.intp], epoch: int) -> tuple[Tensor, ...]:
        with reraise_out_of_memory(f"a batch of {self.recipe.batch}"):
            return self.task.train.inputs(rows, epoch=epoch)

    def _learn(self, rows: NDArray[np.intp], given: tuple[Tensor, ...], steps: int) -> str:
        """Take one step; return why the run must end, or nothing."""
        state = self.state
        rate = self.recipe.rate * share_of_rate(self._place(steps), steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        loss, right = self._gradients(rows, given)
        if not math.isfinite(loss):
            return "exploded"
        torch.nn.utils.clip_grad_norm_([weight.tensor for weight in self.task.weights], self.recipe.clip)
        self.optimizer.step()
        state.step += 1
        if self.average is not None:
            self.average.update(state.step)
        state.batch += 1
        state.loss += loss * len(rows)
        state.right += right
        state.seen += len(rows)
        state.learned += len(rows)
        return ""

    def _place(self, steps: int) -> int:
        """Return the step whose rate is due: a later one where the budget is used up faster than the steps."""
        if self.budget is None:
            return self.state.step
        return max(self.state.step, int(steps * self.state.seconds / self.budget))

    def _gradients(self, rows: NDArray[np.intp], given: tuple[Tensor, ...]) -> tuple[float, int]:
        """Return loss and number right of one batch, its gradients left on the weights; in halves where it must."""
        while True:
            torch.manual_seed(self.recipe.seed * 1_000_003 + self.state.step)
            self.optimizer.zero_grad(set_to_none=True)
            try:
                pieces = np.array_split(np.arange(len(rows)), min(self.state.parts, len(rows)))
                found = [self._piece(rows, given, piece) for piece in pieces]
            except (MemoryError, RuntimeError) as error:
                if not is_no_memory(error):
                    raise
                self._halve(error)
                continue
            return sum(loss for loss, _ in found), sum(right for _, right in found)

    def _piece(self, rows: NDArray[np.intp], given: tuple[Tensor, ...], piece: NDArray[np.intp]) -> tuple[float, int]:
        task, recipe = self.task, self.recipe
        inputs = tuple(moved(part[piece[0] : piece[-1] + 1], task.device) for part in given)
        y = torch.from_numpy(task.train.y[rows[piece]]).to(task.device)
        seed = recipe.seed * 1_000_003 + self.state.step
        total, right = loss_of(task, recipe, inputs, y, counted=self.class_weights, seed=seed)
        loss = total / len(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), right

    def _halve(self, error: BaseException) -> None:
        if self.state.parts > self.recipe.parts:
            raise too_large(f"half a batch of {self.recipe.batch}", error) from error
        self.state.parts = 2 * self.recipe.parts
        self.progress.say(
            f"A batch of {self.recipe.batch} does not fit in memory: computed in {self.state.parts} parts"
        )

    def _end_epoch(self) -> None:
        state = self.state
        state.epoch += 1
        state.batch = 0
        self._record(state.loss / state.seen, state.right / state.seen)
        state.loss, state.right, state.seen = 0.0, 0, 0
        last, best = state.history[-1], state.history[state.best]
        guessing = max(math.log(self.task.c), state.history[0]["loss"])
        sound = math.isfinite(last["loss"]) or (self.recipe.last and math.isfinite(last["train_loss"]))
        if not sound or last["train_loss"] > EXPLODED * guessing:
            state.why = "exploded"
        elif self.recipe.last or last["loss"] < best["loss"]:
            with self._averaged():
                state.best, self.best = state.epoch, self._copied()
        elif state.epoch - state.best >= self.recipe.patience:
            state.why = state.why or "patience"
        if not state.why and self.budget is not None:
            self._replan()
        if not state.why and state.epoch >= state.planned:
            state.why = "epochs"
        self.keep()

    def _record(self, loss: float, accuracy: float) -> None:
        """Judge the weights as they stand, and tell it."""
        with self._averaged():
            if self.task.aim is not None and self.state.epoch:
                self.task.aim.wait_for_parity()
            scores = evaluate(self.task)
            self._tick()
            self.task.each(self.state.epoch, bool(self.state.why) or self.state.epoch >= self.state.planned)
            self._clock = time.monotonic()
        y = self.task.validation.y
        judged = judge(scores, y, self.counted) if len(y) else (math.nan, math.nan)
        epoch = EpochResult(self.state.epoch, loss, accuracy, *judged, round(self.state.seconds, 3))
        self.state.history.append(asdict(epoch))
        for watcher in self.watchers:
            watcher.epoch(
                {
                    "train/loss": loss,
                    "train/accuracy": accuracy,
                    "validation/loss": epoch.loss,
                    "validation/accuracy": epoch.accuracy,
                    **{f"rate/{group}": rate for group, rate in self._rates().items()},
                },
                epoch=epoch.epoch,
            )

    def _rates(self) -> dict[str, float]:
        """Return the present learning rates of the head and, at most, of the body."""
        rates: dict[str, float] = {}
        for weight, group in zip(self.task.weights, self.optimizer.param_groups, strict=True):
            part = "head" if weight.name.startswith("head.") else "body"
            rates[part] = max(rates.get(part, 0.0), float(group["lr"]))
        return rates

    def _affordable(self, judging: float) -> int:
        """Return how many epochs fit into what is left of the budget; steps are timed, and leave no trace."""
        assert self.budget is not None
        self.task.mode(training=True)
        kinds = self.task.plan(self.recipe.epochs)
        for kind in dict.fromkeys(kinds):
            batches = self.task.train.order(0, batch=self.recipe.batch, seed=self.recipe.seed)
            for _ in range(2):  # the first one warms up
                start = time.monotonic()
                self._gradients(batches[0], self._inputs(batches[0], kinds.index(kind)))
                a_step = time.monotonic() - start
            self.state.costs[str(kind)] = a_step * len(batches) + judging
        self.optimizer.zero_grad(set_to_none=True)
        put(self.task, self.start)  # running statistics have moved
        self._tick()
        left = self.budget * (1 - KEPT_BACK) - self.state.seconds
        return fitting(self.task, self.state.costs, done=0, most=self.recipe.epochs, left=left)

    def _replan(self) -> None:
        """Plan as many epochs as end within the budget, now that one more is over."""
        state = self.state
        assert self.budget is not None
        took = state.history[-1]["seconds"] - state.history[-2]["seconds"]
        left = self.budget - state.seconds
        done = EpochsDone(state.epoch, state.planned, self.recipe.epochs, took, left, self.budget)
        state.costs, planned = replanned(self.task, state.costs, done)
        if planned != state.planned:
            self.progress.say(f"{planned} epochs end within the budget, not {state.planned} as planned")
        state.planned = planned
        self.task.plan(planned)

    def _averaged(self) -> AbstractContextManager[None]:
        """Let the task have its averaged weights inside the block, where there are such."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _tick(self, *, learning: bool = False) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._clock
        if learning:
            self.state.learning += now - self._clock
        self._clock = now

    def _copied(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.task.held.items()}

    def keep(self) -> None:
        """Write a checkpoint, where there is a folder for it."""
        self._saved = time.monotonic()
        if self.folder is None:
            return
        tensors = {f"now/{name}": tensor for name, tensor in self._copied().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"start/{name}": tensor for name, tensor in self.start.items()}
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.values.items()}
        for at, weight in enumerate(self.task.weights):
            for name, tensor in self.optimizer.state.get(weight.tensor, {}).items():
                tensors[f"adam/{at}/{name}"] = tensor
        state = {"run": asdict(self.state), "identity": self.identity, "learns": [w.name for w in self.task.weights]}
        arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in tensors.items()}
        save(self.folder, Checkpoint(self.state.step, arrays, storable(state)))

    def restore(self) -> bool:
        """Go back to the newest checkpoint; return False where there is none.

        Raises:
            UsageError: it is of another run.
        """
        found = None if self.folder is None else newest(self.folder, self.progress.say)
        if found is None:
            return False
        wanted = storable({"identity": self.identity, "learns": [weight.name for weight in self.task.weights]})
        saved = {**found.state["identity"], "what learns": found.state["learns"]}
        changed = differences(saved, {**wanted["identity"], "what learns": wanted["learns"]})
        if changed:
            raise UsageError(
                "--resume goes on with the same data and arguments",
                "; ".join(changed),
                "give them as they were, or start anew in another folder",
            )
        tensors = {name: torch.from_numpy(array.copy()) for name, array in found.tensors.items()}
        self.state = _State(**with_nan(found.state["run"]))
        self.before = self.state.seconds
        put(self.task, under("now/", tensors))
        self.best, self.start = under("best/", tensors), under("start/", tensors)
        if self.average is not None:
            self.average.values = under("average/", tensors)
        self.task.plan(self.state.planned)
        for at, weight in enumerate(self.task.weights):
            if moments := under(f"adam/{at}/", tensors):
                self.optimizer.state[weight.tensor] = {
                    name: tensor if name == "step" else torch.empty_like(weight.tensor).copy_(tensor)
                    for name, tensor in moments.items()
                }
        return True

    def result(self) -> Trained:
        """Put the best weights in place, and say what came of the run."""
        state = self.state
        put(self.task, self.best)
        self.task.mode(training=False)
        rate = state.learned / state.learning if state.learning else 0.0
        history = tuple(EpochResult(**one) for one in state.history)
        return Trained(
            history, state.best, state.why, self.start, state.planned, rate, state.learned, state.costs, self.before
        )
