"""What the providers share whose networks come as graphs, and not as torch modules: ONNX files and SavedModels.

Imports neither OpenVINO nor torch until a network is looked at or run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.errors import SourceError, UsageError
from headstart.base.hashing import sha256_file, sha256_json
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.base import Block, Network
from headstart.engines.select import EXACT, PARITY_SAMPLE, open_engine
from headstart.sources.architecture import Architecture, remembered
from headstart.sources.base import Identity, Source
from headstart.sources.graphs.sidecar import SidecarMetadata, read_sidecar
from headstart.sources.taps import Tap, more_taps, taps
from headstart.sources.uri import Spec

if TYPE_CHECKING:
    import openvino
    import torch

RECIPE = 1
"""Counts up when the same files come to mean other numbers."""
LATE_STAGES = 4


@dataclass(frozen=True)
class FormatDefaults:
    """What a format's networks want of their pictures where nothing says otherwise.

    Attributes:
        framework: OpenVINO's name of the format.
        size: height and width in pixels, where the graph leaves them open.
        margin: length of the shorter side before the crop, as a multiple of the size.
        mean: per channel, of values in 0..1.
        std: per channel.
    """

    framework: str
    size: tuple[int, int]
    margin: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def preprocessing(self, size: tuple[int, int] | None, channels: int, *, whole: bool) -> Preprocessing:
        """Return the preprocessing for a graph that takes `channels`; one for whole numbers normalises by itself."""
        size = size or self.size
        mean, std = ((0.0,), (1 / 255,)) if whole else (self.mean, self.std)
        if channels == 1:
            mean, std = (float(np.mean(mean)),), (float(np.mean(std)),)
        return Preprocessing(
            size=size,
            resize=round(min(size) * self.margin),
            interpolation="bilinear",
            mean=mean,
            std=std,
            channels="grey" if channels == 1 else "rgb",
        )


class GraphSource(Source):
    """A frozen source whose network is a graph that OpenVINO reads; it cannot be tuned.

    Args:
        uri: `provider:name`.
        path: the file or folder that OpenVINO reads.
        files: all files that its numbers come from.
        defaults: what its format wants of pictures.
        revision: what its publisher calls this version; empty for none.
    """

    preprocessing: Preprocessing

    def __init__(
        self, uri: str, path: Path, files: Sequence[Path], defaults: FormatDefaults, *, revision: str = ""
    ) -> None:
        self._path, self._defaults = path, defaults
        self._sidecar = read_sidecar(path)
        digest = _digest(files, path)
        architecture = _remembered(path, digest, defaults, self._sidecar)
        identity = Identity(
            uri, defaults.framework, architecture.parameters, architecture.classes, revision=revision, sha256=digest
        )
        super().__init__(identity, architecture.preprocessing, architecture.taps, more=architecture.more)

    def network(self) -> Network:
        """Return the network that yields every standard block in one pass, or those that the layer names."""
        taps = self.active_taps
        return self._network([tap.block for tap in taps], {"taps": [asdict(tap) for tap in taps]}, taps)

    def module(self) -> torch.nn.Module:
        """Refuse: there is no torch module.

        Raises:
            SourceError: always.
        """
        raise SourceError(
            f"{self.info.uri} must be a torch network to be tuned, or run by torch",
            "a graph (ONNX, SavedModel)",
            "use it frozen, with --tune none and --engine auto, or name another source",
        )

    def classify(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Return the source's own class probabilities, float32 of shape (n, k); see `Source.classify`."""
        classes = self.identity.classes
        if not classes:
            return super().classify(items)
        prepared = self.prepare_all(items)
        network = self._network([Block("probabilities", classes)], {"probabilities": classes}, None)
        engine = open_engine(network, sample=lambda: prepared[:PARITY_SAMPLE], cache=cache_dir(), engine=EXACT)
        return engine.run(prepared)

    def _network(self, blocks: Sequence[Block], what: dict[str, Any], taps: Sequence[Tap] | None) -> Network:
        height, width = self.preprocessing.size
        channels = 1 if self.preprocessing.channels == "grey" else 3
        made_of = {
            "recipe": RECIPE,
            "weights": self.identity.sha256,
            "pool": self._sidecar.pool,
            "preprocessing": asdict(self.preprocessing),
            **what,
        }
        return Network(
            sha256_json(made_of),
            (height, width, channels),
            tuple(blocks),
            self.module,
            graph=lambda: self._graph(taps),
        )

    def _graph(self, taps: Sequence[Tap] | None) -> openvino.Model:
        """Return the graph from pictures to the blocks of `wanted`, or to the probabilities of its own classes."""
        from headstart.sources.graphs import openvino_graph as graph

        where = self.info.uri
        model = graph.read(self._path, self._defaults.framework)
        entry = graph.find_input(model, where)
        graph.give_size(model, entry, self.preprocessing.size, where)
        tensors = graph.find_tensors(model, self._sidecar.pool, where)
        if taps is None:
            assert tensors.head is not None
            outputs = [graph.probabilities(tensors.head)]
        else:
            outputs = graph.blocks(tensors, taps)
        return graph.with_pictures(model, entry, self.preprocessing, outputs)


