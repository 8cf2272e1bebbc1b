"""A source as a scikit-learn transformer; importing this file imports scikit-learn, which nothing else here does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from headstart.base.config import cache_dir
from headstart.base.errors import UsageError
from headstart.data.readers.arrays.in_memory import from_items
from headstart.engines.base import Block
from headstart.features.extract import extract
from headstart.judge.prediction import unreadable
from headstart.sources.base import Source
from headstart.sources.layers import select
from headstart.sources.registry import open_source

OPEN_SOURCES = 4  # as many as a grid search over sources usually has, without loading one anew for each fold


class SourceFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn pictures or texts into the features of a pretrained source, in a scikit-learn Pipeline.

    Features are cached by content: a grid search or a cross-validation computes those of a picture once.

    Args:
        source: a URI such as `packaged:efficientnet-lite0`, or a Source.
        layer: where features are taken: `pool`, `joined`, or names of stages joined by `+`.
        engine: `auto`, `torch` or `openvino`.
    """

    def __init__(
        self, source: str | Source = "packaged:efficientnet-lite0", layer: str = "pool", engine: str = "auto"
    ) -> None:
        self.source = source
        self.layer = layer
        self.engine = engine

    def fit(self, X: Sequence[Any], y: object = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Check source and layer; there is nothing to learn.

        Args:
            X: as for `transform`.

        Raises:
            UsageError: no such source or layer, or `X` is no list.
        """
        _check_list(X)
        self.n_features_out_ = sum(block.width for block in self._blocks())
        return self

    def transform(self, X: Sequence[Any]) -> NDArray[np.float32]:  # noqa: N803 - scikit-learn's name
        """Return features, float32 of shape (n, d).

        Args:
            X: paths, bytes of files, PIL pictures or uint8 arrays of shape (height, width, channels); for a source of
                texts, the texts.

        Raises:
            UsageError: a picture cannot be read; the message names it.
        """
        _check_list(X)
        if not len(X):
            return np.empty((0, len(self.get_feature_names_out())), dtype=np.float32)
        source = self._opened()
        extraction = extract(from_items(X, kind=source.info.kind), source, engine=self.engine, cache=cache_dir())
        if extraction.scan.dataset.skipped:
            raise unreadable(extraction.scan.dataset.skipped)
        return select(extraction.x_of_all, extraction.blocks, self.layer)[0]

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return the name of each feature: its block and its number in it."""
        names = [f"{block.name}_{number}" for block in self._blocks() for number in range(block.width)]
        return np.array(names, dtype=object)

    def _opened(self) -> Source:
        source = self.source if isinstance(self.source, Source) else _open(self.source)
        return source.at(self.layer)

    def _blocks(self) -> tuple[Block, ...]:
        blocks = self._opened().network().blocks
        none = np.empty((0, sum(block.width for block in blocks)), dtype=np.float32)
        return select(none, blocks, self.layer)[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        return tags


@lru_cache(maxsize=OPEN_SOURCES)
def _open(uri: str) -> Source:
    return open_source(uri)


def _check_list(items: object) -> None:
    """Raise UsageError for a lone item, which would otherwise be taken for a list of letters or rows."""
    if isinstance(items, str | bytes | Path) or not hasattr(items, "__len__"):
        raise UsageError("items must be a list or an array", f"a {type(items).__name__}", "put it in a list: [item]")
