"""Data that is read, checked, split and turned into features: what every command begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.audit import Scan
from headstart.data.split import Parts
from headstart.features.extract import Extraction
from headstart.features.features import Features
from headstart.sources.base import Source
from headstart.sources.layers import select


@dataclass(frozen=True)
class LayerSelection:
    """The layer that was chosen, and the leave-one-out squared error of each one that was tried."""

    chosen: str
    errors: Mapping[str, float]


@dataclass(frozen=True)
class PreparedData:
    """Data that is read, checked, split and turned into features.

    Attributes:
        scan: the usable examples, with their hashes.
        parts: positions of the train, validation and test examples.
        source: what made the features.
        extraction: all blocks of features of every usable example.
        engine: the engine that was asked for.
    """

    scan: Scan
    parts: Parts
    source: Source
    extraction: Extraction
    engine: str

    def features(self, layer: str, part: tuple[int, ...]) -> Features:
        """Return the features of one part, taken at `layer`."""
        dataset = self.scan.dataset
        x, blocks = select(self.extraction.x[np.asarray(part, dtype=np.intp)], self.extraction.blocks, layer)
        ids = tuple(dataset.examples[position].id for position in part)
        return Features(x, self.labels(part), ids, dataset.classes, blocks, self.extraction.made_by)

    def labels(self, part: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the class ids of one part."""
        return self.scan.dataset.class_ids(part)

    def pixels(self, part: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the small pictures of one part, for the baseline that needs no source."""
        return self.extraction.pixels[np.asarray(part, dtype=np.intp)]
