"""What the providers with a torch network share: one pass for all blocks, and the network's own classifier."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import read_record, write_record
from headstart.base.config import cache_dir
from headstart.base.errors import SourceError
from headstart.base.hashing import sha256_json
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.base import Network
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import RECIPE, Architecture, Identity, Source, Weights
from headstart.sources.layers import Tap

if TYPE_CHECKING:
    import openvino
    from torch import nn


Built = TypeVar("Built")
Classifier = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights (k, d) and bias (k,) of a linear map from pooled features to the scores of k classes."""


def source_of(identity: Identity, architecture: Architecture, build: Callable[[], nn.Module]) -> TorchSource:
    """Return the source of a network whose architecture is known; `build` is as for `TorchSource`."""
    identity = replace(identity, parameters=architecture.parameters, classes=architecture.classes)
    return TorchSource(identity, architecture.preprocessing, architecture.taps, build, more=architecture.more)


def build_seeded(build: Callable[[], Built], seed: int) -> Built:
    """Return what `build` makes while torch's random numbers begin at `seed`; torch's own state is untouched."""
    set_passive_omp_wait()
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def look_without_numbers(look: Callable[[], Architecture]) -> Architecture:
    """Return what `look` finds of a network that it builds and runs, where tensors have shapes and no numbers.

    That takes a fifth of the time or less, and finds the same. Where the network cannot be built so, `look` is called
    again with random numbers.
    """
    set_passive_omp_wait()
    import torch

    try:
        with torch.device("meta"):
            return look()
    except (RuntimeError, SourceError):  # it computes with numbers while it is built; or it cannot be built at all
        return build_seeded(look, 0)


class TorchSource(Source):
    """A source whose network is a torch module; torch is imported when the module is first asked for.

    `build` returns the module with its weights loaded, in inference mode; `graph` the same network for OpenVINO without
    torch, given its preprocessing, its taps and the weights that have changed, where there is a way; `classifier` its
    linear classifier of pooled features, where that is known without torch; the others are those of `Source`.
    """

    preprocessing: Preprocessing

    def __init__(
        self,
        identity: Identity,
        preprocessing: Preprocessing,
        taps: Sequence[Tap],
        build: Callable[[], nn.Module],
        *,
        more: Sequence[Tap] = (),
        graph: Callable[[Preprocessing, Sequence[Tap], Weights], openvino.Model] | None = None,
        classifier: Callable[[], Classifier] | None = None,
    ) -> None:
        super().__init__(identity, preprocessing, taps, more=more)
        self._classifier = classifier
        self._graph = graph
        self.stages = tuple(dict.fromkeys(tap.module for tap in self.all_taps if tap.module))
        self._build = cache(build)

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, architecture, taps and preprocessing: what the numbers of the network depend on."""
        return sha256_json(
            {
                "recipe": RECIPE,
                "weights": self.identity.sha256,
                "architecture": self.identity.architecture,
                "taps": [asdict(tap) for tap in self.active_taps],
                "preprocessing": asdict(self.preprocessing),
            }
        )

    def network(self) -> Network:
        """Return the network that yields every standard block in one pass, or those that the layer names."""
        blocks = tuple(tap.block for tap in self.active_taps)
        graph = self._graph and partial(self._graph, self.preprocessing, self.active_taps, self.all_changes)
        return Network(self.fingerprint, self.preprocessing.shape, blocks, self._tapped, graph=graph)

    def module(self) -> nn.Module:
        """Return the torch module with its weights loaded, in inference mode; the same one each time."""
        set_passive_omp_wait()
        return self._build()

    def at_side(self, side: int) -> TorchSource:
        """Return the same network for pictures of another side; see `Source.at_side`."""
        if isinstance(self.preprocessing, AudioPreprocessing) or not self._takes(side):
            super().at_side(side)
        source = copy.copy(self)
        source.preprocessing = self.preprocessing.at_side(side)
        source.more = tuple(tap for tap in self.more if tap.reduce != "flatten")
        return source

    def _takes(self, side: int) -> bool:
        """Return whether the network takes such pictures: one with a graph does, others are tried once."""
        if self._graph is not None:
            return True
        path = cache_dir() / "sources" / f"{sha256_json({'takes': side, 'network': self.fingerprint})}.json"
        if (remembered := read_record(path)) is not None:
            return bool(remembered)
        from headstart.sources.networks.tapped import accepts_size

        self.module()
        takes = accepts_size(self, side)
        write_record(path, takes)
        return takes

    def classify(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Return the source's own class probabilities, float32 of shape (n, k); see `Source.classify`."""
        if not self.identity.classes:
            return super().classify(items)
        prepared = self.prepare_all(items)
        from headstart.engines.torch import TorchEngine
        from headstart.sources.networks.tapped import Probabilities

        return TorchEngine(Probabilities(self.module(), self.preprocessing)).run(prepared)

    def classify_pooled(self, pooled: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the source's own class probabilities, float32 of shape (n, k); see `Source.classify_pooled`."""
        if self._classifier is None or not self.identity.classes:
            return None
        weights, bias = self._classifier()
        scores = pooled @ weights.T + bias
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(likely / likely.sum(axis=1, keepdims=True), np.float32)

    def as_trainable(self, texts: Callable[[], Iterable[str]], others: Callable[[], Iterable[str]]) -> TorchSource:
        """Return the source itself."""
        return self

    def with_weights(self, weights: Weights, preprocessing: Preprocessing | None = None) -> TorchSource:
        """Return the source with some of its weights changed; see `Source.with_weights`."""
        new = preprocessing or self.preprocessing
        more = [tap for tap in self.more if tap.reduce != "flatten" or new.size == self.preprocessing.size]
        changed = plain(weights)
        identity = self.identity.as_tuned(changed)
        build = partial(with_changes, self, changed)
        tuned = TorchSource(identity, new, self.taps, build, more=more, graph=self._graph)
        tuned.base, tuned.weights, tuned.layer = self, changed, self.layer
        return tuned

    def _tapped(self) -> nn.Module:
        from headstart.sources.networks.tapped import Tapped

        return Tapped(self.module(), self.preprocessing, self.active_taps).eval()


def plain(weights: Weights) -> dict[str, NDArray[np.float32]]:
    """Return weights as float32 in the order of rows: those that computed fastest lie in another order in memory."""
    return {name: np.asarray(array, dtype=np.float32, order="C") for name, array in weights.items()}


def with_changes(source: Source, weights: Weights) -> nn.Module:
    """Return a copy of the module of a source with some of its weights changed.

    SourceError: a weight is none of the module's, or of another shape.
    """
    import torch

    body = copy.deepcopy(source.module())
    state = body.state_dict()
    check_changes({name: tuple(tensor.shape) for name, tensor in state.items()}, weights, source.info.uri)
    for name, array in weights.items():
        with torch.no_grad():
            state[name].copy_(torch.from_numpy(np.asarray(array)))
    return body


def check_changes(shapes: Mapping[str, tuple[int, ...]], weights: Weights, uri: str) -> None:
    """Raise SourceError where a weight is none of those of these names and shapes."""
    for name, array in weights.items():
        if shapes.get(name) != array.shape:
            raise SourceError(
                f"the tuned weight {name} must be one of {uri}, of its shape",
                f"shape {array.shape}",
                "tune the source again",
            )
