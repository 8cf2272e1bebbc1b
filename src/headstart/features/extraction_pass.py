"""One pass over a data set: each example is read once, hashed, looked for in the store, decoded and run.

Texts take two: the network runs them by length, so that the lengths of all of them come first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain, islice
from sys import intern
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import DataError, SourceError, list_some
from headstart.base.hashing import sha256, sha256_json
from headstart.base.mapped import rows_array
from headstart.base.prefetch import MOST_AHEAD, Prefetcher, bytes_of
from headstart.base.progress import Progress, Step
from headstart.data.audit import Examined, remarks_on, summarize
from headstart.data.dataset import BadExample, Dataset
from headstart.data.modality import Kind
from headstart.data.text import text_of
from headstart.engines.base import Batch, Engine, Network, PreparedExample, sample_of, stacked
from headstart.engines.select import PARITY_SAMPLE, Sample, library_versions
from headstart.features.features import Extraction
from headstart.features.modality import EXTRACTION_PROFILES, order_by_length
from headstart.features.store import KEYS_AT_ONCE, Store, StoredRow, row_key
from headstart.sources.base import Source

Number = TypeVar("Number", np.float32, np.uint8)
ROWS = 4_096  # whose features are looked at together
CHUNK = 8  # examples that a thread examines in a row: a task costs as much as a small photo
BYTES_COMMITTED = MOST_AHEAD // 4  # of decoded examples: so many are run without waiting for more
CHANGED = "changed while it was read"
BYTES_AT_ONCE = 1 << 24  # that a thread holds of them before it decodes or drops them


@dataclass(slots=True)
class _Example:
    """One example on its way through the pass."""

    position: int  # in the data set
    digest: str = ""  # sha256 of its bytes; empty where they could not be read
    remarks: tuple[str, ...] = ()  # what is odd about it
    size: int = 0  # bytes; 0 where they were not read
    row: StoredRow | None = None  # what the store holds of it
    made_by: str = ""  # what made that row; see `Extraction`
    prepared: PreparedExample | None = None  # the example, decoded for the network; None where it need not run
    summary: NDArray[np.uint8] | None = None  # what is kept of it beside its features
    reason: str = ""  # why it cannot be used; empty where it can

    @property
    def nbytes(self) -> int:
        """How much the decoded example holds."""
        return bytes_of(self.prepared)


class ExtractionPass:
    """One extraction under way: each distinct content has its row where it first stands in the data set.

    `take_lock` takes the first digests and waits for other processes that extract the same.
    """

    def __init__(
        self,
        dataset: Dataset,
        source: Source,
        *,
        store: Store | None,
        take_lock: Callable[[Sequence[str]], None],
        open_engine: Callable[[Sample], Engine],
    ) -> None:
        self.dataset, self.source, self.network, self.store = dataset, source, source.network(), store
        self.take_lock, self.open_engine = take_lock, open_engine
        self.profile = EXTRACTION_PROFILES[dataset.kind]
        self.digests = [""] * len(dataset)
        self.remarks: dict[int, tuple[str, ...]] = {}
        self.unreadable: dict[int, str] = {}
        self.unusable: dict[str, str] = {}
        self.first: dict[str, int] = {}
        self.x = rows_array((len(dataset), sum(block.width for block in self.network.blocks)), np.float32)
        self.summaries = rows_array((len(dataset), self.profile.summary.row_bytes), np.uint8)
        self.engine: Engine | None = None
        self.engine_name, self.made_by = "none", ""
        self.from_store: list[int] = []
        self.again: list[int] = []
        self.commit = self.profile.commit
        self.to_come = 0
        self.locked = False
        self.misses, self.seconds = 0, 0.0  # of the examples that were run, and what running them took

    def use_rows_of(self, engine: str) -> None:
        """Take rows of this engine from the store; examples whose row is another engine's must be run again."""
        if engine != self.engine_name:
            self.again += self.from_store
            self.from_store = []
            self.engine_name, self.made_by = engine, made_by(self.network, engine, self.dataset.kind)

    def run(self, progress: Progress, workers: int) -> None:
        """Fill the rows of every example that can be used."""
        positions: Sequence[int] = range(len(self.dataset))
        name = "Reading and extracting features"
        if self.profile.by_length:
            with (
                self._examined(positions, workers, decode=False) as ahead,
                progress.step("Reading", len(positions), self.dataset.items) as step,
            ):
                unknown = list(chain.from_iterable(self._accepted(chunk, step) for chunk in ahead))
            order = order_by_length(np.array([example.size for example in unknown], dtype=np.int64))
            positions, name = [unknown[row].position for row in order], "Extracting features"
        while positions:
            self.again = []
            with (
                self._examined(positions, workers) as ahead,
                progress.step(name, len(positions), self.dataset.items) as step,
            ):
                self._run_new(ahead, step)
            positions = self.again

    def _examined(
        self, positions: Sequence[int], workers: int, *, decode: bool = True
    ) -> Prefetcher[Sequence[int], list[_Example]]:
        """Return what other threads examine ahead, in chunks, in the order of `positions`."""
        self.to_come = len(positions)
        size = self.profile.chunk
        chunks = [positions[start : start + size] for start in range(0, len(positions), size)]
        window = max(self.profile.window // size, 4 * workers)  # enough to do while a batch is run
        return Prefetcher(partial(self._examine, decode=decode), chunks, workers=workers, window=window)

    def _examine(self, positions: Sequence[int], *, decode: bool) -> list[_Example]:
        """Read examples, unless their digest and their row are known, and decode those that have no row.

        The store is asked once for all that fit into `BYTES_AT_ONCE`: a query costs as much as hashing a photo.
        """
        examples: list[_Example] = []
        group: list[tuple[_Example, bytes | None]] = []
        size = 0
        for position in positions:
            example, data = self._read(position)
            examples.append(example)
            group.append((example, data))
            size += example.size
            if size > BYTES_AT_ONCE or position == positions[-1]:
                self._look_up(group, decode=decode)
                group, size = [], 0
        return examples

    def _read(self, position: int) -> tuple[_Example, bytes | None]:
        """Return an example and its bytes; None where its digest is known, or where it cannot be read."""
        example, data = _Example(position, self.digests[position]), None
        if not example.digest:
            try:
                data = self.dataset.read(position)
                example.remarks, example.digest = remarks_on(self.dataset, position, data), sha256(data)
                example.size = len(data)
            except BadExample as error:
                example.reason = error.reason
        return example, data

    def _look_up(self, group: Sequence[tuple[_Example, bytes | None]], *, decode: bool) -> None:
        """Take the rows of examples from the store, and decode those that have none."""
        new = [(example, data) for example, data in group if not example.reason and self._is_first(example)]
        made_by = self.made_by
        rows = self._stored([example.digest for example, _ in new], made_by)
        for example, read in new:
            example.made_by, example.row = made_by, rows.get(example.digest)
            if example.row is not None:
                continue
            try:
                data = self._unchanged(example) if read is None else read
                example.size = len(data)
                if decode:
                    example.prepared = self.source.prepare(data)
                    example.summary = self.profile.summary.pack(example.prepared)
            except BadExample as error:
                example.reason = error.reason

    def _is_first(self, example: _Example) -> bool:
        """Return whether no example of the same content is known to stand before it."""
        return self.first.get(example.digest, example.position) == example.position

    def _unchanged(self, example: _Example) -> bytes:
        data = self.dataset.read(example.position)
        if sha256(data) != example.digest:
            raise BadExample(CHANGED)
        return data

    def _accepted(self, chunk: Sequence[_Example], step: Step) -> list[_Example]:
        """Note what is known of examples, and return those that must run."""
        new = [example for example in chunk if self._is_new(example)]
        self.to_come -= len(chunk)
        step.advance(len(chunk) - len(new))
        return new

    def _is_new(self, example: _Example) -> bool:
        position, digest = example.position, example.digest
        if not digest:
            self.unreadable[position] = example.reason
            return False
        self.digests[position] = intern(digest)  # once for all copies
        if example.remarks:
            self.remarks[position] = example.remarks
        if self.first.setdefault(digest, position) != position:
            return False
        if example.reason:
            self.unusable[digest] = example.reason
        elif example.row is not None and example.made_by == self.made_by:
            self.from_store.append(position)
            self._set(position, example.row)
        elif example.row is not None:
            self.again.append(position)
        return not example.reason and example.row is None

    def _run_new(self, ahead: Prefetcher[Sequence[int], list[_Example]], step: Step) -> None:
        """Run what must run in groups that are committed together."""
        waiting: list[_Example] = []

        def sample() -> Batch:
            decoded = chain(waiting, chain.from_iterable(ahead.peek()))
            prepared = (example.prepared for example in decoded if example.prepared is not None)
            return sample_of(stacked(list(islice(prepared, PARITY_SAMPLE))), PARITY_SAMPLE)

        for chunk in ahead:
            waiting += self._accepted(chunk, step)
            while len(waiting) >= self.commit or bytes_of(waiting) >= BYTES_COMMITTED:
                group = waiting[: self.commit]
                self._compute(group, sample)
                step.advance(len(group))
                del waiting[: len(group)]
        if waiting:
            self._compute(waiting, sample)
            step.advance(len(waiting))

    def _compute(self, group: Sequence[_Example], sample: Sample) -> None:
        """Run a group, unless the store has come to hold it, and commit its rows."""
        self._begin(len(group))
        group = self._without_stored(group)
        if group and self.engine is None:
            self.engine = self.open_engine(sample)
            self.commit = max(self.commit, self.engine.batch)
            self.use_rows_of(self.engine.name)
            group = self._without_stored(group)
        if not group or self.engine is None:
            return
        prepared = [example.prepared for example in group if example.prepared is not None]
        start = time.perf_counter()
        features = self.engine.run(stacked(prepared))
        self.seconds += time.perf_counter() - start
        summaries = [example.summary for example in group if example.summary is not None]
        rows = [StoredRow(x, summary) for x, summary in zip(features, summaries, strict=True)]
        if self.store is not None:
            keys = [row_key(example.digest, self.made_by) for example in group]
            self.store.put_many(dict(zip(keys, rows, strict=True)), to_come=self.to_come)
        for example, row in zip(group, rows, strict=True):
            self._set(example.position, row)
        self.misses += len(group)

    def _begin(self, count: int) -> None:
        """Before anything is run: wait for others who do the same, and prove that the disk has room for the rows."""
        if self.store is None or self.locked:
            return
        self.take_lock(self.digests[:CHUNK])
        self.locked = True
        fewest = self.to_come if self.profile.by_length else max(0, self.to_come - self.store.most_rows())
        self.store.check_room(count + fewest, self.x.itemsize * self.x.shape[1] + self.summaries.shape[1])

    def _without_stored(self, group: Sequence[_Example]) -> Sequence[_Example]:
        """Return the examples that the store does not hold, and take the rows of the others."""
        rows = self._stored([example.digest for example in group], self.made_by)
        for example in group:
            if example.digest in rows:
                self.from_store.append(example.position)
                self._set(example.position, rows[example.digest])
        return [example for example in group if example.digest not in rows]

    def _stored(self, digests: Sequence[str], made_by: str) -> dict[str, StoredRow]:
        """Return the rows that the store holds of some contents, by digest."""
        if self.store is None or not made_by:
            return {}
        keys = {row_key(digest, made_by): digest for digest in digests}
        return {
            keys[key]: row
            for key, row in self.store.get_many(list(keys)).items()
            if len(row.x) == self.x.shape[1] and len(row.summary) == self.summaries.shape[1]
        }

    def _set(self, position: int, row: StoredRow) -> None:
        self.x[position], self.summaries[position] = row.x, row.summary

    def result(self) -> Extraction:
        """Return the rows of every example that can be used.

        Raises:
            SourceError: no feature is finite, so that the weights are at fault.
            DataError: those of some examples are not.
        """
        reasons = [
            self.unreadable.get(position, self.unusable.get(digest, "")) for position, digest in enumerate(self.digests)
        ]
        examined = [
            Examined(digest, self.remarks.get(position, ()), reasons[position])
            for position, digest in enumerate(self.digests)
        ]
        positions = [position for position, reason in enumerate(reasons) if not reason]
        texts = (text_of(self.dataset.read(position)) for position in positions)
        firsts = np.array([self.first[self.digests[position]] for position in positions], dtype=np.intp)
        distinct, row_of = np.unique(firsts, return_inverse=True)
        extraction = Extraction(
            scan=summarize(self.dataset, examined),
            positions=tuple(positions),
            x=_taken(self.x, distinct),
            row_of=row_of,
            summary=self.profile.summary.unpack(_taken(self.summaries, distinct)),
            blocks=self.network.blocks,
            hits=len(positions) - self.misses,
            misses=self.misses,
            engine=self.engine_name,
            made_by=self.made_by,
            notes=self.store.notes if self.store is not None else (),
            unknown=tuple(self.source.unknown(texts).most_common()),
        )
        return _finite(extraction, self.source)


def made_by(network: Network, engine: str, kind: Kind) -> str:
    """Return the fingerprint of what makes a row: the network, the engine, and the libraries whose version counts."""
    profile = EXTRACTION_PROFILES[kind]
    versions = library_versions(engine) | {name: version(name) for name in profile.libraries}
    if profile.revision:
        versions["summary"] = str(profile.revision)
    return sha256_json({"network": network.fingerprint, "engine": engine, "versions": versions})


def _taken(rows: NDArray[Number], positions: NDArray[np.intp]) -> NDArray[Number]:
    """Return `rows[positions]` of ascending positions without a second copy of the memory: `rows` is left shuffled."""
    if len(positions) < len(rows):
        for start in range(0, len(positions), KEYS_AT_ONCE):
            some = positions[start : start + KEYS_AT_ONCE]
            rows[start : start + len(some)] = rows[some]
    return rows[: len(positions)]


def _finite(extraction: Extraction, source: Source) -> Extraction:
    """Return the extraction; raises SourceError or DataError where features are NaN or infinite, and says whose."""
    x = extraction.x
    broken = np.zeros(len(x), np.bool_)
    for start in range(0, len(x), ROWS):
        broken[start : start + ROWS] = ~np.isfinite(x[start : start + ROWS]).all(axis=1)
    if not broken.any():
        return extraction
    uri, wrong = source.info.uri, "NaN or infinity"
    if broken.all():
        tuned = source.base is not None
        raise SourceError(
            f"{'the tuned weights of ' if tuned else ''}{uri} must give finite features",
            f"{wrong} for every example, as weights that are too large do",
            "fit the model again, or fetch its bundle again" if tuned else "get its weights again, or name another",
        )
    examples = extraction.scan.dataset.examples
    names = [examples[position].id for position in np.flatnonzero(broken[extraction.row_of]).tolist()]
    raise DataError(f"{uri} must give finite features", f"{wrong} for {list_some(names)}", "leave these out")
