"""What the providers share whose networks come as graphs, and not as torch modules: ONNX files and SavedModels.

Imports neither OpenVINO nor torch until a network is looked at or run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.errors import SourceError, UsageError, did_you_mean, refusing
from headstart.base.hashing import foreign_json, sha256_file, sha256_json
from headstart.base.processes import Limits, TaskError, run_limited
from headstart.data.images.preprocessing import MAX_SIDE, VALUES, Preprocessing
from headstart.engines.base import Block, Network
from headstart.engines.select import EXACT, PARITY_SAMPLE, open_engine
from headstart.sources.base import Architecture, Identity, Source, architecture_from_json, remembered
from headstart.sources.layers import Tap, more_taps, taps

if TYPE_CHECKING:
    import openvino
    import torch

RECIPE = 1
"""Counts up when the same files come to mean other numbers."""
LATE_STAGES = 4
SUFFIX = ".preprocessing.json"
LARGEST = 1 << 16  # bytes
LOOK_SECONDS, LOOK_RATE = 10.0, 40 / (1 << 30)
"""Seconds of processor in which a graph is read, converted and run once, and what each byte of it adds."""
LOOK_BYTES, LOOK_COPIES = 1 << 30, 8
"""Memory that this takes, and how many times the bytes of the graph come on top."""


KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **VALUES,
    "pool": (lambda value: isinstance(value, str) and value != "", "the name of a tensor"),
}


@dataclass(frozen=True)
class FormatDefaults:
    """What a format's networks want of their pictures where nothing says otherwise."""

    framework: str  # OpenVINO's name of the format
    size: tuple[int, int]  # height and width in pixels, where the graph leaves them open
    margin: float  # length of the shorter side before the crop, as a multiple of the size
    mean: tuple[float, float, float]  # per channel, of values in 0..1; `std` likewise
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


class FrozenGraph(Source):
    """A frozen source whose network is a graph for OpenVINO, which `graph` builds, given its taps; it cannot be tuned.

    The other arguments are those of `Source`.
    """

    preprocessing: Preprocessing

    def __init__(
        self,
        identity: Identity,
        preprocessing: Preprocessing,
        taps: Sequence[Tap],
        graph: Callable[[Sequence[Tap]], openvino.Model],
        *,
        more: Sequence[Tap] = (),
    ) -> None:
        super().__init__(identity, preprocessing, taps, more=more)
        self._graph = graph

    def network(self) -> Network:
        """Return the network that yields every standard block in one pass, or those that the layer names."""
        taps = self.active_taps
        what = {"taps": [asdict(tap) for tap in taps]}
        return self._network([tap.block for tap in taps], what, partial(self._graph, taps))

    def module(self) -> torch.nn.Module:
        """Raise SourceError: there is no torch module."""
        raise SourceError(
            f"{self.info.uri} must be a torch network to be tuned, or run by torch",
            "a graph that only computes",
            "use it frozen, with --tune none and --engine auto, or name another source",
        )

    def _network(self, blocks: Sequence[Block], what: dict[str, Any], graph: Callable[[], openvino.Model]) -> Network:
        made_of = {
            "recipe": RECIPE,
            "weights": self.identity.sha256,
            "preprocessing": asdict(self.preprocessing),
            **what,
        }
        shape, fingerprint = self.preprocessing.shape, sha256_json(made_of)
        return Network(fingerprint, shape, tuple(blocks), self.module, graph=graph, runs_on_torch=False)


