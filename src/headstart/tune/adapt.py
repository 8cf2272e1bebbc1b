"""Tuning as a whole: from the head that was chosen to weights that are better than it, or to the word that none are."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.base.memory import said_when_scarce
from headstart.base.progress import Progress
from headstart.data.images import shorter_side
from headstart.heads.calibrate import fit_temperature, log_losses
from headstart.heads.linear import LinearHead
from headstart.heads.parts import class_weights
from headstart.heads.select import refit
from headstart.judge.intervals import Interval, paired_difference
from headstart.sources.from_torch import TorchSource
from headstart.sources.tuned import TunedSource
from headstart.tune.arm import Arm, Way
from headstart.tune.ground import Ground
from headstart.tune.mirror import mirror_keeps_labels
from headstart.tune.network import takes
from headstart.tune.rows import Rows
from headstart.tune.settings import ALL, AUTO, Settings
from headstart.tune.task import Epoch, Recipe, Trained
from headstart.tune.watch import Watcher

ALPHAS = (0.25, 0.5, 0.75, 1.0)
RATES = {"norm": 1e-3, "lora": 1e-3, "last": 5e-4, "all": 3e-4}
"""The full learning rate of each mode; that of stages below the topmost decays from it."""
BUDGET = 600.0
"""Seconds for `auto` where no budget is given."""
RUNG = 0.4
"""Of what is left of the budget, for a rung of more than one way."""
FAIR = 60.0  # seconds below which a rung says little of a way
LEAST = 8  # examples that must judge
LOOKED_AT = 32  # photos whose size is looked at
LEAST_GAIN = 1e-3  # nats: what rounding alone gains is steady, and nothing
SMALLEST = 64  # pixels; below, the maps of a network made for 224 vanish


@dataclass(frozen=True)
class Tried:
    """One way of tuning, and what came of it on the examples that judge.

    Attributes:
        name: of the way.
        log_loss: in nats, after calibration.
        accuracy: 0..1.
        gain: of log loss against the frozen source, with its paired interval; above 0 is better.
        alpha: how far from start to end the weights stand (WiSE-FT).
        why: why its last run ended.
        history: its epochs, over all its runs.
        images_per_second: learned from.
        kept: whether its epochs ran from kept activations.
    """

    name: str
    log_loss: float
    accuracy: float
    gain: Interval
    alpha: float
    why: str
    history: tuple[Epoch, ...]
    images_per_second: float
    kept: bool


@dataclass(frozen=True)
class Tuning:
    """What came of tuning.

    Attributes:
        kept: whether the tuned source is better than the frozen one beyond the interval.
        source: the tuned source; None unless kept.
        head: its head; None unless kept.
        layer: where the head takes its features; empty unless kept.
        way: the name of the best way; empty where nothing could be tried.
        frozen: log loss and accuracy of the frozen source on the examples that judge.
        tried: every way that was tried, best first.
        notes: what its user must be told, one sentence each.
        device: where it computed.
    """

    kept: bool
    source: TorchSource | None
    head: LinearHead | None
    layer: str
    way: str
    frozen: tuple[float, float]
    tried: tuple[Tried, ...]
    notes: tuple[str, ...]
    device: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        return {
            "kept": self.kept,
            "way": self.way,
            "frozen": {"log_loss": self.frozen[0], "accuracy": self.frozen[1]},
            "device": self.device,
            "tried": [
                {**asdict(one), "gain": one.gain.as_dict(), "history": [epoch.as_dict() for epoch in one.history]}
                for one in self.tried
            ],
        }


def tune(
    ground: Ground,
    settings: Settings,
    *,
    seed: int,
    pooled: Ground | None = None,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    watchers: Sequence[Watcher] = (),
    progress: Progress | None = None,
) -> Tuning:
    """Tune the source, and keep what came of it only where it beats the frozen one beyond the paired interval.

    Args:
        ground: the data, the source, and the head to start from, which is also what tuning has to beat.
        settings: how.
        seed: of everything that is drawn.
        pooled: the same with a head on `pool`, for `all` to start from. Joined layers serve a source of which most is
            frozen; where everything learns, the last layer comes to say what they say, and their unit lengths and
            square roots only answer each step with a jump.
        folder: where checkpoints are kept and looked for; None keeps none.
        identity: plain values that say which data and source these are.
        watchers: are told the numbers of each epoch.
        progress: where to show progress.

    Raises:
        UsageError: the source has no such stages, a checkpoint is of another run, or a batch does not fit in memory.
        DataError: a picture cannot be read any more.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written.
    """
    if len(ground.judge) < LEAST:
        raise UsageError(
            f"tuning needs {LEAST} examples to judge it by", f"{len(ground.judge)}", "add examples, or leave --tune out"
        )
    with said_when_scarce(f"tuning in batches of {settings.batch}"):
        search = _Search(
            ground,
            settings,
            pooled=pooled or ground,
            seed=seed,
            folder=folder,
            identity=identity or {},
            watchers=watchers,
            progress=progress,
        )
        return search.auto() if settings.mode == AUTO else search.single()


class _Search:
    """The ways of tuning of one `fit`, and how the frozen source does on the examples that judge."""

    def __init__(
        self,
        ground: Ground,
        settings: Settings,
        *,
        pooled: Ground,
        seed: int,
        folder: Path | None,
        identity: Mapping[str, Any],
        watchers: Sequence[Watcher],
        progress: Progress | None,
    ) -> None:
        self.ground, self.pooled, self.settings, self.seed, self.folder = ground, pooled, settings, seed, folder
        self.progress = progress or Progress()
        said = {name: value for name, value in asdict(settings).items() if name not in ("tensorboard", "track")}
        self.identity = {**identity, **said, "seed": seed}
        self.watchers = watchers
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.shelf: dict[tuple[int, int], tuple[Rows, Rows]] = {}
        self.counted = class_weights(ground.y_learn, ground.c)
        self.counted = np.where(self.counted > 0, self.counted, 1.0)[ground.y_judge]
        head = refit(ground.x, ground.y_learn, ground.c, like=ground.head)
        self.frozen = self._losses(head.scores(ground.x_judge))
        self.notes: list[str] = []
        self.mirror: bool | None = None

    def single(self) -> Tuning:
        """Tune in the one way that was asked for."""
        arm, trained = self._run(self._way(self.settings.mode, self.settings.size), self.settings.budget, "")
        return self._outcome([(arm, self._interpolated(arm, [trained]))])

    def auto(self) -> Tuning:
        """Try the ways that the budget affords, cheapest first, and spend what is left of it on the best half.

        That is successive halving (Jamieson & Talwalkar 2016): of the ways that still gain, the better half goes on. A
        way whose rung gains nothing is given up, and the time goes to the next best; it ends where none gains.
        """
        left = self.settings.budget or BUDGET
        end = time.monotonic() + left
        done: dict[str, tuple[Arm, list[Trained], Tried]] = {}
        gaining = {way.name: way for way in self._ways(left)}
        standing = list(gaining)
        while standing and left > 0:
            share = left if len(gaining) == 1 else left * RUNG / len(standing)
            for name in standing:
                arm, runs, before = done.get(name, (None, [], None))
                arm, trained = self._run(gaining[name], share, f"rung{len(runs)}-", arm)
                if trained.why == "short":
                    self.notes.append(f"{name}: {share:.0f} s are too short for one epoch of it.")
                    del gaining[name]
                    continue
                done[name] = (arm, [*runs, trained], self._interpolated(arm, [*runs, trained]))
                if done[name][2].gain.value <= (before.gain.value if before else 0.0) + LEAST_GAIN:
                    del gaining[name]
            ranked = sorted(gaining, key=lambda name: done[name][2].log_loss)
            standing = ranked[: max(1, len(ranked) // 2)]
            left = end - time.monotonic()
        return self._outcome([(arm, tried) for arm, _, tried in done.values()])

    def _ways(self, budget: float) -> list[Way]:
        """Return the ways that `auto` tries, cheapest first: as many as the budget gives a fair run."""
        stages = len({tap.module for tap in (*self.ground.source.taps, *self.ground.source.more) if tap.module})
        modes = ["last:2", ALL, "last:1"][: max(1, int(RUNG * budget / FAIR))]
        known = [mode for mode in modes if mode == ALL or int(mode[-1]) < stages] or [ALL]
        cheapest = sorted(known, key=lambda mode: (mode == ALL, mode))
        size = self._affordable_size()
        ways = [self._way(mode, size) for mode in cheapest]
        # A rate high enough to leave the frozen source first makes things worse: here rungs and budget end a run, and
        # patience does not before the rate has come down.
        return [replace(way, recipe=replace(way.recipe, patience=way.recipe.epochs)) for way in ways]

    def _affordable_size(self) -> int:
        """Return the size at which the whole network is tuned: the source's own, or one that the photos suffice for.

        A photo smaller than the source's input holds no more than its own pixels; where the network takes any size,
        it is tuned at the smallest multiple of 32 that holds them.
        """
        ground, own = self.ground, self.ground.source.preprocessing
        if self.settings.size or any(tap.reduce == "flatten" for tap in ground.taps):
            return self.settings.size
        sides = [shorter_side(ground.dataset.read(position)) for position in ground.judge[:LOOKED_AT]]
        enough = 32 * math.ceil(float(np.median(sides)) / 32)
        if enough >= own.size[0] or own.size[0] != own.size[1] or not takes(ground.source, enough):
            return 0
        return max(enough, SMALLEST)

    def _way(self, mode: str, size: int = 0) -> Way:
        settings = self.settings
        own = self.ground.source.preprocessing.size
        recipe = Recipe(
            epochs=settings.epochs,
            rate=settings.rate or RATES[mode.partition(":")[0]],
            batch=settings.batch,
            patience=settings.patience,
            mixup=settings.mixup,
            smoothing=settings.smoothing,
            seed=self.seed,
        )
        return Way(
            mode=mode,
            size=0 if (size, size) == own else size,
            augment=settings.augment,
            mirror=self._mirrors(),
            views=settings.views,
            batchnorm=settings.batchnorm == "train",
            recipe=recipe,
        )

    def _mirrors(self) -> bool:
        """Return whether the frozen source still knows its examples in a mirror: digits and letters it does not."""
        if self.mirror is None:
            self.mirror = self.settings.augment != "none" and mirror_keeps_labels(self.ground, self.device)
        return self.mirror

    def _run(self, way: Way, budget: float | None, prefix: str, arm: Arm | None = None) -> tuple[Arm, Trained]:
        start = time.monotonic()
        ground = self.pooled if way.mode == ALL else self.ground
        arm = arm or Arm(ground, way, shelf=self.shelf, device=self.device, progress=self.progress)
        left = None if budget is None else max(0.0, budget - (time.monotonic() - start))
        folder = None if self.folder is None else self.folder / (prefix + way.name.replace(":", "-").replace(" ", "-"))
        trained = arm.run(budget=left, folder=folder, identity=self.identity, watchers=self.watchers)
        return arm, trained

    def _interpolated(self, arm: Arm, runs: Sequence[Trained]) -> Tried:
        """Put the arm at the point between start and end where it judges best, and say how good that is."""
        end = {name: tensor.clone() for name, tensor in arm.changed().items()}
        head = {name: tensor.detach().clone() for name, tensor in arm.classifier.linear.state_dict().items()}
        found = []
        for alpha in ALPHAS:
            arm.at(alpha, end, head)
            found.append((self._losses(arm.judged()), alpha))
        (losses, right, _), alpha = min(found, key=lambda one: self._mean(one[0][0]))
        arm.at(alpha, end, head)
        frozen = self.frozen[0]
        gain = paired_difference(frozen * self.counted, losses * self.counted, seed=self.seed)
        return Tried(
            arm.way.name,
            self._mean(losses),
            float(right.mean()),
            gain,
            alpha,
            runs[-1].why,
            tuple(epoch for run in runs for epoch in run.history),
            runs[-1].images_per_second,
            arm.kept,
        )

    def _losses(self, scores: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
        """Return log loss and rightness of each example that judges, calibrated on all of them, and the temperature."""
        y = self.ground.y_judge
        temperature = fit_temperature(scores, y, self.counted)
        return log_losses(scores, y, temperature), scores.argmax(axis=1) == y, temperature

    def _mean(self, losses: NDArray[np.float64]) -> float:
        return float(self.counted @ losses / self.counted.sum())

    def _outcome(self, done: Sequence[tuple[Arm, Tried]]) -> Tuning:
        """Keep the best way, where it beats the frozen source beyond the interval and names no fewer right."""
        ranked = sorted(done, key=lambda one: one[1].log_loss)
        frozen_right = float(self.frozen[1].mean())
        frozen = (self._mean(self.frozen[0]), frozen_right)
        tried = tuple(one for _, one in ranked)
        notes = [*self.notes, *(note for arm, _ in ranked for note in arm.notes)]
        notes += [_ending(one) for one in tried if one.why in ("exploded", "short")]
        learned = bool(ranked) and any(epoch.loss < tried[0].history[0].loss for epoch in tried[0].history)
        kept = learned and _gains(tried[0]) and tried[0].accuracy >= frozen_right
        source, head, layer = None, None, ""
        if kept:
            arm = ranked[0][0]
            _, _, temperature = self._losses(arm.judged())
            changed = {name: tensor.float().cpu().numpy() for name, tensor in arm.changed().items()}
            source = TunedSource(self.ground.source, changed, arm.preprocessing)
            head = replace(arm.classifier.head(temperature=temperature), kind=f"{arm.ground.head.kind}, tuned")
            layer = arm.ground.layer
        else:
            notes.append(_not_kept(tried))
        way = tried[0].name if tried else ""
        return Tuning(kept, source, head, layer, way, frozen, tried, tuple(notes), str(self.device))


def _gains(one: Tried) -> bool:
    """Return whether a way is better than the frozen source beyond its interval, and by more than rounding."""
    return one.gain.low > 0 and one.gain.value > LEAST_GAIN


def _ending(one: Tried) -> str:
    if one.why == "short":
        return f"{one.name}: the budget is too short for one epoch; the frozen source stands."
    return f"{one.name}: the loss exploded or was not finite, and the last good weights stand; give a smaller --rate."


def _not_kept(tried: Sequence[Tried]) -> str:
    if not tried:
        return "Nothing could be tuned within the budget: the model is the frozen one."
    best = tried[0]
    return (
        f"Tuning was not kept: {best.name} changed the validation log loss by {-best.gain.value:+.3f} "
        f"[{-best.gain.high:+.3f}, {-best.gain.low:+.3f}], no gain beyond the interval; the model is the frozen one."
    )
