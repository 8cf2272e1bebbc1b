"""The arms of a comparison that learn: the same network from random weights, and the source, tuned."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.errors import SourceError
from headstart.base.progress import Progress
from headstart.comparison.untrained_arms import trained_layer
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.split import hold_out
from headstart.engines.environment import set_passive_omp_wait
from headstart.features.extract import extract_again
from headstart.features.features import Features
from headstart.heads.linear import softmax
from headstart.heads.select import fit_ridge
from headstart.judge.benefit.gains import SCRATCH, TUNED
from headstart.judge.benefit.results import Outcome, measured_epochs
from headstart.judge.metrics import log_losses
from headstart.run.prepared import PreparedData
from headstart.run.trainable import as_network
from headstart.sources.base import Source
from headstart.sources.layers import select
from headstart.sources.registry import open_source
from headstart.tune.training.trackers import Tracker

if TYPE_CHECKING:
    from headstart.tune.inputs.base import DecodedCache
    from headstart.tune.problem import TuningProblem
    from headstart.tune.training.task import Recipe, TrainResult
    from headstart.tune.trial_config import TrialConfig

CALMER, ATTEMPTS = 3.0, 3
"""A run whose loss explodes begins again at a rate so many times lower; how many there are at most."""
STEPS = {SCRATCH: 600, TUNED: 150}
"""Steps after which an arm has usually learned what it can, from a few hundred labels."""
EPOCHS = {SCRATCH: (20, 120), TUNED: (8, 30)}
"""The fewest and the most epochs of an arm."""
SMALL, BATCHES = 200, (16, 32)
"""Below so many labels, batches are the smaller ones."""
SETTLED, SEEN = 32, 512  # pictures in a batch over which BatchNorm's first statistics are taken, and in all
ASKED = 0.25  # of the labels, for asking whether a mirrored picture keeps its label


def batch_for(labels: int) -> int:
    """Return how many examples a step takes, for so many labels."""
    return BATCHES[0] if labels < SMALL else BATCHES[1]


def epochs_for(arm: str, labels: int) -> int:
    """Return how many epochs an arm is meant to have with so many labels: more, where they are few."""
    least, most = EPOCHS[arm]
    return int(np.clip(-(-STEPS[arm] // -(-labels // batch_for(labels))), least, most))


def from_random(prepared: PreparedData, *, seed: int) -> Source:
    """Return the network of the data's source with random weights.

    Raises:
        SourceError: it is no network that could learn, or its architecture is not known.
    """
    source = prepared.source
    own = source.anew(seed)
    if own is not None:
        return as_network(prepared, "training", own)
    if source.opened is None:
        raise SourceError(
            "scratch needs a source that was opened by its URI", source.info.uri, "give the URI, or leave scratch out"
        )
    return as_network(prepared, "scratch", open_source(**{**source.opened, "weights": "none", "seed": seed}))


@dataclass(frozen=True)
class ArmConfig:
    """How an arm that learns is run.

    Attributes:
        arm: `scratch` or `tuned`.
        mode: what learns: `all`, or a mode of tuning.
        size: of its pictures, in pixels; 0 for the source's own.
        mirror: whether a mirrored picture keeps its label.
        pace: each epoch at which it is measured is so many times the one before.
        budget: seconds for learning; None for as many as its epochs need.
        name: of the run, as it is shown.
    """

    arm: str
    mode: str
    size: int
    mirror: bool
    pace: float
    budget: float | None = None
    name: str = ""


def trained(
    prepared: PreparedData,
    source: Source,
    course: ArmConfig,
    *,
    seed: int,
    decoded_cache: DecodedCache,
    watchers: Sequence[Tracker] = (),
    progress: Progress,
) -> Outcome:
    """Train an arm from a head in closed form on, and return what it answers after each of some epochs.

    Every label is learned from: none is held out, for no choice is made. What counts is where the curve ends.

    Args:
        prepared: the data and the split.
        source: what learns, with the weights that it begins with.
        course: how.
        seed: of order, views and dropout.
        decoded_cache: what is read already, shared between arms.
        watchers: are told the numbers of each epoch, and of those that were measured the accuracy on the test part.
        progress: where to show progress.

    Raises:
        SourceError: the source has no such stages.
        UsageError: a batch does not fit in memory.
        KeyboardInterrupt: Ctrl-C.
    """
    set_passive_omp_wait()
    from headstart.tune.training.task import default_device
    from headstart.tune.trial import TuningTrial

    clock = time.perf_counter()
    sized = _at(source, course.size)
    if course.arm == SCRATCH:
        sized = _settled(sized, prepared)
    ground = _ground(prepared, sized)
    way = _way(course, sized, len(ground.train_positions), seed)
    decoded_cache, left, name = _shelved(ground, decoded_cache, progress), course.budget, course.name or course.arm
    for attempt in range(1, ATTEMPTS + 1):
        arm = TuningTrial(ground, way, decoded_cache=decoded_cache, device=default_device(), progress=progress)
        measured = _Measured(ground.y_validation, measured_epochs(way.recipe.epochs, course.pace))
        before = time.perf_counter() - clock
        run = arm.run(
            budget=left,
            folder=None,
            identity={"arm": course.arm},
            trackers=[_Told(watcher, measured) for watcher in watchers],
            on_epoch=measured.each,
            name=name,
        )
        took = time.perf_counter() - clock - before
        if run.stop_reason != "exploded" or attempt == ATTEMPTS or (left is not None and left < 2 * took):
            break
        left = None if left is None else left - took
        way = replace(way, recipe=replace(way.recipe, learning_rate=way.recipe.learning_rate / CALMER))
        progress.say(f"{name}: the loss exploded; begun again at a rate of {way.recipe.learning_rate:.1e}")
    at = {epoch.epoch: epoch.seconds for epoch in run.history}
    epochs = list(measured.right)
    return Outcome(
        np.array(epochs),
        np.stack(list(measured.right.values())),
        np.stack(list(measured.loss.values())),
        np.array([before + at[epoch] for epoch in epochs]),
        cut=len(run.history) - 1 < way.recipe.epochs,
        note=_said(course, sized, run, way, calmer=attempt > 1),
    )


class _Measured:
    """What an arm answers on the test examples, at some epochs and at the last one.

    Args:
        y: class ids of the test examples, of shape (n,).
        wanted: the epochs.
    """

    def __init__(self, y: NDArray[np.int64], wanted: set[int]) -> None:
        self.y, self.wanted = y, wanted
        self.right: dict[int, NDArray[np.bool_]] = {}
        self.loss: dict[int, NDArray[np.float32]] = {}

    def each(self, epoch: int, last: bool, scores: Callable[[], NDArray[np.float32]]) -> None:
        """Ask for the scores where they are wanted."""
        if last or epoch in self.wanted:
            said = scores()
            if not np.isfinite(said).all():
                if not epoch:
                    raise ArithmeticError("the network says nothing finite before it has learned")
                return  # its loss has exploded: the run ends, and what stands is the point before
            probabilities = softmax(said)
            self.right[epoch] = probabilities.argmax(axis=1) == self.y
            self.loss[epoch] = log_losses(probabilities, self.y).astype(np.float32)


class _Told:
    """Tells a watcher what is known of an epoch: of validation there is nothing, of the test part what was measured."""

    def __init__(self, watcher: Tracker, measured: _Measured) -> None:
        self._watcher, self._measured = watcher, measured

    def started(self, facts: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._watcher.started(facts)

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Pass on the numbers there are, and what was measured."""
        said = {name: value for name, value in numbers.items() if np.isfinite(value)}
        if epoch in self._measured.right:
            said["test/accuracy"] = float(self._measured.right[epoch].mean())
            said["test/loss"] = float(self._measured.loss[epoch].mean())
        self._watcher.epoch(said, epoch=epoch)

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._watcher.finished(facts)


