"""Problems to tune on, without a whole `fit`: toy photos or texts, a source, and the ridge head on its features.

`stripes_problem` plants the truth: the class of a picture is the direction of its stripes, which a network of shuffled
weights does not know and learns within seconds; with labels at random there is nothing to learn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from toy_texts import sentences, write_csv

from headstart.base.progress import Progress
from headstart.data.audit import Scan, scan
from headstart.data.readers.open import open_dataset
from headstart.data.split import hold_out
from headstart.engines.torch import TorchEngine, TorchTexts
from headstart.features.features import Features
from headstart.heads.select import fit_ridge
from headstart.sources.base import Source
from headstart.sources.layers import select
from headstart.sources.networks.source import TorchSource
from headstart.sources.text.source import TextSource
from headstart.testing import toy_photos, toy_stripes
from headstart.tune.problem import TuningProblem


def tuning_problem(
    folder: Path, source: TorchSource, *, classes: int = 3, per_class: int = 12, layer: str = "pool"
) -> TuningProblem:
    """Return toy photos in `folder` with features of `source` at `layer`; a quarter of them is for validation."""
    toy_photos(folder / "photos", classes=classes, per_class=per_class, seed=1)
    return _picture_problem(folder, source, scan(open_dataset(folder / "photos"), progress=Progress()), layer)


def stripes_problem(
    folder: Path, source: TorchSource, *, classes: int = 2, per_class: int = 24, random_labels: bool = False
) -> TuningProblem:
    """Return striped pictures with features of `source`; a quarter of them is for validation."""
    pictures, labels = toy_stripes(classes, per_class, noise=0.05)
    if random_labels:
        labels = [labels[row] for row in np.random.default_rng(1).permutation(len(labels))]
    return _picture_problem(folder, source, scan(open_dataset((pictures, labels)), progress=Progress()), "pool")


def text_tuning_problem(folder: Path, source: TextSource, *, per_class: int = 12, layer: str = "pool") -> TuningProblem:
    """Return toy texts in `folder` with features of `source` at `layer`; a quarter of them is for validation."""
    folder.mkdir(parents=True, exist_ok=True)
    scanned = scan(open_dataset(write_csv(folder / "texts.csv", sentences(per_class))), progress=Progress())
    tokens = [source.prepare(scanned.dataset.read(position)) for position in range(len(scanned.dataset))]
    width = sum(tap.width for tap in source.taps)
    return _problem(folder, source, scanned, TorchTexts(source.module(), width).run(tokens), layer)


def _picture_problem(folder: Path, source: TorchSource, scanned: Scan, layer: str) -> TuningProblem:
    dataset = scanned.dataset
    prepared = np.stack([source.prepare(dataset.read(position)) for position in range(len(dataset))])
    return _problem(folder, source, scanned, TorchEngine(source.network().module()).run(prepared), layer)


def _problem(folder: Path, source: Source, scanned: Scan, blocks: NDArray[np.float32], layer: str) -> TuningProblem:
    dataset = scanned.dataset
    train, validation = hold_out(dataset, scanned.hashes, range(len(dataset)), share=0.25, seed=0)
    x, names = select(blocks, source.network().blocks, layer)
    y = np.array([dataset.classes.index(example.label) for example in dataset.examples])
    rows = np.array(train)
    ids = tuple(dataset.examples[position].id for position in train)
    head = fit_ridge(Features(x[rows], y[rows], ids, dataset.classes, names, "test"))
    return TuningProblem(
        dataset=dataset,
        keys=scanned.hashes,
        train_positions=train,
        validation_positions=validation,
        y_train=y[rows],
        y_validation=y[np.array(validation)],
        source=source,
        layer=layer,
        head=head,
        x=x,
        row_of=np.arange(len(dataset)),
        c=len(dataset.classes),
        cache=folder / "cache",
    )
