"""Data that is read, checked, split and turned into features: what every command begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.audit import Scan
from headstart.data.split import Parts
from headstart.features.features import Extraction, Features
from headstart.features.modality import TextSummary
from headstart.sources.base import Source
from headstart.sources.layers import select


@dataclass(frozen=True)
class LayerSelection:
    """The layer that was chosen, and the leave-one-out squared error of each one that was tried."""

    chosen: str
    errors: Mapping[str, float]


@dataclass(frozen=True)
class PreparedData:
    """Data that is read, checked, split and turned into features."""

    parts: Parts
    source: Source
    extraction: Extraction
    engine: str

    @property
    def scan(self) -> Scan:
        """The usable examples, with their hashes."""
        return self.extraction.scan

    def features(self, layer: str, part: tuple[int, ...]) -> Features:
        """Return the features of one part, taken at `layer`."""
        dataset = self.scan.dataset
        x, blocks = select(self.extraction.x[np.asarray(part, dtype=np.intp)], self.extraction.blocks, layer)
        ids = tuple(dataset.examples[position].id for position in part)
        return Features(x, self.labels(part), ids, dataset.classes, blocks, self.extraction.made_by)

    def labels(self, part: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the class ids of one part."""
        return self.scan.dataset.class_ids(part)

    def counts(self) -> dict[str, int]:
        """Return how many examples each part holds, and how many are of no use."""
        dataset, parts = self.scan.dataset, self.parts
        return {
            "train": len(parts.train),
            "validation": len(parts.validation),
            "test": len(parts.test),
            "skipped": len(dataset.skipped),
            "ignored": dataset.ignored,
        }

    def baseline_inputs(self, part: tuple[int, ...]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return what the baseline without a source learns from, of the photos or recordings of one part."""
        assert not isinstance(self.extraction.summary, TextSummary)
        return self.extraction.summary.baseline_inputs[np.asarray(part, dtype=np.intp)]
