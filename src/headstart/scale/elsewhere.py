"""Extraction by workers elsewhere: the same rows as `extract` gives, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.dataset import Dataset
from headstart.engines.conversion_process import NetworkOrigin
from headstart.features.extract import side_by_side
from headstart.features.extraction_pass import CHANGED, ExtractionPass, made_by
from headstart.features.features import Extraction
from headstart.scale.schedule import Workers, run_orders
from headstart.scale.shards import Shard, ShardFolder
from headstart.scale.worker import MEMBER_OF, Order
from headstart.sources.base import Source

SHARD = 256
"""Examples of a shard: what the death of a worker can cost. Its size must not follow from the number of workers, or the
last digits of features would."""

WorkersFor = Callable[[tuple[Any, ...]], AbstractContextManager[Workers]]
"""Takes the arguments of `Worker` and gives workers while a block runs."""


def extract_elsewhere(
    dataset: Dataset,
    source: Source,
    *,
    engine: str,
    shards: str,
    workers_for: WorkersFor,
    progress: Progress,
    origin: NetworkOrigin | None,
    hashes: Sequence[str] | None = None,
) -> Extraction:
    """Return the features of every example that can be used, as `extract` does, computed by workers.

    Args:
        dataset: as `open_anywhere` returns it, or a part of it.
        shards: the fsspec path of a folder where features are kept, each shard once.
        origin: what opens the source, or one of its members for each; None where nothing can.
        hashes: sha256 of each example's bytes, where an earlier extraction read the very same examples: one that has
            changed since is skipped.

    Raises:
        UsageError: the data or the source cannot be opened elsewhere, machines open another network or engine, or the
            disk has no room for the shards; and what `run_orders` and `ShardFolder` raise.
    """
    if dataset.opened is None:
        do = "name a folder, an archive, a table or a URI"
        raise UsageError("the data of a run on a cluster must have a path", "examples in memory", do)
    if origin is None:
        do = "name one by a URI such as packaged:efficientnet-lite0"
        raise UsageError("the source of a run on a cluster must be one that a URI opens", source.info.uri, do)
    if source.members:
        shared: dict[str, Any] = {"engine": engine, "shards": shards, "workers_for": workers_for, "progress": progress}

        def extracted(dataset: Dataset, member: Source, hashes: Sequence[str] | None) -> Extraction:
            place = next(place for place, each in enumerate(source.members) if each is member)
            own = NetworkOrigin(MEMBER_OF, {**asdict(origin), "place": place})
            return extract_elsewhere(dataset, member, origin=own, hashes=hashes, **shared)

        return side_by_side(dataset, source, hashes, extracted)
    folder = ShardFolder(shards)
    arguments = (dict(dataset.opened), origin, engine, folder.known)
    collected = _Collected(dataset, source, hashes)
    folder.check_room((len(dataset) - SHARD * len(folder.known)) * collected.row_bytes)
    orders = orders_for(dataset)
    name = "Reading and extracting features"
    with workers_for(arguments) as workers, progress.step(name, len(dataset), dataset.items) as step:

        def accept(number: int, answer: tuple[str, tuple[Shard, bytes] | None]) -> None:
            key, made = answer
            if made is None:
                collected.take(orders[number], _stored(folder, key), new=False)
            else:
                folder.put(key, made[1])
                collected.take(orders[number], made[0], new=True)
            step.advance(len(orders[number].ids))

        run_orders(workers, orders, accept)
    return collected.result()


def orders_for(dataset: Dataset) -> list[Order]:
    """Return the examples in orders of `SHARD`, the same for any number of workers."""
    ids = [example.id for example in dataset.examples]
    return [Order(start, tuple(ids[start : start + SHARD])) for start in range(0, len(ids), SHARD)]


def _stored(folder: ShardFolder, key: str) -> Shard:
    shard = folder.get(key)
    if shard is None:
        must, do = f"the shard {key} in {folder.uri} must be whole", "remove that file, and run the same command again"
        raise UsageError(must, "a damaged one", do)
    return shard


class _Collected:
    """The pass whose examples come from shards, in any order."""

    def __init__(self, dataset: Dataset, source: Source, hashes: Sequence[str] | None) -> None:
        self._work = ExtractionPass(dataset, source, store=None, take_lock=_nothing, open_engine=_no_engine)
        self._hashes = hashes
        self.row_bytes = self._work.x.itemsize * self._work.x.shape[1] + self._work.summaries.shape[1]

    def take(self, order: Order, shard: Shard, *, new: bool) -> None:
        """Take what a shard holds of the examples of an order."""
        work, first = self._work, order.start
        if len(shard.rows):
            if shard.made_by != made_by(work.network, shard.engine, work.dataset.kind):
                must, do = f"every machine must open the same {work.source.info.uri}", "give all the same weights"
                raise UsageError(must, f"other weights, or other libraries, for {order.ids[0]}", do)
            if work.made_by and work.made_by != shard.made_by:
                must = f"every machine must compute features on {work.engine_name}, with the same libraries"
                do = "choose one that all of them have: --engine openvino or torch"
                raise UsageError(must, f"{shard.engine} for {order.ids[0]}", do)
            work.engine_name, work.made_by = shard.engine, shard.made_by
        positions = shard.rows + first
        work.x[positions], work.summaries[positions] = shard.x, shard.summaries
        if new:  # of a content that stands in several shards one run counts
            work.misses += sum(shard.digests[place] not in work.first for place in shard.rows.tolist())
        for place, digest in enumerate(shard.digests):
            position = first + place
            changed = self._hashes is not None and digest not in ("", self._hashes[position])
            reason = CHANGED if changed else shard.reasons.get(place)
            work.digests[position] = "" if changed else digest
            if not work.digests[position]:
                work.unreadable[position] = reason or ""
                continue
            work.first[digest] = min(work.first.get(digest, position), position)
            if reason is not None:
                work.unusable[digest] = reason
        work.remarks |= {first + place: remarks for place, remarks in shard.remarks.items()}

    def result(self) -> Extraction:
        """Return the features."""
        return self._work.result()


def _nothing(digests: Sequence[str]) -> None:
    """Wait for nobody: shards are written by this process alone."""


def _no_engine(sample: object) -> Any:
    raise AssertionError("nothing is run here")
