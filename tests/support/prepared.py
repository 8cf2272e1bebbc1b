"""Prepared data without files or networks: features and pixels as they are planted, split as any data is."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from headstart.data.audit import Examined, summarize
from headstart.data.dataset import Dataset, Example
from headstart.data.split import split
from headstart.features.features import Extraction
from headstart.features.modality import ImageSummary
from headstart.run.prepare import PreparedData
from headstart.testing import ToySource


def prepared_data(
    labels: Sequence[str], *, known: float = 8.0, parts: Sequence[Any] = (), seed: int = 0
) -> PreparedData:
    """Return examples whose features lie `known` standard deviations apart by class, and whose pixels are noise."""
    rng, source = np.random.default_rng(seed), ToySource(0)
    given = [*parts, *[None] * (len(labels) - len(parts))]
    examples = tuple(Example(f"{at}", label, part) for at, (label, part) in enumerate(zip(labels, given, strict=True)))
    classes = tuple(sorted(set(labels)))
    data = Dataset("toy", "image", examples, classes, lambda at: b"%d" % at)
    scan = summarize(data, [Examined(sha256(one.id.encode()).hexdigest()) for one in examples])
    blocks = source.network().blocks
    ids = np.array([classes.index(label) for label in labels])
    x = rng.normal(size=(len(labels), sum(block.width for block in blocks)))
    x[np.arange(len(labels)), ids] += known
    pixels = rng.integers(0, 256, (len(labels), 768)).astype(np.uint8)
    summary = ImageSummary(pixels, np.zeros((len(labels), 32, 32), np.uint8))
    rows = np.arange(len(labels))
    extraction = Extraction(
        scan,
        tuple(rows.tolist()),
        x.astype(np.float32),
        rows,
        summary,
        blocks,
        0,
        len(labels),
        "torch-f32",
        "ab" * 32,
        (),
    )
    return PreparedData(split(data, scan.hashes, seed=seed), source, extraction, "torch")
