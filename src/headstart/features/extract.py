"""Extraction: every example read once and run through the network once, whatever is asked of its features afterwards.

One pass reads an example, hashes its bytes, looks for its features in the store, and decodes it where they are not
there. Texts take two: the network runs them by length, so that the lengths of all of them come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from headstart.base.config import cores
from headstart.base.disk import process_lock
from headstart.base.errors import DataError
from headstart.base.hashing import sha256_json, sha256_json_rows
from headstart.base.interrupts import keeping
from headstart.base.progress import Progress
from headstart.data.audit import Scan
from headstart.data.dataset import Dataset
from headstart.engines.base import Engine
from headstart.engines.conversion_process import NetworkOrigin, engine_opener
from headstart.engines.select import Sample, cached_engine_name
from headstart.features.extraction_pass import ExtractionPass
from headstart.features.features import Extraction
from headstart.features.store import Store
from headstart.sources.base import Source
from headstart.sources.registry import open_source
from headstart.sources.speed import remember_speed

WAITING = "another process is extracting features of the same examples: waiting for it"
OPEN_SOURCE = f"{open_source.__module__}:{open_source.__name__}"
Elsewhere = Callable[[Dataset, Source, str, Sequence[str] | None, Progress], Extraction]
"""What `extract` does with a data set, a source, an engine, and hashes known before."""
_ELSEWHERE: ContextVar[Elsewhere | None] = ContextVar("elsewhere", default=None)


@contextmanager
def extracting_by(elsewhere: Elsewhere) -> Iterator[None]:
    """Let features that are to be kept be computed by `elsewhere`, and not by this process, while the block runs."""
    before = _ELSEWHERE.set(elsewhere)
    try:
        yield
    finally:
        _ELSEWHERE.reset(before)


def extract(
    dataset: Dataset,
    source: Source,
    *,
    cache: Path,
    engine: str | Engine = "auto",
    hashes: Sequence[str] | None = None,
    keep: bool = True,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Extraction:
    """Return the features of every example that can be used, computed once per content and kept in `cache`.

    Inside `extracting_by` they are computed and kept by others.

    Args:
        cache: folder of the store and of converted networks.
        engine: `auto`, `torch` or `openvino`, or an engine that is open already.
        hashes: sha256 of each example's bytes, where an earlier extraction read the very same examples: what the store
            holds is not read again, and an example that has changed since is skipped.
        keep: whether the store is used; without it every example is run, and nothing is written.
        workers: threads that read and decode; one per core by default.

    Raises:
        UsageError: the cache cannot be written, its disk is full, or the engine asked for cannot be used.
        SourceError: no feature is finite, so that the weights are at fault.
        DataError: those of some examples are not.
    """
    progress, elsewhere = progress or Progress(), _ELSEWHERE.get()
    if elsewhere is not None and keep and isinstance(engine, str):
        return elsewhere(dataset, source, engine, hashes, progress)
    if source.members:
        own = partial(extract, cache=cache, engine=engine, keep=keep, progress=progress, workers=workers)
        return side_by_side(dataset, source, hashes, own)
    network = source.network()
    with ExitStack() as stack:
        store = stack.enter_context(Store(cache)) if keep else None
        if isinstance(engine, str):
            origin = None if source.opened is None else NetworkOrigin(OPEN_SOURCE, dict(source.opened))
            opener = engine_opener(network, origin, engine=engine, cache=cache, progress=progress)
            open_engine, name = stack.enter_context(opener), cached_engine_name(network, engine=engine, cache=cache)
        else:
            open_engine, name = partial(_already_open, engine), engine.name

        def take_lock(digests: Sequence[str]) -> None:
            ids = sha256_json_rows(example.id for example in dataset.examples)
            path = cache / "locks" / sha256_json([network.fingerprint, ids, digests])
            stack.enter_context(process_lock(path, on_wait=lambda: progress.say(WAITING)))

        work = ExtractionPass(dataset, source, store=store, take_lock=take_lock, open_engine=open_engine)
        if hashes is not None:
            work.digests = list(hashes)
        if name is not None:
            work.use_rows_of(name)
        with keeping(
            lambda: f"{len(work.from_store) + work.misses:,} of {len(dataset):,} features are kept" if keep else ""
        ):
            work.run(progress, workers or cores())
        if keep:
            remember_speed(source.info, examples=work.misses, seconds=work.seconds)
        return work.result()


def side_by_side(
    dataset: Dataset, source: Source, hashes: Sequence[str] | None, extracted: Callable[..., Extraction]
) -> Extraction:
    """Return the features of every member, of the examples that all of them can use."""
    first = last = extracted(dataset, source.members[0], hashes=hashes)
    parts = [first]
    for member in source.members[1:]:
        last = extracted(last.scan.dataset, member, hashes=last.scan.hashes)
        parts.append(last)
    if len(last.scan.dataset) < len(first.scan.dataset):  # one cannot use what the first can: all begin once more
        fewer = side_by_side(last.scan.dataset, source, last.scan.hashes, extracted)
        place = {example.id: position for position, example in enumerate(dataset.examples)}
        return replace(fewer, positions=tuple(place[example.id] for example in fewer.scan.dataset.examples))
    unknown = [dict(part.unknown) for part in parts]
    misses = max(part.misses for part in parts)
    return replace(
        first,
        x=np.hstack([part.x for part in parts]),
        blocks=tuple(tap.block for tap in source.taps),
        hits=len(first.row_of) - misses,
        misses=misses,
        engine=" and ".join(dict.fromkeys(part.engine for part in parts)),
        made_by=sha256_json([part.made_by for part in parts]),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        unknown=tuple(pair for pair in first.unknown if all(pair[0] in each for each in unknown)),
    )


def extract_again(
    scan: Scan,
    positions: Sequence[int],
    source: Source,
    *,
    cache: Path,
    engine: str = "auto",
    keep: bool = True,
    progress: Progress | None = None,
) -> Extraction:
    """Return features of some examples of a data set read before, by another source; DataError if one has changed."""
    extraction = extract(
        scan.dataset.keep(list(positions)),
        source,
        cache=cache,
        engine=engine,
        hashes=[scan.hashes[position] for position in positions],
        keep=keep,
        progress=progress,
    )
    if lost := extraction.scan.dataset.skipped[len(scan.dataset.skipped) :]:
        raise DataError(f"{lost[0].id} must be readable again", lost[0].reason, "run the same command again")
    return extraction


def _already_open(engine: Engine, sample: Sample) -> Engine:
    return engine
