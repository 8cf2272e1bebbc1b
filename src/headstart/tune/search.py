"""Tuning as a whole: from the head that was chosen to weights that are better than it, or to the word that none are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.base.errors import UsageError
from headstart.base.memory import reraise_out_of_memory
from headstart.base.progress import Progress
from headstart.data.split import hold_out
from headstart.heads.linear import softmax
from headstart.tune.class_names import names_tell
from headstart.tune.evaluation import gain, joined, judged, judged_frozen
from headstart.tune.flip_check import mirror_keeps_labels
from headstart.tune.inputs.base import DecodedCache
from headstart.tune.inputs.by_modality import MEDIA, rate_of
from headstart.tune.inputs.contrastive import TIMES
from headstart.tune.problem import TuningProblem
from headstart.tune.result import Confirmed, TriedConfig, Tuning, confirmation, ending, learned_again, not_kept
from headstart.tune.settings import ALL, AUTO, Settings
from headstart.tune.training.task import Recipe, Trained, processor
from headstart.tune.training.trackers import Tracker
from headstart.tune.trial import Point, TuningTrial
from headstart.tune.trial_config import TrialConfig

ALPHAS = (0.25, 0.5, 0.75, 1.0)
SETTLED = (0.5, 1.0)  # where the head is fitted anew as well, which takes a look at every example
BUDGET = 600.0
"""Seconds for `auto` where no budget is given."""
RUNG = 0.4
"""Of what is left of the budget, for a rung of more than one way."""
FAIR = 60.0  # seconds below which a rung says little of a way
LEAST = 8  # examples that must judge
HOPELESS = 2  # parts of a second look on which nothing is gained together, after which it ends; time is left for these
FOLDS = 5  # parts of what the training part holds; the first of them judges the search
ENOUGH = 0.5  # of the epochs that were judged, where the final model's are cut short by the budget
LEAST_GAIN = 1e-3  # nats: what rounding alone gains is steady, and nothing


def tune(
    ground: TuningProblem,
    settings: Settings,
    *,
    seed: int,
    pooled: TuningProblem | None = None,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    watchers: Sequence[Tracker] = (),
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
    with reraise_out_of_memory(f"tuning in batches of {settings.batch_size}"):
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
        ground: TuningProblem,
        settings: Settings,
        *,
        pooled: TuningProblem,
        seed: int,
        folder: Path | None,
        identity: Mapping[str, Any],
        watchers: Sequence[Tracker],
        progress: Progress | None,
    ) -> None:
        self.ground, self.pooled, self.settings, self.seed, self.folder = ground, pooled, settings, seed, folder
        self.progress = progress or Progress()
        said = {name: value for name, value in asdict(settings).items() if name not in ("tensorboard", "track")}
        self.identity = {**identity, **said, "seed": seed}
        self.watchers = watchers
        self.device = processor()
        self.decoded_cache: DecodedCache = {}
        self.medium = MEDIA[ground.dataset.kind]
        self.frozen = judged_frozen(ground)
        self.again = (1 + len(ground.judge) / len(ground.learn)) if ground.held_out else 0.0
        self.notes: list[str] = []

    def single(self) -> Tuning:
        """Tune in the one way that was asked for."""
        budget = self.settings.budget
        end = None if budget is None else time.monotonic() + budget
        share = None if budget is None else budget / (1 + self.again)
        arm, trained = self._run(self._way(self.settings.mode), share, "")
        return self._outcome([_Attempt(arm, [trained], self._interpolated(arm, [trained]))], end)

    def auto(self) -> Tuning:
        """Try the ways that the budget affords, cheapest first, and spend what is left of it on the best half.

        That is successive halving (Jamieson & Talwalkar 2016): of the ways that still gain, the better half goes on. A
        way whose rung gains nothing is given up, and the time goes to the next best; it ends where none gains. What is
        left of the budget then goes into a second look at the best way, and at the next one if that does not gain.
        Where none does, ways whose epochs were cut short go on: at a high rate, things get worse before they get
        better.
        """
        left = self.settings.budget or BUDGET
        end = time.monotonic() + left
        done: dict[str, _Attempt] = {}
        gaining = {way.name: way for way in self._ways(left)}
        standing = list(gaining)
        while standing and left > 0:
            each = left / len(standing)
            for name in standing:
                before = done.get(name)
                found = self._rung(gaining[name], self._share(each, before), before)
                if found is None or found.tried.gain.value <= (before.tried.gain.value if before else 0) + LEAST_GAIN:
                    del gaining[name]
                if found is not None:
                    done[name] = found
            ranked = sorted(gaining, key=lambda name: done[name].tried.log_loss)
            standing = [name for name in ranked[: max(1, len(ranked) // 2)] if done[name].cut]
            left = end - time.monotonic()
        ways = self._looked_at(list(done.values()), end)
        while not (ways and self._is_better(ways[0])):
            left = end - time.monotonic()
            cut = next((one for one in ways if one.cut), None)
            if cut is None or self._share(left, cut) < FAIR:
                break
            longer = self._rung(cut.arm.way, self._share(left, cut), cut)
            if longer is None:
                break
            ways = self._looked_at([longer if one is cut else one for one in ways], end)
        return self._outcome(ways, end)

    def _looked_at(self, done: Sequence[_Attempt], end: float) -> list[_Attempt]:
        """Return the ways, best first, with what a second look says of each in turn until one is found better."""
        ranked = sorted(done, key=lambda one: one.tried.log_loss)
        for at, one in enumerate(ranked):
            if not self.ground.held_out or one.tried.gain.value <= LEAST_GAIN:
                break
            if one.confirmed is not None:
                continue
            sure = self._confirmed(one, end)
            if sure is None:
                break
            ranked[at] = replace(one, confirmed=sure)
            if self._is_better(ranked[at]):
                return [ranked[at], *ranked[:at], *ranked[at + 1 :]]
        return ranked

    def _is_better(self, one: _Attempt) -> bool:
        """Return whether a way beats the frozen source beyond its interval, and by more than rounding.

        Of several ways the best one owes some of its gain to having been picked: parts that had no say in that decide.
        """
        tried, sure = one.tried, one.confirmed
        if sure is None and self._picks:
            return False
        gained = tried.gain if sure is None else sure.gain
        right = tried.accuracy >= self.frozen.accuracy if sure is None else sure.tuned[1] >= sure.frozen[1]
        return right and gained.low > 0 and gained.value > LEAST_GAIN

    @property
    def _picks(self) -> bool:
        """Whether one of several ways is picked, and examples are left that had no say in it."""
        return self.ground.held_out and self.settings.mode == AUTO

    def _share(self, left: float, before: _Attempt | None) -> float:
        """Return the seconds for a rung that leave time for a second look at the way.

        Args:
            left: of the budget, in seconds.
            before: what the way has learned so far.
        """
        if before is None or not self._picks:
            return left * RUNG
        looks = HOPELESS * (1 + self.again)
        return min(left * RUNG, (left - looks * before.seconds) / (1 + looks))

    def _rung(self, way: TrialConfig, share: float, before: _Attempt | None) -> _Attempt | None:
        """Go on with a way for so many seconds; return None where they are too few for one epoch."""
        start = time.monotonic()
        runs = before.runs if before else []
        arm, trained = self._run(way, share, f"rung{len(runs)}-", before.arm if before else None)
        if trained.why == "short":
            if before is None:
                self.notes.append(f"{way.name}: {share:.0f} s are too short for one epoch of it.")
            return None
        runs = [*runs, trained]
        seconds = (before.seconds if before else 0.0) + time.monotonic() - start
        return _Attempt(arm, runs, self._interpolated(arm, runs), seconds)

    def _ways(self, budget: float) -> list[TrialConfig]:
        """Return the ways that `auto` tries, cheapest first: as many as the budget gives a fair run."""
        stages = len(self.ground.stages)
        promising = self.medium.ways(self.ground)[: max(1, int(RUNG * budget / FAIR))]
        known = [one for one in promising if one[0] == ALL or int(one[0][-1]) < stages] or [(ALL, promising[0][1])]
        cheapest = sorted(known, key=lambda one: (one[0] == ALL, one[0]))
        ways = [self._way(mode, contrast=contrast) for mode, contrast in cheapest]
        # A rate high enough to leave the frozen source first makes things worse: here rungs and budget end a run, and
        # patience does not before the rate has come down.
        return [replace(way, recipe=replace(way.recipe, patience=way.recipe.epochs)) for way in ways]

    def _way(self, mode: str, *, contrast: bool = False) -> TrialConfig:
        settings, size = self.settings, self.settings.size or 0
        recipe = Recipe(
            # What pairs teach is soon learned, and goes on into what these pairs alone have in common.
            epochs=max(1, settings.epochs // 2) if contrast else settings.epochs,
            rate=settings.learning_rate or rate_of(self.ground.source, mode, contrast=contrast),
            batch=TIMES * settings.batch_size if contrast else settings.batch_size,
            patience=settings.patience,
            mixup=settings.mixup,
            smoothing=settings.label_smoothing,
            seed=self.seed,
        )
        return TrialConfig(
            mode=mode,
            size=0 if (size, size) == self.ground.size else size,
            augment=settings.augment,
            mirror=self._mirrors,
            views=settings.augmented_views,
            batchnorm=settings.batchnorm == "train",
            contrast=contrast,
            named=contrast and self._names_tell,
            recipe=recipe,
        )

    @cached_property
    def _mirrors(self) -> bool:
        """Whether the frozen source still knows its examples in a mirror: digits and letters it does not."""
        return self.settings.augment != "none" and mirror_keeps_labels(self.ground, self.device)

    @cached_property
    def _names_tell(self) -> bool:
        """Whether the names of the classes say what they are about."""
        return names_tell(self.ground, self.device, seed=self.seed)

    def _run(
        self, way: TrialConfig, budget: float | None, prefix: str, arm: TuningTrial | None = None
    ) -> tuple[TuningTrial, Trained]:
        start = time.monotonic()
        ground = self.pooled if way.mode == ALL else self.ground
        arm = arm or TuningTrial(
            ground, way, decoded_cache=self.decoded_cache, device=self.device, progress=self.progress
        )
        left = None if budget is None else max(0.0, budget - (time.monotonic() - start))
        folder = None if self.folder is None else self.folder / (prefix + way.name.replace(":", "-").replace(" ", "-"))
        trained = arm.run(budget=left, folder=folder, identity=self.identity, watchers=self.watchers)
        return arm, trained

    def _interpolated(self, arm: TuningTrial, runs: Sequence[Trained]) -> TriedConfig:
        """Put the arm at the point between start and end where it judges best, and say how good that is."""
        end, head = arm.end()
        found = []
        points = [Point(alpha, settled=True) for alpha in (ALPHAS if arm.way.contrast else SETTLED)]
        if not arm.way.contrast:
            points = [*(Point(alpha, settled=False) for alpha in ALPHAS), *points]
        for point in points:
            arm.at(point, end, head)
            found.append((judged(self.ground, arm.judged()), point))
        best, point = min(found, key=lambda one: one[0].log_loss)
        arm.at(point, end, head)
        return TriedConfig(
            arm.way.name,
            best.log_loss,
            best.accuracy,
            gain(self.frozen, best, seed=self.seed),
            *point,
            runs[-1].why,
            tuple(epoch for run in runs for epoch in run.history),
            runs[-1].images_per_second,
            arm.kept,
        )

    def _confirmed(self, best: _Attempt, end: float) -> Confirmed | None:
        """Return how the best way does on parts that had no say in its choice; None where there is no time for one.

        The search has picked way, epoch and interpolation on the part that judged it, which flatters them. Here each
        further part judges what was learned, in just that way, from all the others. It ends early where they do not
        gain together.
        """
        frozen, tuned = [], []
        rest, took = self.ground.learn, best.seconds
        for number in range(1, FOLDS):
            start = time.monotonic()
            if end - start < took * (1 + self.again):
                break
            held = rest
            if number < FOLDS - 1:
                rest, held = hold_out(
                    self.ground.dataset, self.ground.keys, rest, share=1 / (FOLDS - number), seed=self.seed
                )
            if not held:
                break
            # A way that went on after its first look is another one: its checkpoints stand by themselves.
            prefix = f"part{number}-of-{len(best.runs)}-"
            arm = self._learned(best, best.arm.ground.judged_by(held), end - start - took * self.again, prefix)
            if arm is None:
                break
            ground = self.ground.judged_by(held)
            frozen.append(judged_frozen(ground))
            tuned.append(judged(ground, arm.judged()))
            took = time.monotonic() - start
            if number >= HOPELESS and joined(tuned).log_loss >= joined(frozen).log_loss:
                break
        return confirmation(frozen, tuned, seed=self.seed) if tuned else None

    def _outcome(self, done: Sequence[_Attempt], end: float | None) -> Tuning:
        """Keep the first way, where it beats the frozen source beyond the interval and names no fewer right."""
        frozen = (self.frozen.log_loss, self.frozen.accuracy)
        tried = tuple(one.tried for one in done)
        notes = [*self.notes, *(note for one in done for note in one.arm.notes)]
        notes += [ending(one) for one in tried if one.why in ("exploded", "short")]
        way = tried[0].name if tried else ""
        confirmed = done[0].confirmed if done else None
        source, head, layer, said = None, None, "", None
        if done and self._is_better(done[0]):
            arm = done[0].arm
            scores = arm.judged()
            temperature = judged(self.ground, scores).temperature
            said = softmax(scores / temperature)
            if self.ground.held_out:
                left = None if end is None else end - time.monotonic()
                again = self._learned(done[0], arm.ground.whole(), left, "whole-")
                notes.append(learned_again(way, None if again is None else len(again.ground.learn)))
                arm = again or arm
            if not done[0].epochs:
                notes.append(f"{way}: no epoch was better than its start; what gains is the size of the input alone.")
            source = arm.tuned()
            head = replace(arm.classifier.head(temperature=temperature), kind=f"{arm.ground.head.kind}, tuned")
            layer = arm.ground.layer
        else:
            notes.append(not_kept(tried, confirmed, picked=self._picks))
        return Tuning(source, head, layer, way, frozen, tried, confirmed, tuple(notes), str(self.device), said)

    def _learned(self, best: _Attempt, ground: TuningProblem, left: float | None, prefix: str) -> TuningTrial | None:
        """Return an arm that has learned on another ground as the best one did; None where time or loss forbid it.

        It takes the epochs and the interpolation that judged best, and nobody judges it on its way. That is what a
        search with cross-validation does at its end: the way was judged, and the final model is made in that way from
        everything there is.
        """
        if left is not None and left <= 0:
            return None
        way = replace(best.arm.way, recipe=replace(best.arm.way.recipe, epochs=best.epochs, last=True))
        arm = TuningTrial(ground, way, decoded_cache=self.decoded_cache, device=self.device, progress=self.progress)
        if not best.epochs:  # its start is what judged best
            return arm
        arm, trained = self._run(way, left, prefix, arm)
        if trained.why not in ("epochs", "budget") or trained.best < ENOUGH * best.epochs:
            return None
        arm.at(Point(best.tried.alpha, best.tried.settled), *arm.end())
        return arm


@dataclass(frozen=True)
class _Attempt:
    """A way under way.

    Attributes:
        arm: with the weights that judge best.
        runs: what came of each of its runs.
        tried: what came of all of them.
        seconds: that they took.
        confirmed: what parts say that had no say in the search; None where none were asked.
    """

    arm: TuningTrial
    runs: list[Trained]
    tried: TriedConfig
    seconds: float = 0.0
    confirmed: Confirmed | None = None

    @property
    def epochs(self) -> int:
        """How many epochs judged best; 0 where what gains is the size of the input alone."""
        return sum(run.best for run in self.runs)

    @property
    def cut(self) -> bool:
        """Whether its last run had time for fewer epochs than its recipe has."""
        return self.runs[-1].planned < self.arm.way.recipe.epochs
