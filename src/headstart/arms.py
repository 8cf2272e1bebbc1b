"""The arms of a comparison: what each answers on the test examples of one split, with so many labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.errors import SourceError
from headstart.base.progress import Progress
from headstart.choosing import choose, simple_answer
from headstart.data.images import Preprocessing
from headstart.data.split import hold_out
from headstart.engines.manners import wait_politely
from headstart.features.features import Features
from headstart.findings import Prepared, frozen_answer
from headstart.heads.linear import softmax
from headstart.heads.select import fit_ridge
from headstart.judge.baselines import majority
from headstart.judge.gains import FROZEN, MAJORITY, SCRATCH, SIMPLE, START
from headstart.judge.metrics import log_losses
from headstart.judge.results import Outcome, judged_at
from headstart.sources.base import Source
from headstart.sources.from_torch import TorchSource
from headstart.sources.layers import AUTO, POOL
from headstart.sources.registry import open_source
from headstart.sources.texts import TextSource
from headstart.sources.tuned import Tunable, TunedSource

if TYPE_CHECKING:
    from headstart.tune.ground import Ground
    from headstart.tune.medium import Shelf
    from headstart.tune.rows import Rows
    from headstart.tune.task import Recipe, Trained
    from headstart.tune.way import Way

RATE = 2e-3
"""The full learning rate from random weights; carried over, each mode of tuning has its own, which is lower."""
STEPS = {SCRATCH: 600, "tuned": 150}
"""Steps after which an arm has usually learned what it can, from a few hundred labels."""
EPOCHS = {SCRATCH: (20, 120), "tuned": (8, 30)}
"""The fewest and the most epochs of an arm."""
SMALL, BATCHES = 200, (16, 32)
"""Below so many labels, batches are the smaller ones."""
ASKED = 0.25  # of the labels, for asking whether a mirrored picture keeps its label
ENDED_EARLY = ("budget", "short", "exploded")


def batch_for(labels: int) -> int:
    """Return how many examples a step takes, for so many labels."""
    return BATCHES[0] if labels < SMALL else BATCHES[1]


def epochs_for(arm: str, labels: int) -> int:
    """Return how many epochs an arm is meant to have with so many labels: more, where they are few."""
    least, most = EPOCHS[arm]
    return int(np.clip(-(-STEPS[arm] // -(-labels // batch_for(labels))), least, most))


def outcome(probabilities: NDArray[np.floating], y: NDArray[np.int64], seconds: float, note: str = "") -> Outcome:
    """Return what an arm without epochs answered.

    Args:
        probabilities: of shape (n, c).
        y: class ids of the test examples, of shape (n,).
        seconds: that it took.
        note: how it was run.
    """
    right = probabilities.argmax(axis=1) == y
    losses = log_losses(probabilities, y).astype(np.float32)
    return Outcome(np.zeros(1, np.int64), right[None], losses[None], np.array([seconds]), note=note)


def without_training(prepared: Prepared, layer: str, *, seed: int, extraction: float) -> dict[str, Outcome]:
    """Return what both baselines, the frozen source and its closed-form head answer.

    Args:
        prepared: the data, its features, and the split.
        layer: where the closed-form head takes its features.
        seed: of the folds.
        extraction: seconds that the features of an example took; those of the training part count as the arm's.
    """
    train, test = prepared.parts.train, prepared.parts.test
    y, y_test = prepared.labels(train), prepared.labels(test)
    features = extraction * len(train)
    clock = time.perf_counter()
    found = {MAJORITY: outcome(majority(y, len(prepared.scan.dataset.classes), len(test)), y_test, 0.0)}
    simple = simple_answer(prepared, seed=seed)
    found[SIMPLE] = outcome(simple.probabilities, y_test, _since(clock))
    clock = time.perf_counter()
    head = fit_ridge(prepared.features(layer, train))
    answer = head.predict_proba(prepared.features(layer, test).x)
    found[START] = outcome(answer, y_test, features + _since(clock), f"ridge on {layer}")
    clock = time.perf_counter()
    layers, choice = choose(prepared, seed=seed)
    frozen = frozen_answer(prepared, layers, choice, simple)
    words = "" if frozen.terms is None else " + words"
    note = f"{choice.head.kind}{words} on {layers.chosen}"
    found[FROZEN] = outcome(frozen.probabilities, y_test, features + _since(clock), note)
    return found


def _since(start: float) -> float:
    return time.perf_counter() - start


def trained_layer(source: Source) -> str:
    """Return the layer whose features a network that learns is judged by: `pool`, unless another one was asked for."""
    return POOL if source.layer == AUTO else source.layer


def as_network(source: Source) -> Tunable:
    """Return a source whose weights can learn.

    Raises:
        SourceError: it is a graph that only computes, or a table of vectors.
    """
    if isinstance(source, TorchSource) or (isinstance(source, TextSource) and source.learns):
        return source
    raise SourceError(
        "training needs a source that is a torch network",
        f"{source.info.uri}, which only computes",
        "compare a network from timm:, torchvision:, keras:, packaged: or hf:",
    )


def from_random(source: Source, *, seed: int) -> Tunable:
    """Return the same network with random weights.

    Raises:
        SourceError: it is no torch network, or its architecture is not known.
    """
    own = as_network(source).anew(seed)
    if own is not None:
        return as_network(own)
    if source.opened is None:
        raise SourceError(
            "scratch needs a source that was opened by its URI", source.info.uri, "give the URI, or leave scratch out"
        )
    return as_network(open_source(**{**source.opened, "weights": "none", "seed": seed}))


@dataclass(frozen=True)
class Course:
    """How an arm that learns is run.

    Attributes:
        arm: `scratch` or `tuned`.
        mode: what learns: `all`, or a mode of tuning.
        size: of its pictures, in pixels; 0 for the source's own.
        mirror: whether a mirrored picture keeps its label.
        points: how often it is measured, about.
        budget: seconds for learning; None for as many as its epochs need.
    """

    arm: str
    mode: str
    size: int
    mirror: bool
    points: int
    budget: float | None = None


def trained(
    prepared: Prepared,
    source: Tunable,
    course: Course,
    *,
    seed: int,
    shelf: dict[Any, Rows],
    watchers: Sequence[Any] = (),
    progress: Progress,
) -> Outcome:
    """Train an arm from a head in closed form on, and return what it answers after each of some epochs.

    Every label is learned from: none is held out, for no choice is made. What counts is where the curve ends.

    Args:
        prepared: the data and the split.
        source: what learns, with the weights that it begins with.
        course: how.
        seed: of order, views and dropout.
        shelf: decoded pictures of all examples by size, shared between arms.
        watchers: are told the numbers of each epoch.
        progress: where to show progress.

    Raises:
        SourceError: the source has no such stages.
        UsageError: a batch does not fit in memory.
        KeyboardInterrupt: Ctrl-C.
    """
    wait_politely()
    import torch

    from headstart.tune.arm import Arm

    clock = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sized = _at(source, course.size)
    ground = _ground(prepared, sized)
    way = _way(course, len(ground.learn), seed)
    arm = Arm(ground, way, shelf=_shelved(ground, shelf, progress), device=device, progress=progress)
    epochs = way.recipe.epochs
    taken = judged_at(epochs, course.points)
    y_test = ground.y_judge
    said: list[tuple[int, NDArray[np.bool_], NDArray[np.float32]]] = []

    def each(epoch: int, last: bool, scores: Any) -> None:
        if last or epoch in taken:
            probabilities = softmax(scores())
            right = probabilities.argmax(axis=1) == y_test
            said.append((epoch, right, log_losses(probabilities, y_test).astype(np.float32)))

    before = _since(clock)
    run = arm.run(budget=course.budget, folder=None, identity={}, watchers=watchers, each=each)
    at = {epoch.epoch: epoch.seconds for epoch in run.history}
    return Outcome(
        np.array([epoch for epoch, _, _ in said]),
        np.stack([right for _, right, _ in said]),
        np.stack([loss for _, _, loss in said]),
        np.array([before + at[epoch] for epoch, _, _ in said]),
        cut=run.why in ENDED_EARLY or run.planned < epochs,
        note=_said(course, sized, run, epochs),
    )


def _said(course: Course, source: Tunable, run: Trained, epochs: int) -> str:
    how = source.preprocessing
    size = f", {how.size[0]} x {how.size[1]} px" if isinstance(how, Preprocessing) else ""
    what = "every weight" if course.mode == "all" else f"--tune {course.mode}"
    done = len(run.history) - 1
    short = f" of the {epochs} it was meant to have" if done < epochs else ""
    why = ", after which its loss exploded" if run.why == "exploded" else ""
    return f"{what}{size}, {done} epochs{short}{why}"


def _at(source: Tunable, size: int) -> Tunable:
    """Return the source for pictures of another size."""
    if not isinstance(source, TorchSource) or not size or source.preprocessing.size == (size, size):
        return source
    from headstart.tune.pictures import resized

    return TunedSource(source, {}, resized(source.preprocessing, size))


def _way(course: Course, labels: int, seed: int) -> Way:
    from headstart.tune.adapt import RATES
    from headstart.tune.way import Way

    anew = course.arm == SCRATCH
    return Way(
        mode=course.mode,
        mirror=course.mirror,
        batchnorm=anew,
        decay=1.0 if anew else Way.decay,
        recipe=_recipe(course, labels, RATE if anew else RATES[course.mode.partition(":")[0]], seed),
    )


def _recipe(course: Course, labels: int, rate: float, seed: int) -> Recipe:
    from headstart.tune.task import Recipe

    epochs = epochs_for(course.arm, labels)
    return Recipe(epochs=epochs, rate=rate, batch=batch_for(labels), patience=epochs, last=True, seed=seed)


def _ground(prepared: Prepared, source: Tunable) -> Ground:
    """Return what an arm stands on: all labels to learn from, the test part beside it, a ridge head on its features."""
    from headstart.tune.ground import Ground

    parts, dataset = prepared.parts, prepared.scan.dataset
    layer = trained_layer(source)
    features = _features(prepared, source, layer)
    return Ground(
        dataset=dataset,
        keys=prepared.scan.hashes,
        learn=parts.train,
        judge=parts.test,
        y_learn=features.y,
        y_judge=prepared.labels(parts.test),
        source=source,
        layer=layer,
        head=fit_ridge(features),
        x=features.x,
        x_judge=features.x[:0],  # the scores of what judges are asked of the network
        c=len(dataset.classes),
        cache=cache_dir(),
    )


def _features(prepared: Prepared, source: Tunable, layer: str) -> Features:
    """Return features of the labelled examples: those at hand for the source as it is, else computed by torch."""
    if source is prepared.source:
        return prepared.features(layer, prepared.parts.train)
    from headstart.engines.torch import TorchEngine, TorchTexts
    from headstart.sources.layers import select

    dataset, train = prepared.scan.dataset, prepared.parts.train
    network = source.at(layer).network()
    width = sum(block.width for block in network.blocks)
    engine = TorchTexts(network.module(), width) if dataset.kind == "text" else TorchEngine(network.module())
    x, blocks = select(engine.run(source.prepare_all([dataset.read(at) for at in train])), network.blocks, layer)
    ids = tuple(dataset.examples[at].id for at in train)
    return Features(x, prepared.labels(train), ids, dataset.classes, blocks, network.fingerprint)


def _shelved(ground: Ground, shelf: dict[Any, Rows], progress: Progress) -> Shelf:
    """Return the decoded pictures of the ground's parts; each picture of the data is decoded once at each size."""
    from headstart.tune.pictures import decoded, wide
    from headstart.tune.rows import Part

    how = ground.source.preprocessing
    if not isinstance(how, Preprocessing):
        return {}  # texts are cut into tokens again, which is quick
    if how.size not in shelf:
        everything = range(len(ground.dataset.examples))
        shelf[how.size] = decoded(ground.dataset, everything, wide(how), cache=ground.cache, progress=progress)
    learn, judge = (Part(shelf[how.size], np.asarray(part, dtype=np.intp)) for part in (ground.learn, ground.judge))
    return {how.size: (learn, judge)}


def mirrors(prepared: Prepared, source: Tunable) -> bool:
    """Return whether the source still knows the examples in a mirror; asked of some of the labels."""
    import torch

    from headstart.tune.mirror import mirror_keeps_labels

    parts = prepared.parts
    learn, judge = hold_out(prepared.scan.dataset, prepared.scan.hashes, parts.train, share=ASKED, seed=0)
    if not judge:
        return False
    ground = _ground(replace(prepared, parts=replace(parts, train=learn, test=judge)), source)
    return mirror_keeps_labels(replace(ground, x_judge=prepared.features(ground.layer, judge).x), torch.device("cpu"))
