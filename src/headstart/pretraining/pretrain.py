"""Making a source of one's own, as a short list of named steps: the command `pretrain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cores
from headstart.base.errors import DataError, SourceError, UsageError
from headstart.base.prefetch import Prefetcher
from headstart.base.progress import Progress
from headstart.data.audio.decoding import length
from headstart.data.audit import Scan, check_bad, scan
from headstart.data.class_list import keep_classes, read_classes
from headstart.data.dataset import Dataset
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.modality import MODALITIES
from headstart.data.readers.open import open_dataset
from headstart.data.split import hold_out, split
from headstart.engines.environment import set_passive_omp_wait
from headstart.features.modality import EXTRACTION_PROFILES, TextSummary
from headstart.judge.baselines import MAX_BASELINE_EXAMPLES, SIMPLE_BASELINES, majority_baseline
from headstart.judge.gate import judge_gate
from headstart.pretraining.options import PretrainOptions
from headstart.pretraining.result import (
    CARD,
    PretrainResult,
    RunInputs,
    TestResult,
    build_pretrain_result,
)
from headstart.run.clock import Clock
from headstart.run.folder import RESULT, new_out
from headstart.run.option_model import documented
from headstart.ship.upload import check_upload, upload
from headstart.sources.networks.source import TorchSource
from headstart.sources.registry import open_source
from headstart.tune.training.trackers import Tracker, open_trackers

if TYPE_CHECKING:
    from headstart.sources.base import Source
    from headstart.tune.from_scratch import PretrainSplits, UntrainedNetwork
    from headstart.tune.training.task import TrainResult

MEASURED, SHORTEST, LONGEST = 1000, 0.1, 10.0
"""Recordings whose length is looked at, and the least and most seconds that are heard unless asked for."""
MOST_RATE = 16_000  # Hz; speech and most sounds of the world are told apart by what lies below 8 kHz
JUDGED = 2000
"""Pictures that choose the best epoch, at most; and at most this share of those to learn from."""
SHARE_JUDGED = 0.1
WEIGHTS_PER_EXAMPLE = 20_000
"""Beyond so many weights for each example to learn from, a network learns them by heart and nothing else."""
WINDOW = 64


@documented(PretrainOptions)
def pretrain(  # noqa: PLR0913, D417 (the decorator documents the options)
    data: Any,
    *,
    root: str | Path | None = None,
    classes: str | Path | None = None,
    seconds: float | None = None,
    allow_broken: bool = False,
    arch: str,
    size: int | None = None,
    budget: str | float | None = None,
    epochs: int = 30,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    augment: str = "light",
    horizontal_flip: bool | None = None,
    out: str | Path | None = None,
    licence: str | None = None,
    fp16: bool = False,
    force: bool = False,
    push_to_hub: str | None = None,
    tensorboard: str | Path | None = None,
    track: str | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: Progress | None = None,
) -> Source:
    """Train a source of your own from random weights, and prove that it beats naive baselines.

    The options are those of `headstart pretrain`, under the same names.

    Args:
        data: a path in any of the accepted forms, or a pair (items, labels).
        OPTIONS
        progress: where progress is shown; by default nowhere.

    Returns:
        The source in its folder, which `file:FOLDER` names from now on.

    Raises:
        UsageError: the data, the architecture or an option cannot be used; or the source is no better than the naive
            baselines and not forced.
    """
    options = PretrainOptions.for_run({**locals(), "out": out if out is not None else new_out("pretrain")})
    write_source(options.folder, run_pretrain(data, options, progress or Progress()))
    return open_source(f"file:{options.folder}")


def run_pretrain(data: Any, options: PretrainOptions, progress: Progress) -> PretrainResult:
    """Do the work up to the gate: read, split, train, measure.

    Args:
        data: a path in any of the accepted forms, or a pair (items, labels).
        options: how; nothing but checkpoints is written into their folder.
        progress: where to show progress.

    Raises:
        UsageError: the data, the architecture or an option cannot be used; or the budget ends before one epoch.
    """
    clock = Clock()
    set_passive_omp_wait()
    if options.push_to_hub is not None:
        check_upload(options.push_to_hub)
    source = open_architecture(options.arch, seed=options.seed)
    watchers = open_trackers(tensorboard=options.tensorboard, track=options.track, progress=progress)
    with clock.part("read"):
        scanned = read(data, options, progress)
    material, notes = divide(scanned, seed=options.seed)
    from headstart.tune.from_scratch import untrained_network

    network = untrained_network(
        source,
        classes=len(scanned.dataset.classes),
        size=options.size or 0,
        seed=options.seed,
        recording=hearing(material, options.seconds),
    )
    check_enough(network, material)
    with clock.part("tune"):
        trained = train(
            network,
            material,
            options,
            fingerprint=scanned.fingerprint,
            watchers=[ConsoleLogger(progress, material.dataset.items), *watchers],
            progress=progress,
        )
    clock.add("tune", trained.seconds_before_resume)
    said = measure(network, material, seed=options.seed, clock=clock, progress=progress)
    facts = RunInputs(data, options, scanned, counts(material), (*scanned.dataset.notes, *scanned.notes, *notes))
    return build_pretrain_result(facts, network, trained, said, clock)


def open_architecture(uri: str, *, seed: int) -> TorchSource:
    """Return an architecture with random weights.

    Raises:
        SourceError: no such architecture, or no network of torch that reads pictures.
    """
    source = open_source(uri, weights="none", seed=seed)
    if not isinstance(source, TorchSource):
        raise SourceError("--arch must name a torch network", repr(uri), "name one, such as timm:resnet18")
    if source.info.kind != "image":
        raise SourceError(
            "pretrain takes architectures for pictures",
            f"{uri}, for {MODALITIES[source.info.kind].plural}",
            "name one for pictures",
        )
    return source


def read(data: Any, options: PretrainOptions, progress: Progress) -> Scan:
    """Return the data, every example read once, of the wanted classes alone."""
    dataset = open_dataset(data, root=options.root)
    if dataset.kind not in SIMPLE_BASELINES:
        raise DataError("pretrain takes photos or recordings", dataset.items, "name a data set of one of these")
    if dataset.kind == "sound" and options.horizontal_flip:
        raise UsageError(
            "--horizontal-flip is for photos", f"{dataset.items}, which are never mirrored", "leave it out"
        )
    if dataset.kind == "image" and options.seconds:
        raise UsageError("--seconds is for recordings", dataset.items, "leave it out")
    if options.classes is not None:
        dataset = keep_classes(dataset, read_classes(options.classes), where=str(options.classes))
    scanned = scan(dataset, progress=progress)
    check_bad(scanned.dataset, allow_broken=options.allow_broken)
    return scanned


def divide(scanned: Scan, *, seed: int) -> tuple[PretrainSplits, tuple[str, ...]]:
    """Return what is learned from, what chooses the best epoch and what tests; and what is to be told of it."""
    from headstart.tune.from_scratch import PretrainSplits

    parts = split(scanned.dataset, scanned.hashes, seed=seed)
    learn, judge = parts.train, parts.validation
    if not judge:
        share = min(SHARE_JUDGED, JUDGED / len(learn))
        learn, judge = hold_out(scanned.dataset, scanned.hashes, learn, share=share, seed=seed)
    return PretrainSplits(scanned.dataset, learn, judge, parts.test), parts.notes


def counts(material: PretrainSplits) -> dict[str, int]:
    """Return how many examples are for what."""
    return {
        "train": len(material.train),
        "validation": len(material.validation),
        "test": len(material.test),
        "skipped": len(material.dataset.skipped),
        "ignored": material.dataset.ignored,
    }


def hearing(material: PretrainSplits, seconds: float | None) -> tuple[float, int] | None:
    """Return how many seconds of each recording are heard, and at what rate in Hz; None of pictures.

    Args:
        material: the data.
        seconds: as the options name them; None for what 95 in 100 recordings last, at most `LONGEST`.
    """
    dataset = material.dataset
    if dataset.kind != "sound":
        return None
    rows = np.linspace(0, len(material.train) - 1, min(len(material.train), MEASURED)).astype(int)
    found = np.array([dataset.reread(material.train[row], length) for row in rows])
    lasting = float(np.clip(np.quantile(found[:, 0], 0.95), SHORTEST, LONGEST))
    return seconds or lasting, int(min(MOST_RATE, np.median(found[:, 1])))


def check_enough(network: UntrainedNetwork, material: PretrainSplits) -> None:
    """Raise DataError where there are far too few examples for so many weights."""
    weights, items = sum(weight.numel() for weight in network.body.parameters()), material.dataset.items
    least = -(-weights // WEIGHTS_PER_EXAMPLE)
    if len(material.train) < least:
        raise DataError(
            f"{network.arch} has {weights:,} weights and needs at least {least:,} {items} to learn from",
            f"{len(material.train):,}",
            f"add {items}, or name a smaller architecture, such as arch:resnet9",
        )


def train(
    network: UntrainedNetwork,
    material: PretrainSplits,
    options: PretrainOptions,
    *,
    fingerprint: str,
    watchers: Sequence[Tracker],
    progress: Progress,
) -> TrainResult:
    """Train the network, its best weights left in place.

    Raises:
        UsageError: the budget ends before one epoch.
    """
    from headstart.tune.from_scratch import recipe_for, train_from_scratch

    usual = recipe_for(material)
    recipe = replace(
        usual,
        epochs=options.epochs,
        patience=options.epochs,
        learning_rate=options.learning_rate or usual.learning_rate,
        batch_size=options.batch_size or usual.batch_size,
        seed=options.seed,
    )
    trained = train_from_scratch(
        network,
        material,
        recipe,
        augment=options.augment != "none",
        horizontal_flip=network.preprocessing.channels != "grey"
        if options.horizontal_flip is None
        else options.horizontal_flip,
        budget=options.budget,
        folder=options.checkpoints,
        identity={"data": fingerprint, "examples": [len(material.train), len(material.validation), len(material.test)]},
        trackers=watchers,
        progress=progress,
    )
    if trained.stop_reason == "short" or (trained.stop_reason == "budget" and len(trained.history) == 2):
        count, seconds = len(material.train), max(trained.costs.values())
        needs = f"an epoch of {count:,} {material.dataset.items} takes about {seconds:,.1f} s"
        raise UsageError(
            "--budget must allow one epoch",
            f"{options.budget:g} s, and {needs}",
            "give more time, or a smaller --size or architecture, and another --out",
        )
    return trained


def measure(
    network: UntrainedNetwork, material: PretrainSplits, *, seed: int, clock: Clock, progress: Progress
) -> TestResult:
    """Test the network and both naive baselines on the same held-out pictures."""
    from headstart.tune.from_scratch import probabilities_of

    y, c = material.labels(material.test), len(material.dataset.classes)
    with progress.step("Testing"), clock.part("extract"):
        probabilities = probabilities_of(network, material, material.test)
    learn = (*material.train, *material.validation)
    if len(learn) > MAX_BASELINE_EXAMPLES:
        learn = tuple(np.random.default_rng(seed).permutation(np.array(learn))[:MAX_BASELINE_EXAMPLES].tolist())
    with clock.part("head"):
        seen, tested = (
            baseline_inputs(material.dataset, part, network.preprocessing, progress) for part in (learn, material.test)
        )
        with progress.step("Fitting the simple baseline"):
            simple = SIMPLE_BASELINES[material.dataset.kind](seen, material.labels(learn), tested, c=c, seed=seed)
    common = majority_baseline(material.labels((*material.train, *material.validation)), c, len(y))
    return TestResult(probabilities, y, judge_gate(probabilities, common, simple, y, seed=seed))


def baseline_inputs(
    dataset: Dataset, positions: Sequence[int], how: Preprocessing, progress: Progress
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Return what the simple baseline learns from, of shape (n, d), in the order of `positions`."""
    summary = EXTRACTION_PROFILES[dataset.kind].summary

    def packed(position: int) -> NDArray[np.uint8]:
        return dataset.reread(position, lambda data: summary.pack(how.prepare(data)))

    rows: list[NDArray[np.uint8]] = []
    with (
        Prefetcher(packed, positions, workers=cores(), window=WINDOW) as ahead,
        progress.step("Reading for the baselines", len(positions), dataset.items) as step,
    ):
        for row in ahead:
            rows.append(row)
            step.advance()
    unpacked = summary.unpack(np.stack(rows))
    assert not isinstance(unpacked, TextSummary)
    return unpacked.baseline_inputs(np.arange(len(rows)))


class ConsoleLogger:
    """Says how each epoch went."""

    def __init__(self, progress: Progress, word: str) -> None:
        self._progress, self._word = progress, word

    def started(self, facts: Mapping[str, Any]) -> None:
        """Nothing is to be said yet."""

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Say the numbers of an epoch in one line."""
        self._progress.say(
            f"Epoch {epoch}: loss {numbers['train/loss']:.3f}; on {self._word} held out, log loss "
            f"{numbers['validation/loss']:.3f}, {numbers['validation/accuracy']:.1%} right"
        )

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Nothing is left to be said."""


def write_source(out: Path, developed: PretrainResult) -> list[str]:
    """Write a developed source, upload it where that was asked for, and return what to say of it."""
    developed.write(out)
    said = [f"Source: file:{out}    Card: {out / CARD}    Result: {out / RESULT}"]
    repository = developed.facts.options.push_to_hub
    return said if repository is None else [*said, f"Uploaded: {upload(out, repository)}"]
