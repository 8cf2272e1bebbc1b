"""Extraction by workers elsewhere: the same rows as `extract` gives, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.dataset import Dataset
from headstart.features.extraction_pass import ExtractionPass
from headstart.features.features import Extraction
from headstart.scale.schedule import Workers, run_orders
from headstart.scale.shards import Shard, ShardFolder
from headstart.scale.worker import Order
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
    reading: Mapping[str, Any],
    engine: str,
    shards: str,
    workers_for: WorkersFor,
    progress: Progress,
) -> Extraction:
    """Return the features of every example that can be used, as `extract` does, computed by workers.

    Args:
        dataset: as `open_anywhere` returns it.
        reading: the arguments of `open_anywhere` that a worker opens the data with, `data` among them.
        shards: the fsspec path of a folder where features are kept, each shard once.

    Raises:
        UsageError: the source cannot be opened elsewhere, is several networks, or its engines differ between machines;
            and what `run_orders` and `ShardFolder` raise.
    """
    if source.opened is None or source.members:
        do = "name one by a URI such as packaged:efficientnet-lite0"
        raise UsageError("the source of a run on a cluster must be one network that a URI opens", source.info.uri, do)
    folder = ShardFolder(shards)
    options = dict(reading)
    arguments = (options.pop("data"), options, dict(source.opened), engine, folder.known)
    collected = _Collected(dataset, source)
    orders = orders_for(dataset)
    name = "Reading and extracting features"
    with progress.step(name, len(dataset), dataset.items) as step, workers_for(arguments) as workers:

        def accept(number: int, answer: tuple[str, tuple[Shard, bytes] | None]) -> None:
            key, made = answer
            if made is None:
                collected.take(orders[number], _stored(folder, key), new=False)
            else:
                folder.put(key, made[1])
                collected.take(orders[number], made[0], new=True)
            step.advance(len(orders[number].positions))

        run_orders(workers, orders, accept)
    return collected.result()


def orders_for(dataset: Dataset) -> list[Order]:
    """Return the examples in orders of `SHARD`, the same for any number of workers."""
    ids = [example.id for example in dataset.examples]
    starts = range(0, len(ids), SHARD)
    return [
        Order(tuple(range(start, min(start + SHARD, len(ids)))), tuple(ids[start : start + SHARD])) for start in starts
    ]


def _stored(folder: ShardFolder, key: str) -> Shard:
    shard = folder.get(key)
    if shard is None:
        must, do = f"the shard {key} in {folder.uri} must be whole", "remove that file, and run the same command again"
        raise UsageError(must, "a damaged one", do)
    return shard


class _Collected:
    """The pass whose examples come from shards, in any order."""

    def __init__(self, dataset: Dataset, source: Source) -> None:
        self._work = ExtractionPass(dataset, source, store=None, take_lock=_nothing, open_engine=_no_engine)

    def take(self, order: Order, shard: Shard, *, new: bool) -> None:
        """Take what a shard holds of the examples of an order."""
        work, first = self._work, order.positions[0]
        if len(shard.rows):
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
            reason, position = shard.reasons.get(place), first + place
            work.digests[position] = digest
            if not digest:
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
