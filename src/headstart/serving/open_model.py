"""A model with its engines open: examples in, answers out, as `predict` gives them, and nothing kept on a disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.progress import Progress
from headstart.data.audio.spectrogram import Windows
from headstart.data.audit import remarks_on
from headstart.data.dataset import BadExample
from headstart.data.images.value_range import in_one_range
from headstart.data.modality import Kind
from headstart.data.readers.arrays.in_memory import from_items
from headstart.data.text import Tokens, text_of
from headstart.engines.base import Batch, Engine, Network, PreparedExample, stacked
from headstart.engines.conversion_process import NetworkOrigin, engine_opener
from headstart.features.extract import OPEN_SOURCE
from headstart.judge.prediction import plain_prediction
from headstart.model import Model
from headstart.sources.base import Source

SAMPLED = 8
"""Made-up examples on which an engine is judged where no earlier run judged it: so few that `predict` asks again."""
WORDS = "the quick brown fox jumps over a lazy dog while seven small boats wait for rain"
MOST_PIECES = 1024
"""Windows of a recording, or chunks of a text, that one example may be computed in."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One example, ready for the networks of a model."""

    parts: tuple[PreparedExample, ...]  # one for each network
    text: str = ""  # of a text, itself, where the model reads its words as well

    @property
    def pieces(self) -> int:
        """How many runs of a network it takes: windows of a recording, chunks of a text, otherwise 1."""
        return max(map(pieces_of, self.parts))


def pieces_of(example: PreparedExample) -> int:
    """Return in how many pieces a network computes an example."""
    if isinstance(example, Tokens):
        return max(1, len(example.pieces))
    return len(example) if isinstance(example, Windows) else 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of one example."""

    probabilities: NDArray[np.float32]  # float32 of shape (c,), summing to 1
    novelty: float | None  # how unlike the training data it is, above 1 unlike; None where the model cannot tell

    def shown(self, classes: Sequence[str], *, every_class: bool) -> dict[str, Any]:
        """Return it as a plain object: the likeliest class, its probability, and the others where asked for."""
        return plain_prediction(classes, self.probabilities, self.novelty, every_class=every_class)


class SharedEngine:
    """An engine that several models use, one at a time."""

    def __init__(self, engine: Engine) -> None:
        one_by_one = getattr(engine, "one_by_one", None)
        self._engine = engine if one_by_one is None else one_by_one()
        self.batch = max(engine.batch, self._engine.batch)
        self._lock = threading.Lock()

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Return the blocks side by side, float32 of shape (n, sum of widths)."""
        with self._lock:
            return self._engine.run(batch)


class Engines:
    """The open engines of a process: bundles on one source share its engine."""

    def __init__(self, cache: Path, *, engine: str = "auto", progress: Progress | None = None) -> None:
        self._cache, self.engine, self._progress = cache, engine, progress or Progress()
        self._open: dict[str, SharedEngine] = {}
        self._lock = threading.Lock()

    def of(self, source: Source) -> SharedEngine:
        """Return the engine of a source, opened at the first call; UsageError where it cannot be."""
        network = source.network()
        with self._lock:
            if network.fingerprint not in self._open:
                self._open[network.fingerprint] = SharedEngine(self._opened(source, network))
            return self._open[network.fingerprint]

    def _opened(self, source: Source, network: Network) -> Engine:
        origin = None if source.opened is None else NetworkOrigin(OPEN_SOURCE, dict(source.opened))
        opener = engine_opener(network, origin, engine=self.engine, cache=self._cache, progress=self._progress)
        with opener as open_from:
            return open_from(lambda: made_up(source, network))

    def keep(self, sources: Sequence[Source]) -> None:
        """Close the engines that none of these sources needs."""
        needed = {source.network().fingerprint for source in sources}
        with self._lock:
            self._open = {name: engine for name, engine in self._open.items() if name in needed}


def made_up(source: Source, network: Network) -> Batch:
    """Return a few examples of no content, the same each time: smooth noise as pictures, or words in any order."""
    rng = np.random.default_rng(0)
    if not network.input_shape:
        words = WORDS.split()
        texts = [" ".join(rng.permutation(words)[: 3 + row].tolist()) for row in range(SAMPLED)]
        return stacked([source.prepare(text.encode()) for text in texts])
    height, width, channels = network.input_shape
    coarse = rng.integers(0, 256, (SAMPLED, -(-height // 8), -(-width // 8), channels), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


class OpenModel:
    """A model that answers at once: `prepare` in any thread, `run` in one."""

    def __init__(self, model: Model, engines: Engines) -> None:
        self.model = model
        self.kind: Kind = model.source.info.kind
        self.members: tuple[Source, ...] = model.source.members or (model.source,)
        self._engines = [engines.of(member) for member in self.members]
        self._blocks = tuple(tap.block for tap in model.source.taps) if model.source.members else ()
        self.batch = max(engine.batch for engine in self._engines)

    def prepare(self, item: bytes | str | Path) -> Prepared:
        """Return an example ready to run: the bytes of a file, a text, or a path; BadExample where it is unusable."""
        dataset = in_one_range(from_items([item], kind=self.kind), self.model.data.value_ranges)
        data = dataset.read(0)
        remarks_on(dataset, 0, data)
        prepared = Prepared(
            tuple(member.prepare(data) for member in self.members),
            text_of(data) if self.kind == "text" and self.model.terms is not None else "",
        )
        if prepared.pieces > MOST_PIECES:
            raise BadExample(f"too long: {prepared.pieces:,} pieces, of {MOST_PIECES:,} at most")
        return prepared

    def run(self, group: Sequence[Prepared]) -> list[Answer]:
        """Return what the model says of each example; UsageError where its scores are not finite."""
        rows = [engine.run(stacked([one.parts[place] for one in group])) for place, engine in enumerate(self._engines)]
        blocks = self._blocks or self.members[0].network().blocks
        probabilities, novelty = self.model.judge(np.hstack(rows), blocks, [one.text for one in group])
        scores = [None] * len(group) if novelty is None else map(float, novelty)
        return [Answer(row, score) for row, score in zip(probabilities, scores, strict=True)]
