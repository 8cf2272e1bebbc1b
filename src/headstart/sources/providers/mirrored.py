"""`mirrored:URI`: a source of photos whose features are the mean over each photo and its mirror image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256_json
from headstart.engines.base import Network
from headstart.sources.base import Source
from headstart.sources.registry import open_source
from headstart.sources.uri import Spec

if TYPE_CHECKING:
    import openvino
    import torch


class MirroredSource(Source):
    """A frozen source that sees each photo from both sides: twice the time, and the mean of both features.

    Args:
        inner: the source of photos that computes them.

    Raises:
        SourceError: it is no network of photos, or several.
    """

    views = 2

    def __init__(self, uri: str, inner: Source) -> None:
        if inner.kind != "image" or inner.members or inner.views > 1 or inner.network().lookup is not None:
            raise SourceError(
                f"{uri} must name one network of photos", inner.identity.uri, "name one, or leave mirrored: out"
            )
        super().__init__(replace(inner.identity, uri=uri), inner.preprocessing, inner.taps, more=inner.more)
        self._inner = inner

    def network(self) -> Network:
        """Return the network of blocks that are the means over both views."""
        network = self._inner.at(self.layer).network()

        def module() -> torch.nn.Module:
            from headstart.sources.networks.tapped import BothViews

            return BothViews(network.module()).eval()

        return replace(
            network,
            fingerprint=sha256_json({"both views": network.fingerprint}),
            module=module,
            graph=None if network.graph is None else _of_both_views(network.graph),
        )

    def module(self) -> torch.nn.Module:
        """Raise SourceError: what would learn is the network of one view."""
        uri = self._inner.identity.uri
        raise SourceError(f"{self.identity.uri} must be seen from one side to be tuned", "two views", f"name {uri}")

    def class_names(self) -> tuple[str, ...]:
        """Return those of the source inside."""
        return self._inner.class_names()

    def classify_pooled(self, pooled: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return what the classifier of the source inside says of the mean of both views."""
        return self._inner.classify_pooled(pooled)

    def classify(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Return the class probabilities of the source inside, float32 of shape (n, k); see `Source.classify`."""
        return self._inner.classify(items)


def _of_both_views(graph: Callable[[], openvino.Model]) -> Callable[[], openvino.Model]:
    def doubled() -> openvino.Model:
        from headstart.sources.graphs.openvino_graph import with_both_views

        return with_both_views(graph())

    return doubled


def open_named(spec: Spec, *, weights: str, seed: int) -> MirroredSource:
    """Return the source of photos that the name of `spec` is the URI of, seen from both sides.

    SourceError: there is none, or it is no single network of photos.
    """
    return MirroredSource(spec.uri, open_source(spec.name, weights=weights, seed=seed))