def refuse_random(spec: Spec, weights: str) -> None:
    """Raise SourceError where random weights are asked of a network that comes as a graph."""
    if weights == "none":
        raise SourceError(
            f"{spec.uri} comes with its weights and cannot have others",
            "weights none",
            "leave weights out, or name the same architecture in timm: or torchvision:",
        )


def _digest(files: Sequence[Path], path: Path) -> str:
    """Return the sha256 of one file, or of several by name."""
    if len(files) == 1 and files[0] == path:
        return sha256_file(path)
    root = path if path.is_dir() else path.parent
    return sha256_json({str(file.relative_to(root)): sha256_file(file) for file in files})


def _remembered(path: Path, digest: str, defaults: FormatDefaults, sidecar: SidecarMetadata) -> Architecture:
    try:
        reader = version("openvino")
    except PackageNotFoundError as error:
        raise UsageError(
            f"{path} is a graph (ONNX, SavedModel), which OpenVINO reads",
            "OpenVINO is not installed",
            "run: pip install openvino, or name another source",
        ) from error
    key = {
        "graph": digest,
        "openvino": reader,
        "defaults": asdict(defaults),
        "said": {"pool": sidecar.pool, **sidecar.changes},
        "graph recipe": RECIPE,
    }
    return remembered(key, lambda: _look(path, defaults, sidecar))


def _look(path: Path, defaults: FormatDefaults, sidecar: SidecarMetadata) -> Architecture:
    """Return what the graph in `path` looks like, by reading it; nothing is run."""
    from headstart.sources.graphs import openvino_graph as graph

    where = str(path)
    model = graph.read(path, defaults.framework)
    entry = graph.find_input(model, where)
    graph.check_finite(model, where)
    preprocessing = sidecar.applied(defaults.preprocessing(entry.size, entry.channels, whole=entry.whole))
    _check(preprocessing, entry.channels, where)
    graph.give_size(model, entry, preprocessing.size, where)
    tensors = graph.find_tensors(model, sidecar.pool, where)
    stages = list(graph.stages_of(tensors))
    standard = taps(graph.pool_width(tensors), stages[-LATE_STAGES:], None)
    more = more_taps(standard, stages, None)
    classes = graph.class_count(tensors)
    return Architecture(graph.count(model, graph.blocks(tensors, standard)), classes, preprocessing, standard, more)


def _check(preprocessing: Preprocessing, channels: int, where: str) -> None:
    """Raise SourceError unless the preprocessing gives the channels that the graph takes."""
    sidecar, resize, size = f"{where}.preprocessing.json", preprocessing.resize, preprocessing.size
    means, deviations = len(preprocessing.mean), len(preprocessing.std)
    if (1 if preprocessing.channels == "grey" else 3) != channels or not {means, deviations} <= {1, channels}:
        raise SourceError(
            f"{where} must be given pictures of {channels} channels",
            f"channels {preprocessing.channels}, {means} means and {deviations} deviations",
            f"mend {sidecar}",
        )
    if resize is not None and resize < min(size):
        raise SourceError(
            f"resize in {sidecar} must be at least the shorter side of the size {list(size)}", resize, "mend the file"
        )