class GraphSource(FrozenGraph):
    """A frozen source whose network is a file of a graph that OpenVINO reads.

    Args:
        path: the file or folder that OpenVINO reads.
        files: all files that its numbers come from.
        revision: what its publisher calls this version; empty for none.
        side: of the pictures in pixels; None for the graph's own.
    """

    preprocessing: Preprocessing

    def __init__(
        self,
        uri: str,
        path: Path,
        files: Sequence[Path],
        defaults: FormatDefaults,
        *,
        revision: str = "",
        side: int | None = None,
    ) -> None:
        self._path, self._files, self._defaults = path, tuple(files), defaults
        changes, self._pool = read_sidecar(path)
        digest = _digest(files, path)
        size = sum(file.stat().st_size for file in files)
        architecture = _remembered(path, digest, defaults, changes, self._pool, size)
        if side is not None:
            new = architecture.preprocessing.at_side(side)
            changes |= {"size": new.size, "resize": new.resize}
            architecture = _remembered(path, digest, defaults, changes, self._pool, size)
        identity = Identity(
            uri, defaults.framework, architecture.parameters, architecture.classes, revision=revision, sha256=digest
        )
        super().__init__(
            identity, architecture.preprocessing, architecture.taps, self._from_file, more=architecture.more
        )

    def at_side(self, side: int) -> GraphSource:
        """Return the same network for pictures of another side; see `Source.at_side`."""
        identity = self.identity
        return GraphSource(identity.uri, self._path, self._files, self._defaults, revision=identity.revision, side=side)

    def classify(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Return the source's own class probabilities, float32 of shape (n, k); see `Source.classify`."""
        classes = self.identity.classes
        if not classes:
            return super().classify(items)
        prepared = self.prepare_all(items)
        what = {"probabilities": classes}
        network = self._network([Block("probabilities", classes)], what, partial(self._from_file, None))
        engine = open_engine(network, sample=lambda: prepared[:PARITY_SAMPLE], cache=cache_dir(), engine=EXACT)
        return engine.run(prepared)

    def _network(self, blocks: Sequence[Block], what: dict[str, Any], graph: Callable[[], openvino.Model]) -> Network:
        return super()._network(blocks, {"pool": self._pool, **what}, graph)

    def _from_file(self, taps: Sequence[Tap] | None) -> openvino.Model:
        return graph_of(self._path, self._defaults.framework, self._pool, self.preprocessing, taps)


def graph_of(
    path: Path, framework: str, pool: str, preprocessing: Preprocessing, taps: Sequence[Tap] | None
) -> openvino.Model:
    """Return the graph in `path` from pictures to the blocks of `taps`; where there are none, to the probabilities."""
    from headstart.sources.graphs import openvino_graph as graph

    where = str(path)
    model = graph.read(path, framework)
    entry = graph.find_input(model, where)
    graph.give_size(model, entry, preprocessing.size, where)
    tensors = graph.find_tensors(model, pool, where)
    if taps is None:
        assert tensors.head is not None
        outputs = [graph.probabilities(tensors.head)]
    else:
        outputs = graph.blocks(tensors, taps)
    return graph.with_pictures(model, entry, preprocessing, outputs)


def _digest(files: Sequence[Path], path: Path) -> str:
    """Return the sha256 of one file, or of several by name."""
    if len(files) == 1 and files[0] == path:
        return sha256_file(path)
    root = path if path.is_dir() else path.parent
    return sha256_json({str(file.relative_to(root)): sha256_file(file) for file in files})


def _remembered(  # noqa: PLR0917
    path: Path, digest: str, defaults: FormatDefaults, changes: dict[str, Any], pool: str, size: int
) -> Architecture:
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
        "said": {"pool": pool, **changes},
        "graph recipe": RECIPE,
    }
    return remembered(key, lambda: _look_apart(path, size, defaults=asdict(defaults), changes=changes, pool=pool))


def _look_apart(path: Path, size: int, **options: Any) -> Architecture:
    """Return what `look` returns for files of `size` bytes, in a process that a hostile graph may end."""
    limits = Limits(LOOK_SECONDS + LOOK_RATE * size, LOOK_BYTES + LOOK_COPIES * size)
    try:
        return architecture_from_json(run_limited(f"{__name__}:look", limits=limits, path=str(path), **options)[0])
    except TaskError as error:
        raise _unreadable(path, f"one that {error}") from error


def _unreadable(path: Path, reason: str) -> SourceError:
    telling = reason.strip().splitlines()[-1]
    remedy = "export it again with standard operators, or name another source"
    return SourceError(f"{path} must be a network that OpenVINO can read and run", telling, remedy)


