"""The command `pretrain`, a source from random weights, as a short list of named steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cores
from headstart.base.errors import DataError, SourceError, UsageError
from headstart.base.own_folders import RESULT
from headstart.base.prefetch import Prefetcher
from headstart.base.progress import Progress, progress_in_python
from headstart.data.audio.decoding import length
from headstart.data.audit import Scan, check_bad, scan
from headstart.data.dataset import Dataset
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.images.value_range import in_one_range
from headstart.data.labels import keep_classes, read_classes
from headstart.data.modality import MODALITIES
from headstart.data.readers.open import open_dataset
from headstart.data.split import clusters, hold_out, split
from headstart.engines.environment import set_passive_omp_wait
from headstart.features.modality import EXTRACTION_PROFILES, ImageSummary, SoundSummary, TextSummary
from headstart.features.relatives import named, offered_groups, related_pictures
from headstart.judge.baselines import MAX_BASELINE_EXAMPLES, fit_simple, majority_baseline, plain_numbers
from headstart.judge.gate import judge_gate
from headstart.pretraining.options import PretrainOptions
from headstart.pretraining.result import CARD, PretrainResult, RunInputs, TestResult, build_pretrain_result
from headstart.run.clock import Clock
from headstart.run.folder import PAGE, discard, new_out
from headstart.run.from_python import from_python, warn
from headstart.run.losses import account
from headstart.ship.upload import check_upload, upload
from headstart.sources.networks.source import TorchSource
from headstart.sources.registry import open_source
from headstart.tune.training.trackers import Tracker, open_trackers

if TYPE_CHECKING:
    from headstart.sources.base import Source
    from headstart.tune.from_scratch import PretrainSplits, UntrainedNetwork
    from headstart.tune.training.task import Recipe, TrainResult

TIMED_RECORDINGS, MIN_SECONDS, MAX_SECONDS = 1000, 0.1, 10.0
"""The recordings whose length is looked at, and the bounds of the seconds that a network reads by default."""
MAX_SAMPLING_RATE = 16_000  # in Hz; speech and most everyday sounds are told apart by what lies below 8 kHz
MAX_VALIDATION, VALIDATION_SHARE = 2000, 0.1
"""At most so many pictures choose the best epoch, and at most this share of those to learn from."""
WEIGHTS_PER_EXAMPLE = 20_000
"""With more weights than this for each example, a network learns the examples by heart and nothing else."""
READ_AHEAD = 64  # the examples that are read ahead of the one that is used


@from_python(PretrainOptions)
def pretrain(  # noqa: PLR0913
    data: Any,
    *,
    path_column: str | None = None,
    text_column: str | Sequence[str] | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    time_column: str | None = None,
    id_column: str | None = None,
    columns: Mapping[str, str] | Sequence[str] | str | None = None,
    root: str | Path | None = None,
    label_from: str | None = None,
    group_by: str | None = None,
    drop_test_duplicates: bool = False,
    follow_links: bool = False,
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
    progress: Progress | bool = True,
) -> Source:
    """Train a source of your own from random weights, and prove that it beats naive baselines.

    The options are those of `headstart pretrain`, under the same names.

    Args:
        data: a path in any of the accepted forms, or a pair (items, labels).
        OPTIONS
        progress: where progress is shown; by default in a terminal or notebook, and with False nowhere.

    Returns:
        The source in its folder, which `file:FOLDER` names from now on.

    Raises:
        UsageError: the data, the architecture or an option cannot be used; or the source is no better than the naive
            baselines and not forced: its folder is there, and says so.
    """
    options = PretrainOptions.for_run({**locals(), "out": out if out is not None else new_out("pretrain")})
    result = run_pretrain(data, options, progress_in_python(progress))
    write_source(options.folder, result)
    warn(result.result["warnings"], PretrainOptions)
    if result.refusal is not None:
        raise result.refusal
    return open_source(f"file:{options.folder}")


def run_pretrain(data: Any, options: PretrainOptions, progress: Progress) -> PretrainResult:
    """Do the work up to the gate: read, split, train, evaluate.

    Raises:
        UsageError: the data, the architecture or an option cannot be used; or the budget ends before one epoch.
    """
    clock = Clock()
    set_passive_omp_wait()
    if options.push_to_hub is not None:
        check_upload(options.push_to_hub)
    source = open_architecture(options.arch, seed=options.seed)
    trackers = open_trackers(tensorboard=options.tensorboard, track=options.track, progress=progress)
    with clock.part("read"):
        scanned = with_near_copies(read_examples(data, options, progress), source, options, progress)
    splits, notes = split_examples(scanned, options)
    from headstart.tune.from_scratch import untrained_network

    network = untrained_network(
        source,
        classes=len(scanned.dataset.classes),
        size=options.size or 0,
        seed=options.seed,
        recording=recording_input(splits, options.seconds),
    )
    check_enough_examples(network, splits)
    with clock.part("tune"):
        trained = train_network(
            network,
            splits,
            options,
            fingerprint=scanned.fingerprint,
            trackers=[ConsoleLogger(progress, splits.dataset.items), *trackers],
            progress=progress,
        )
    clock.add("tune", trained.seconds_before_resume)
    test = evaluate_network(network, scanned, splits, seed=options.seed, clock=clock, progress=progress)
    notes = (*scanned.dataset.notes, *scanned.notes, *notes)
    inputs = RunInputs(data, options, scanned, account(splits.dataset, splits), notes, splits.related)
    return build_pretrain_result(inputs, network, trained, test, clock)


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


def read_examples(data: Any, options: PretrainOptions, progress: Progress) -> Scan:
    """Return the data, every example read once; of some classes alone where the options name them."""
    dataset = in_one_range(open_dataset(data, **options.reading))
    if dataset.kind == "text":
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


def with_near_copies(scanned: Scan, source: TorchSource, options: PretrainOptions, progress: Progress) -> Scan:
    """Return the examples with their relatives named, as far as small pictures show them: no network is asked."""
    from headstart.tune.from_scratch import PretrainSplits, input_preprocessing

    dataset = scanned.dataset
    _, firsts, rows = np.unique(scanned.hashes, return_index=True, return_inverse=True)
    recording = recording_input(PretrainSplits(dataset, tuple(range(len(dataset))), (), ()), options.seconds)
    preprocessing = input_preprocessing(source, options.size or 0, recording)
    summary = read_summaries(dataset, firsts.tolist(), preprocessing, progress, purpose="Looking for near copies")
    x = summary.baseline_inputs.astype(np.float32)
    offered = offered_groups(dataset, x, rows)
    scanned = named(scanned, related_pictures(x, summary), rows)
    return scanned if offered is None else replace(scanned, notes=(*scanned.notes, offered))


def split_examples(scanned: Scan, options: PretrainOptions) -> tuple[PretrainSplits, tuple[str, ...]]:
    """Return the examples to learn from, those that choose the best epoch, those that test; and notes about them."""
    from headstart.tune.from_scratch import PretrainSplits

    seed, drop = options.seed, options.drop_test_duplicates
    parts = split(scanned.dataset, scanned.hashes, seed=seed, drop_test_duplicates=drop)
    train, validation = parts.train, parts.validation
    if not validation:
        share = min(VALIDATION_SHARE, MAX_VALIDATION / len(train))
        train, validation = hold_out(scanned.dataset, scanned.hashes, train, share=share, seed=seed)
    return PretrainSplits(scanned.dataset, train, validation, parts.test, parts.related), parts.notes


def recording_input(splits: PretrainSplits, seconds: float | None) -> tuple[float, int] | None:
    """Return how many seconds of each recording a network reads, and at what rate in Hz; None of pictures.

    Without `seconds` that is what 95 in 100 recordings last, at most `MAX_SECONDS`.
    """
    dataset = splits.dataset
    if dataset.kind != "sound":
        return None
    rows = np.linspace(0, len(splits.train) - 1, min(len(splits.train), TIMED_RECORDINGS)).astype(int)
    lengths = np.array([dataset.reread(splits.train[row], length) for row in rows])
    usual = float(np.clip(np.quantile(lengths[:, 0], 0.95), MIN_SECONDS, MAX_SECONDS))
    return seconds or usual, int(min(MAX_SAMPLING_RATE, np.median(lengths[:, 1])))


def check_enough_examples(network: UntrainedNetwork, splits: PretrainSplits) -> None:
    """Raise DataError where there are far too few examples for so many weights."""
    weights, items = sum(weight.numel() for weight in network.body.parameters()), splits.dataset.items
    least = -(-weights // WEIGHTS_PER_EXAMPLE)
    if len(splits.train) < least:
        raise DataError(
            f"{network.arch} has {weights:,} weights and needs at least {least:,} {items} to learn from",
            f"{len(splits.train):,}",
            f"add {items}, or name a smaller architecture, such as arch:resnet9",
        )


def train_network(
    network: UntrainedNetwork,
    splits: PretrainSplits,
    options: PretrainOptions,
    *,
    fingerprint: str,
    trackers: Sequence[Tracker],
    progress: Progress,
) -> TrainResult:
    """Train the network; its best weights are left in place.

    Raises:
        UsageError: the budget ends before one epoch.
    """
    from headstart.tune.from_scratch import train_from_scratch

    grey = network.preprocessing.channels == "grey"
    trained = train_from_scratch(
        network,
        splits,
        _recipe(splits, options),
        augment=options.augment != "none",
        horizontal_flip=not grey if options.horizontal_flip is None else options.horizontal_flip,
        budget=options.budget,
        folder=options.checkpoints,
        identity={"data": fingerprint, "examples": [len(splits.train), len(splits.validation), len(splits.test)]},
        trackers=trackers,
        progress=progress,
    )
    if trained.stop_reason == "short" or (trained.stop_reason == "budget" and len(trained.history) == 2):
        needs = (
            f"an epoch of {len(splits.train):,} {splits.dataset.items} takes about {max(trained.costs.values()):,.1f} s"
        )
        discard(options.folder)
        raise UsageError(
            "--budget must allow one epoch",
            f"{options.budget:g} s, and {needs}",
            "give more time, or a smaller --size or architecture",
        )
    return trained


def _recipe(splits: PretrainSplits, options: PretrainOptions) -> Recipe:
    from headstart.tune.from_scratch import recipe_for

    usual = recipe_for(splits)
    return replace(
        usual,
        epochs=options.epochs,
        patience=options.epochs,
        learning_rate=options.learning_rate or usual.learning_rate,
        batch_size=options.batch_size or usual.batch_size,
        seed=options.seed,
    )


def evaluate_network(
    network: UntrainedNetwork, scanned: Scan, splits: PretrainSplits, *, seed: int, clock: Clock, progress: Progress
) -> TestResult:
    """Test the network and both naive baselines on the same held-out examples."""
    from headstart.tune.from_scratch import probabilities_of

    dataset = splits.dataset
    y, c = dataset.class_ids(splits.test), len(dataset.classes)
    with progress.step("Testing"), clock.part("extract"):
        probabilities = probabilities_of(network, splits, splits.test)
    known = (*splits.train, *splits.validation)
    majority = majority_baseline(dataset.class_ids(known), c, len(y))
    if len(known) > MAX_BASELINE_EXAMPLES:
        known = tuple(np.random.default_rng(seed).permutation(np.array(known))[:MAX_BASELINE_EXAMPLES].tolist())
    with clock.part("head"):
        x, x_test = (
            read_summaries(
                dataset, positions, network.preprocessing, progress, purpose="Reading for the baselines"
            ).baseline_inputs
            for positions in (known, splits.test)
        )
        with progress.step("Fitting the simple baseline"):
            simple = fit_simple(x, dataset.class_ids(known), c, seed=seed).head.predict_proba(plain_numbers(x_test))
    among, related = clusters(dataset.examples, splits.test, scanned.hashes), np.isin(splits.test, splits.related)
    gate = judge_gate(probabilities, majority, simple, y, seed=seed, clusters=among, related=related)
    return TestResult(probabilities, y, gate, among)


def read_summaries(
    dataset: Dataset, positions: Sequence[int], preprocessing: Preprocessing, progress: Progress, *, purpose: str
) -> ImageSummary | SoundSummary:
    """Return what the simple baseline and the search for near copies use of examples, in the order of `positions`."""
    summary = EXTRACTION_PROFILES[dataset.kind].summary

    def packed(position: int) -> NDArray[np.uint8]:
        return dataset.reread(position, lambda data: summary.pack(preprocessing.prepare(data)))

    rows: list[NDArray[np.uint8]] = []
    with (
        Prefetcher(packed, positions, workers=cores(), window=READ_AHEAD) as ahead,
        progress.step(purpose, len(positions), dataset.items) as step,
    ):
        for row in ahead:
            rows.append(row)
            step.advance()
    unpacked = summary.unpack(np.stack(rows))
    assert not isinstance(unpacked, TextSummary)
    return unpacked


class ConsoleLogger:
    """A tracker that prints one line an epoch."""

    def __init__(self, progress: Progress, items: str) -> None:
        self._progress, self._items = progress, items

    def started(self, details: Mapping[str, Any]) -> None:
        """Print nothing."""

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Print loss and accuracy of an epoch, as far as they are finite."""
        shown = "no finite log loss"
        if "validation/loss" in numbers:
            accuracy = numbers["validation/accuracy"]
            shown = f"log loss {numbers['validation/loss']:.3f}, accuracy {100 * accuracy:.1f} %"
        learned = f" (training loss {numbers['train/loss']:.4g})" if "train/loss" in numbers else ""
        start = f"Epoch {epoch}" if epoch else "Before training"
        self._progress.say(f"{start}: {shown} on {self._items} held out{learned}")

    def finished(self, details: Mapping[str, Any]) -> None:
        """Print nothing."""


def write_source(out: Path, result: PretrainResult) -> list[str]:
    """Write a source, upload it where the options name a repository, and return lines that name what is there."""
    result.write(out)
    lines = [f"Source: file:{out}    Report: {out / PAGE}    Card: {out / CARD}    Result: {out / RESULT}"]
    repository = None if result.refusal is not None else result.inputs.options.push_to_hub
    return lines if repository is None else [*lines, f"Uploaded: {upload(out, repository)}"]
