"""A ground to tune on, without a whole `fit`: toy photos or texts, a source, and the ridge head on its features."""

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
from headstart.testing import toy_photos
from headstart.tune.problem import TuningProblem


def ground(
    folder: Path, source: TorchSource, *, classes: int = 3, per_class: int = 12, layer: str = "pool"
) -> TuningProblem:
    """Return toy photos in `folder` with features of `source` at `layer`; a quarter of them judge."""
    toy_photos(folder / "photos", classes=classes, per_class=per_class, seed=1)
    scanned = scan(open_dataset(folder / "photos"), progress=Progress())
    network = source.network()
    prepared = np.stack([source.prepare(scanned.dataset.read(at)) for at in range(len(scanned.dataset))])
    return _ground(folder, source, scanned, TorchEngine(network.module()).run(prepared), layer)


def text_ground(folder: Path, source: TextSource, *, per_class: int = 12, layer: str = "pool") -> TuningProblem:
    """Return toy texts in `folder` with features of `source` at `layer`; a quarter of them judge."""
    folder.mkdir(parents=True, exist_ok=True)
    scanned = scan(open_dataset(write_csv(folder / "texts.csv", sentences(per_class))), progress=Progress())
    tokens = [source.prepare(scanned.dataset.read(at)) for at in range(len(scanned.dataset))]
    width = sum(tap.width for tap in source.taps)
    return _ground(folder, source, scanned, TorchTexts(source.module(), width).run(tokens), layer)


def _ground(folder: Path, source: Source, scanned: Scan, every: NDArray[np.float32], layer: str) -> TuningProblem:
    dataset = scanned.dataset
    learn, judge = hold_out(dataset, scanned.hashes, range(len(dataset)), share=0.25, seed=0)
    x, blocks = select(every, source.network().blocks, layer)
    y = np.array([dataset.classes.index(example.label) for example in dataset.examples])
    rows = np.array(learn)
    ids = tuple(dataset.examples[at].id for at in learn)
    head = fit_ridge(Features(x[rows], y[rows], ids, dataset.classes, blocks, "test"))
    return TuningProblem(
        dataset=dataset,
        keys=scanned.hashes,
        learn=learn,
        judge=judge,
        y_learn=y[rows],
        y_judge=y[np.array(judge)],
        source=source,
        layer=layer,
        head=head,
        x=x[rows],
        x_judge=x[np.array(judge)],
        c=len(dataset.classes),
        cache=folder / "cache",
    )