def look(
    data: bytes, path: str, defaults: dict[str, Any], changes: dict[str, Any], pool: str
) -> tuple[dict[str, Any], bytes]:
    """Return what the graph in `path` looks like, as plain values, once it has been read, converted, and run once."""
    from headstart.engines.openvino import OpenVinoEngine, convert

    plain: dict[str, Any]
    plain, changed = (
        {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        for values in (defaults, changes)
    )
    file, known = Path(path), FormatDefaults(**plain)
    with refusing(lambda reason: _unreadable(file, reason)):
        architecture = _look(file, known, changed, pool)
        preprocessing = architecture.preprocessing
        taps = [None, architecture.taps] if architecture.classes else [architecture.taps]
        for some in taps:
            widths = [architecture.classes] if some is None else [tap.width for tap in some]
            blocks = tuple(Block(str(at), width) for at, width in enumerate(widths))
            graph = partial(graph_of, file, known.framework, pool, preprocessing, some)
            network = Network("", preprocessing.shape, blocks, _no_module, graph=graph, runs_on_torch=False)
            engine = OpenVinoEngine(convert(network), precision="f32")
            engine.run(np.zeros((1, *preprocessing.shape), np.uint8))
    return asdict(architecture), b""


def _no_module() -> torch.nn.Module:
    raise AssertionError("a graph is no torch module")


def _look(path: Path, defaults: FormatDefaults, changes: dict[str, Any], pool: str) -> Architecture:
    """Return what the graph in `path` looks like, by reading it."""
    from headstart.sources.graphs import openvino_graph as graph

    where = str(path)
    model = graph.read(path, defaults.framework)
    entry = graph.find_input(model, where)
    graph.check_finite(model, where)
    preprocessing = replace(defaults.preprocessing(entry.size, entry.channels, whole=entry.whole), **changes)
    _check(preprocessing, entry.channels, where)
    graph.give_size(model, entry, preprocessing.size, where)
    tensors = graph.find_tensors(model, pool, where)
    width, stages, classes = graph.describe(tensors)
    standard = taps(width, stages[-LATE_STAGES:], None)
    more = more_taps(standard, stages, None)
    return Architecture(graph.count(model, graph.blocks(tensors, standard)), classes, preprocessing, standard, more)


def read_sidecar(path: Path) -> tuple[dict[str, Any], str]:
    """Return what `PATH.preprocessing.json` says: changes to the preprocessing, and the tensor to take as `pool`.

    Both are empty where there is no such file, or it names none. SourceError: it is no JSON object, or has an unknown
    key or a value that cannot be.
    """
    where = path.with_name(path.name + SUFFIX)
    if not where.exists():
        return {}, ""
    with refusing(lambda reason: _refused(where, "be a JSON object", reason)):
        size = where.stat().st_size
        settings = foreign_json(where.read_bytes()) if size <= LARGEST else None
    if not isinstance(settings, dict):
        raise _refused(where, "be a small JSON object", f"{size:,} bytes of something else")
    for key, value in settings.items():
        if key not in KEYS:
            raise SourceError(
                f"keys of {where} must be among {', '.join(KEYS)}",
                repr(key),
                f"leave it out, or write one of these{did_you_mean(key, KEYS)}",
            )
        valid, expected = KEYS[key]
        if not valid(value):
            raise _refused(where, f"give {expected} as {key}", repr(value))
    pool = settings.pop("pool", "")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}, pool


def _refused(where: Path, must: str, received: str) -> SourceError:
    return SourceError(f"{where} must {must}", received, "mend the file, or remove it")


def _check(preprocessing: Preprocessing, channels: int, where: str) -> None:
    """Raise SourceError unless the preprocessing gives the channels that the graph takes."""
    sidecar, resize, size = f"{where}{SUFFIX}", preprocessing.resize, preprocessing.size
    means, deviations = len(preprocessing.mean), len(preprocessing.std)
    if (1 if preprocessing.channels == "grey" else 3) != channels or not {means, deviations} <= {1, channels}:
        raise SourceError(
            f"{where} must be given pictures of {channels} channels",
            f"channels {preprocessing.channels}, {means} means and {deviations} deviations",
            f"mend {sidecar}",
        )
    if max(size) > MAX_SIDE:
        raise SourceError(f"{where} must take pictures of at most {MAX_SIDE:,} pixels a side", size, "name another")
    if resize is not None and resize < min(size):
        raise SourceError(
            f"resize in {sidecar} must be at least the shorter side of the size {list(size)}", resize, "mend the file"
        )
