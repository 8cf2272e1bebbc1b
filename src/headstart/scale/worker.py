"""A worker: a process that opens data, source and engine once, and turns examples into a shard, again and again."""

from __future__ import annotations

import platform
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from headstart.base.config import cache_dir, cores
from headstart.base.errors import DataError, UsageError, list_some
from headstart.base.hashing import sha256
from headstart.base.progress import Progress
from headstart.data.audit import remarks_on
from headstart.data.dataset import BadExample, Dataset
from headstart.engines.base import Engine
from headstart.engines.conversion_process import NetworkOrigin, engine_opener
from headstart.engines.select import Sample, openvino_version
from headstart.features.extraction_pass import ExtractionPass, made_by
from headstart.scale.remote import opened_again
from headstart.scale.shards import Shard, shard_key, to_bytes
from headstart.sources.base import Source

KILLED = "ends the process that reads it"
MEMBER_OF = f"{__name__}:member_of"
Announce = Callable[[int], None]


@dataclass(frozen=True)
class Order:
    """Some examples of the data to turn into a shard."""

    start: int  # the position of the first among those that are asked for
    ids: tuple[str, ...]  # of n examples
    poison: frozenset[int] = frozenset()  # the places among the n of those that end the process that reads them


def versions() -> dict[str, str]:
    """Return what must be the same in every process whose features are put side by side."""
    libraries = {name: version(name) for name in ("headstart", "numpy", "Pillow", "simplejpeg", "scipy")}
    return {"python": platform.python_version(), "openvino": str(openvino_version()), **libraries}


class Worker:
    """Data, a source and its engine, opened in this process.

    Args:
        data: the arguments of `opened_again`.
        source: what opens the source.
        engine: as `open_engine` takes it.
        known: the keys of the shards that are there: of these the key alone is given.

    Raises:
        UsageError: the data or the source cannot be opened here; the message names this machine.
    """

    def __init__(self, data: Mapping[str, Any], source: NetworkOrigin, engine: str, known: frozenset[str]) -> None:
        self.node = socket.gethostname()
        try:
            self.dataset = opened_again(data)
            self.source: Source = source.built()
        except UsageError as error:
            raise UsageError(f"{self.node}: {error.must}", error.received, error.remedy) from error
        self._positions = {example.id: position for position, example in enumerate(self.dataset.examples)}
        self.asked, self.known = engine, known
        self._engine: Engine | None = None

    def versions(self) -> dict[str, str]:
        """Return `versions` of this process."""
        return versions()

    def run(self, order: Order, announce: Announce | None = None) -> tuple[str, tuple[Shard, bytes] | None]:
        """Return the key of a shard, and unless that is known the shard and its file, so that others need not make it.

        `announce` is called with the place of each example before it is touched, and with -1 before the network runs.

        Raises:
            DataError: the data lists other examples here.
        """
        if missing := [name for name in order.ids if name not in self._positions]:
            must = f"{self.node} must list the same examples as the machine that asks"
            raise DataError(must, f"no {list_some(missing)}", "give every machine the same data at the same path")
        chosen = self.dataset.keep([self._positions[name] for name in order.ids])
        chosen = replace(chosen, read=_guarded(chosen.read, order.poison))
        digests, unreadable = self._digests(chosen, announce)
        key = shard_key(self._made_by(), digests, unreadable)
        if key in self.known:
            return key, None
        shard = self._shard(chosen, announce)
        return key, (shard, to_bytes(shard))

    def _made_by(self) -> str:
        return made_by(self.source.network(), self.asked, self.dataset.kind)

    def _digests(self, dataset: Dataset, announce: Announce | None) -> tuple[list[str], dict[int, str]]:
        """Return the sha256 of examples, empty where they cannot be read, and why."""
        digests, reasons = [""] * len(dataset), {}
        for place in range(len(dataset)):
            try:
                if announce is not None:
                    announce(place)
                data = dataset.read(place)
                digests[place] = sha256(data)
                if announce is not None:  # what the pass will do with it
                    remarks_on(dataset, place, data)
                    self.source.prepare(data)
            except BadExample as error:
                reasons[place] = error.reason
        if announce is not None:
            announce(-1)
        return digests, {place: reason for place, reason in reasons.items() if not digests[place]}

    def _shard(self, dataset: Dataset, announce: Announce | None) -> Shard:
        work = ExtractionPass(
            dataset, self.source, store=None, take_lock=lambda digests: None, open_engine=self._open_engine
        )
        work.run(Progress(), cores() if announce is None else 1)
        reasons = {
            place: reason
            for place, digest in enumerate(work.digests)
            if (reason := work.unreadable.get(place, work.unusable.get(digest, "")))
        }
        firsts = sorted(place for digest, place in work.first.items() if place not in reasons)
        rows = np.array(firsts, np.intp)
        return Shard(
            tuple(work.digests), reasons, work.remarks, rows, work.x[rows], work.summaries[rows], work.made_by,
            work.engine_name,
        )  # fmt: skip

    def _open_engine(self, sample: Sample) -> Engine:
        if self._engine is None:
            opener = engine_opener(
                self.source.network(), None, engine=self.asked, cache=cache_dir(), progress=Progress()
            )
            with opener as open_it:
                self._engine = open_it(sample)
        return self._engine


def member_of(builder: str, arguments: Mapping[str, Any], place: int) -> Source:
    """Return the member at a place of a source of several networks, which is opened by the builder."""
    source: Source = NetworkOrigin(builder, arguments).built()
    return source.members[place]


def _guarded(read: Callable[[int], bytes], poison: frozenset[int]) -> Callable[[int], bytes]:
    def guarded(place: int) -> bytes:
        if place in poison:
            raise BadExample(KILLED)
        return read(place)

    return guarded