def _said(course: ArmConfig, source: Source, run: TrainResult, way: TrialConfig, *, calmer: bool) -> str:
    how = source.preprocessing
    unit = "bands and frames" if isinstance(how, AudioPreprocessing) else "px"
    size = f", {how.size[0]} x {how.size[1]} {unit}" if isinstance(how, Preprocessing) else ""
    what = "every weight" if course.mode == "all" else f"--tune {course.mode}"
    done, meant = len(run.history) - 1, way.recipe.epochs
    short = f" of the {meant} it was meant to have" if done < meant else ""
    why = ", after which its loss exploded" if run.stop_reason == "exploded" else ""
    rate = f", at a rate of {way.recipe.learning_rate:.1e}, for at a higher one its loss exploded" if calmer else ""
    return f"{what}{size}, {done} epoch{'' if done == 1 else 's'}{short}{why}{rate}"


def _at(source: Source, size: int) -> Source:
    """Return the source for pictures of another size."""
    how = source.preprocessing
    if not isinstance(how, Preprocessing) or not size or how.size == (size, size):
        return source
    from headstart.tune.inputs.images import resized

    return source.with_weights({}, resized(how, size))


def _settled(source: Source, prepared: PreparedData) -> Source:
    """Return a network with random weights whose BatchNorm knows the labelled pictures: no weight has learned.

    Without it the running statistics are those of nothing, and in training mode the network says other things than a
    head was fitted on.
    """
    import torch

    from headstart.sources.networks.tapped import Tapped
    from headstart.tune.network.param_groups import has_statistics, statistics_of

    how = source.preprocessing
    if not isinstance(how, Preprocessing):
        return source
    body = copy.deepcopy(source.module())
    norms: Any = {name: module for name, module in body.named_modules() if has_statistics(module)}
    if not norms:
        return source
    for module in norms.values():
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
        module.training = True
    network = Tapped(body, how, source.taps[:1])
    dataset, train = prepared.scan.dataset, prepared.parts.train
    some_of = train[:: -(-len(train) // SEEN)]
    with torch.inference_mode():
        for start in range(0, len(some_of), SETTLED):
            some = source.prepare_all([dataset.read(at) for at in some_of[start : start + SETTLED]])
            network(torch.from_numpy(np.asarray(some)))
    found = {name.removeprefix("body."): one.numpy() for name, one in statistics_of(body, list(norms)).items()}
    return source.with_weights(found)


def _way(course: ArmConfig, source: Source, labels: int, seed: int) -> TrialConfig:
    from headstart.tune.inputs.by_modality import learning_rate_of
    from headstart.tune.trial_config import TrialConfig

    anew = course.arm == SCRATCH
    return TrialConfig(
        mode=course.mode,
        horizontal_flip=course.mirror,
        train_batchnorm=anew,
        layer_decay=1.0 if anew else TrialConfig.layer_decay,
        recipe=_recipe(course, labels, learning_rate_of(source, SCRATCH if anew else course.mode), seed),
    )


def _recipe(course: ArmConfig, labels: int, rate: float, seed: int) -> Recipe:
    from headstart.tune.training.task import Recipe

    epochs = epochs_for(course.arm, labels)
    return Recipe(
        epochs=epochs, learning_rate=rate, batch_size=batch_for(labels), patience=epochs, keep_last=True, seed=seed
    )


def _ground(prepared: PreparedData, source: Source) -> TuningProblem:
    """Return what an arm stands on: all labels to learn from, the test part beside it, a ridge head on its features."""
    from headstart.tune.problem import TuningProblem

    parts, dataset = prepared.parts, prepared.scan.dataset
    layer = trained_layer(source)
    features = _features(prepared, source, layer)
    return TuningProblem(
        dataset=dataset,
        keys=prepared.scan.hashes,
        train_positions=parts.train,
        validation_positions=parts.test,
        y_train=features.y,
        y_validation=prepared.labels(parts.test),
        source=source,
        layer=layer,
        head=fit_ridge(features),
        x_train=features.x,
        x_validation=features.x[:0],  # the scores of what judges are asked of the network
        c=len(dataset.classes),
        cache=cache_dir(),
    )


def _features(prepared: PreparedData, source: Source, layer: str) -> Features:
    """Return features of the labelled examples: those at hand for the source as it is, else computed and not kept."""
    dataset, train = prepared.scan.dataset, prepared.parts.train
    if source is prepared.source:
        return prepared.features(layer, train)
    extraction = extract_again(prepared.scan, train, source.at(layer), cache=cache_dir(), engine="torch", keep=False)
    x, blocks = select(extraction.x, extraction.blocks, layer)
    ids = tuple(example.id for example in extraction.scan.dataset.examples)
    return Features(x, prepared.labels(train), ids, dataset.classes, blocks, extraction.made_by)


def _shelved(ground: TuningProblem, decoded_cache: DecodedCache, progress: Progress) -> DecodedCache:
    """Return the shelf with every picture of the data, each decoded once at each size."""
    from headstart.tune.inputs.images import decoded_pictures

    how = ground.source.preprocessing
    if not isinstance(how, Preprocessing):
        return {}  # texts are cut into tokens again, which is quick
    decoded_pictures(
        decoded_cache, ground.dataset, range(len(ground.dataset)), how, cache=ground.cache, progress=progress
    )
    return decoded_cache


def mirrors(prepared: PreparedData, source: Source) -> bool:
    """Return whether the source still knows the examples in a mirror; asked of some of the labels."""
    import torch

    from headstart.tune.flip_check import flip_keeps_labels

    parts = prepared.parts
    learn, judge = hold_out(prepared.scan.dataset, prepared.scan.hashes, parts.train, share=ASKED, seed=0)
    if not judge:
        return False
    ground = _ground(replace(prepared, parts=replace(parts, train=learn, test=judge)), source)
    return flip_keeps_labels(
        replace(ground, x_validation=prepared.features(ground.layer, judge).x), torch.device("cpu")
    )
