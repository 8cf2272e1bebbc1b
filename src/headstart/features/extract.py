"""Extraction: every example once through the network, whatever is asked of the features afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cores
from headstart.base.hashing import sha256, sha256_json
from headstart.base.locks import process_lock
from headstart.base.progress import Progress, Step
from headstart.data.dataset import BadExample, Dataset, Skipped
from headstart.data.modality import Kind
from headstart.data.text import text_of
from headstart.engines.base import Batch, Block, Engine, Network, PreparedExample, stacked
from headstart.engines.select import PHOTOS, library_versions, open_engine, planned
from headstart.features.conversion_process import ConversionProcess, start_conversion
from headstart.features.modality import COUNTS, EXTRACTION_PROFILES, by_length
from headstart.features.prefetch import Prefetcher
from headstart.features.store import KEYS_AT_ONCE, Store, StoredRow, row_key
from headstart.sources.base import Source

Number = TypeVar("Number", np.float32, np.uint8)
WAITING = "another process is extracting features of the same examples: waiting for it"


@dataclass(frozen=True)
class Extraction:
    """The features of a data set, all blocks of them.

    Attributes:
        x: float32 of shape (n, d), the blocks side by side, in the order of `kept`.
        pixels: uint8 of shape (n, 768): each picture averaged over 16 x 16 boxes; of others, what
            `features.kinds` keeps of them, as bytes.
        blocks: names and widths of the columns.
        kept: the n positions in the data set that could be used, ascending.
        skipped: the others, and why.
        hits: how many of the n examples needed no run of the network: cached, or the same bytes as another.
        misses: how many examples were run.
        engine: name and precision of the engine.
        made_by: fingerprint of the network, the engine and the libraries behind both.
        notes: what was noticed on the way, one sentence each.
        unknown: of texts, the words that the source does not know and how often each comes, the commonest first.
    """

    x: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    blocks: tuple[Block, ...]
    kept: tuple[int, ...]
    skipped: tuple[Skipped, ...]
    hits: int
    misses: int
    engine: str
    made_by: str
    notes: tuple[str, ...]
    unknown: tuple[tuple[str, int], ...] = ()

    @property
    def counts(self) -> NDArray[np.int32]:
        """How many tokens each text has, and how many of them were used, int32 of shape (n, 2)."""
        return np.ascontiguousarray(self.pixels).view(COUNTS)


def extract(
    dataset: Dataset,
    hashes: Sequence[str],
    source: Source,
    *,
    engine: str = "auto",
    cache: Path,
    conversion: ConversionProcess | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Extraction:
    """Return the features of every example that can be decoded, computed once per content and kept in `cache`.

    Args:
        dataset: the examples.
        hashes: sha256 of each example's bytes, 64 hexadecimal digits each.
        source: what turns them into features.
        engine: `auto`, `torch` or `openvino`.
        cache: folder of the store and of converted networks.
        conversion: the process that has begun with the network, where one has; otherwise one is started where needed.
        progress: shows how far it is; nothing by default.
        workers: threads that decode; one per core by default.

    Raises:
        UsageError: the cache cannot be written, its disk is full, or the engine asked for cannot be used.
    """
    progress = progress or Progress()
    network = source.network()
    with Store(cache) as store:
        work = _Work(dataset, hashes, source, network, store)
        work.conversion = conversion
        name = planned(network, engine=engine, cache=cache)
        if name is not None:
            work.take_cached(name)
        if work.missing:
            with process_lock(work.lock_file(cache), on_wait=lambda: progress.say(WAITING)):
                work.run(engine, cache, progress, workers or cores())
        return work.result()


class _Work:
    """One extraction under way: one row per distinct content, filled from the store and from the network."""

    def __init__(self, dataset: Dataset, hashes: Sequence[str], source: Source, network: Network, store: Store) -> None:
        self.dataset, self.source, self.network, self.store = dataset, source, network, store
        self.manner = EXTRACTION_PROFILES[dataset.kind]
        self.digests = list(dict.fromkeys(hashes))
        row_of = {digest: row for row, digest in enumerate(self.digests)}
        self.rows = np.array([row_of[digest] for digest in hashes], dtype=np.intp)
        self.first = np.full(len(self.digests), -1, dtype=np.intp)
        self.first[self.rows[::-1]] = np.arange(len(hashes))[::-1]
        self.x = np.empty((len(self.digests), sum(block.width for block in network.blocks)), dtype=np.float32)
        self.pixels = np.empty((len(self.digests), self.manner.beside), dtype=np.uint8)
        self.missing = dict.fromkeys(range(len(self.digests)))
        self.reasons: dict[int, str] = {}
        self.engine, self.made_by = "none", ""
        self.misses = 0
        self.commit = self.manner.commit
        self.conversion: ConversionProcess | None = None

    def lock_file(self, cache: Path) -> Path:
        """Return the lock of this work: one process at a time holds it, so that two do not do the same."""
        return cache / "locks" / sha256_json([self.network.fingerprint, self.digests])

    def take_cached(self, engine: str) -> None:
        """Fill the missing rows that the store holds for `engine`; the rows of another engine are missing again."""
        if engine != self.engine:
            self.engine, self.made_by = engine, made_by(self.network, engine, self.dataset.kind)
            self.missing = dict.fromkeys(range(len(self.digests)))
        wanted = list(self.missing)
        for start in range(0, len(wanted), KEYS_AT_ONCE):
            rows = {self._key(row): row for row in wanted[start : start + KEYS_AT_ONCE]}
            for key, found in self.store.get_many(list(rows)).items():
                if len(found.x) == self.x.shape[1] and len(found.pixels) == self.pixels.shape[1]:
                    self._set(rows[key], found)

    def run(self, engine: str, cache: Path, progress: Progress, workers: int) -> None:
        """Decode what is missing, run it through the network, and commit it batch by batch."""
        if self.made_by:
            self.take_cached(self.engine)  # another process may have done it while this one waited
        opened: Engine | None = None
        while pending := [row for row in self.missing if row not in self.reasons]:
            self.store.check_room(len(pending), self.x.itemsize * self.x.shape[1] + self.pixels.shape[1])
            order = by_length(pending, self._read) if self.manner.sorted else pending
            with (
                Prefetcher(self._prepared, order, workers=workers, window=self.manner.window) as ahead,
                progress.step("Extracting features", len(pending), self.dataset.items) as step,
            ):
                for group in self._groups(ahead, step):
                    if opened is None:
                        sample = partial(_sample, [example for _, example in group], ahead)
                        opened = self._open(engine, cache, sample, progress)
                        self.commit = max(self.commit, opened.batch)
                        self.take_cached(opened.name)
                    self._compute(opened, group)

    def _open(self, engine: str, cache: Path, sample: Callable[[], Batch], progress: Progress) -> Engine:
        """Return the engine; where nothing is known of it yet, another process finds out, and holds torch."""
        if self.conversion is not None:
            self.conversion.wait_for_parity(sample(), say=progress.say)
        else:
            with start_conversion(self.source, engine=engine, cache=cache) as conversion:
                if conversion is not None:
                    conversion.wait_for_parity(sample(), say=progress.say)
        return open_engine(self.network, sample=sample, cache=cache, engine=engine, say=progress.say)

    def result(self) -> Extraction:
        """Return the rows of every usable position."""
        usable = np.ones(len(self.digests), dtype=bool)
        usable[list(self.reasons)] = False
        kept = np.flatnonzero(usable[self.rows])
        examples = self.dataset.examples
        return Extraction(
            x=_taken(self.x, self.rows[kept]),
            pixels=_taken(self.pixels, self.rows[kept]),
            blocks=self.network.blocks,
            kept=tuple(kept.tolist()),
            skipped=tuple(
                Skipped(examples[position].id, examples[position].label, self.reasons[int(self.rows[position])])
                for position in np.flatnonzero(~usable[self.rows])
            ),
            hits=len(kept) - self.misses,
            misses=self.misses,
            engine=self.engine,
            made_by=self.made_by,
            notes=tuple(self.store.notes),
            unknown=tuple(self.source.unknown(self._texts(kept)).most_common()),
        )

    def _texts(self, kept: NDArray[np.intp]) -> Iterator[str]:
        """Yield the texts at some positions, for a source that asks."""
        for position in kept.tolist():
            yield text_of(self.dataset.read(position))

    def _read(self, row: int) -> bytes:
        return self.dataset.read(int(self.first[row]))

    def _prepared(self, row: int) -> PreparedExample:
        data = self._read(row)
        if sha256(data) != self.digests[row]:
            raise BadExample("changed while it was read")
        return self.source.prepare(data)

    def _groups(self, ahead: Prefetcher, step: Step) -> Iterator[list[tuple[int, PreparedExample]]]:
        """Yield what is decoded in groups that are computed and committed together."""
        group: list[tuple[int, PreparedExample]] = []
        for row, said in ahead:
            if isinstance(said, BadExample):
                self.reasons[row] = said.reason
                step.advance()
                continue
            group.append((row, said))
            if len(group) >= self.commit:
                yield group
                step.advance(len(group))
                group = []
        if group:
            yield group
            step.advance(len(group))

    def _compute(self, engine: Engine, group: list[tuple[int, PreparedExample]]) -> None:
        group = [(row, example) for row, example in group if row in self.missing]
        if not group:
            return
        x = engine.run(stacked([example for _, example in group]))
        found = {
            self._key(row): StoredRow(features, self.manner.keep(example))
            for (row, example), features in zip(group, x, strict=True)
        }
        self.store.put_many(found, to_come=len(self.missing) - len(group))
        for (row, _), made in zip(group, found.values(), strict=True):
            self._set(row, made)
        self.misses += len(group)

    def _key(self, row: int) -> bytes:
        return row_key(self.digests[row], self.made_by)

    def _set(self, row: int, found: StoredRow) -> None:
        self.x[row], self.pixels[row] = found.x, found.pixels
        del self.missing[row]


def made_by(network: Network, engine: str, kind: Kind) -> str:
    """Return the fingerprint of what makes a row: the network, the engine, and the libraries whose version counts."""
    versions = library_versions(engine) | {name: version(name) for name in EXTRACTION_PROFILES[kind].libraries}
    return sha256_json({"network": network.fingerprint, "engine": engine, "versions": versions})


def _sample(first: list[PreparedExample], ahead: Prefetcher) -> Batch:
    """Return up to 64 decoded examples: those at hand, and those decoded behind them."""
    return stacked((first + ahead.peek(max(PHOTOS - len(first), 0)))[:PHOTOS])


def _taken(rows: NDArray[Number], at: NDArray[np.intp]) -> NDArray[Number]:
    """Return `rows[at]`; without a second copy of the memory where `at` ascends, which leaves `rows` shuffled."""
    if (np.diff(at) <= 0).any():
        return rows[at]
    if len(at) < len(rows):
        for start in range(0, len(at), KEYS_AT_ONCE):
            some = at[start : start + KEYS_AT_ONCE]
            rows[start : start + len(some)] = rows[some]
    return rows[: len(at)]
