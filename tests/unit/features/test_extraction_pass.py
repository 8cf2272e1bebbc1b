"""One pass over a data set: what runs, in what order, in what groups, and what another process may do meanwhile."""

from __future__ import annotations

import io
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from recordings import recording

from headstart.base.hashing import sha256
from headstart.base.prefetch import MOST_AHEAD
from headstart.base.progress import Progress
from headstart.data.audio.spectrogram import Windows
from headstart.data.dataset import BadExample, Dataset, Example
from headstart.data.text import Tokens
from headstart.engines.base import Block, Network
from headstart.features.extraction_pass import BYTES_COMMITTED, ExtractionPass, made_by
from headstart.features.features import Extraction
from headstart.features.modality import SoundSummary
from headstart.features.store import Store, StoredRow, row_key
from headstart.testing import ToySource

WIDTH = sum(block.width for block in ToySource().network().blocks)


class Sums:
    """An engine whose features are the mean of a picture or the number of tokens of a text; it notes its groups."""

    def __init__(self, width: int = WIDTH, name: str = "torch-f32", batch: int = 1) -> None:
        self.width, self.name, self.batch = width, name, batch
        self.groups: list[list[float]] = []
        self.ran: list[float] = []

    def run(self, batch: Any) -> Any:
        values = [float(one.total if isinstance(one, Tokens) else one.mean()) for one in batch]
        self.groups.append(values)
        self.ran += values
        return np.repeat(np.array(values, np.float32)[:, None], self.width, axis=1)


class WordCounts:
    """A source of texts whose tokens are words; it knows no word in capitals."""

    def network(self) -> Network:
        return Network("ab" * 32, (), (Block("pool", 2),), module=lambda: pytest.fail("no module is asked for"))

    def prepare(self, data: bytes) -> Tokens:
        words = data.decode().split()
        if not words:
            raise BadExample("empty")
        return Tokens((np.arange(len(words), dtype=np.int32),), len(words), len(words))

    def unknown(self, texts: Any) -> Any:
        return Counter(word for text in texts for word in text.split() if word.isupper())


def grey(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def dataset(files: Sequence[bytes], kind: Any = "image") -> Dataset:
    return Dataset("toy", kind, tuple(Example(f"{at}", "a") for at in range(len(files))), ("a",), lambda at: files[at])


def passed(
    files: Sequence[bytes],
    engine: Sums,
    *,
    store: Store | None = None,
    kind: Any = "image",
    known: str | None = None,
    read: Any = None,
    take_lock: Any = lambda digests: None,
) -> Extraction:
    data = dataset(files, kind)
    source: Any = WordCounts() if kind == "text" else ToySource()
    data = data if read is None else replace(data, read=read)
    work = ExtractionPass(data, source, store=store, take_lock=take_lock, open_engine=lambda sample: engine)
    if known is not None:
        work.use_rows_of(known)
    work.run(Progress(), workers=2)
    return work.result()


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "store") as opened:
        yield opened


def test_rows_stand_in_the_order_of_first_contents_and_copies_share_one() -> None:
    engine = Sums()
    found = passed([grey(level) for level in (50, 10, 50, 90, 10)], engine)
    assert found.x[:, 0].tolist() == [50, 10, 90] and found.row_of.tolist() == [0, 1, 0, 2, 1]
    assert found.x_of_all[:, -1].tolist() == [50, 10, 50, 90, 10]
    assert (found.hits, found.misses) == (2, 3) and sorted(engine.ran) == [10, 50, 90]
    assert found.scan.duplicates == 2


def test_groups_are_as_large_as_the_engine_likes_and_the_last_is_what_is_left() -> None:
    engine = Sums(batch=40)
    passed([grey(level) for level in range(100)], engine)
    assert [len(group) for group in engine.groups] == [32, 40, 28]  # the first is that of the profile: no engine yet
    assert engine.ran == list(range(100))


def test_long_recordings_are_run_as_soon_as_they_fill_what_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decoded ahead and not yet run stays below a bound however many recordings there are."""
    decoded, most = list[weakref.ref[Windows]](), 0

    def prepare(self: ToySource, data: bytes) -> Windows:
        nonlocal most
        shown = Windows(np.empty((1, 2**12, 2**13), np.uint8), 1)  # 32 MiB that are never touched
        decoded.append(weakref.ref(shown))
        most = max(most, sum(each() is not None for each in decoded) * shown.nbytes)
        return shown

    class Counting(Sums):
        def run(self, batch: Any) -> Any:
            self.groups.append([0.0] * len(batch))
            return np.zeros((len(batch), self.width), np.float32)

    monkeypatch.setattr(ToySource, "prepare", prepare)
    monkeypatch.setattr(SoundSummary, "pack", lambda prepared: np.zeros(SoundSummary.row_bytes, np.uint8))
    engine = Counting()
    sounds = [recording(np.full(800, (level + 1) / 100)) for level in range(60)]
    assert len(passed(sounds, engine, kind="sound").x) == 60
    assert {len(group) << 25 for group in engine.groups} == {BYTES_COMMITTED}
    assert MOST_AHEAD <= most <= 320 << 20


def test_broken_examples_leave_the_others_in_their_places() -> None:
    files = [grey(10), b"no picture", grey(30), b"no picture", grey(10)[:60]]
    found = passed(files, Sums())
    assert found.positions == (0, 2) and found.x[:, 0].tolist() == [10, 30]
    assert [one.id for one in found.scan.dataset.skipped] == ["1", "3", "4"]
    assert all(one.reason for one in found.scan.dataset.skipped) and found.misses == 2


def test_an_example_that_cannot_be_read_keeps_its_own_reason() -> None:
    files = [grey(10), grey(20)]

    def read(position: int) -> bytes:
        if position == 1:
            raise BadExample("vanished")
        return files[position]

    found = passed(files, Sums(), read=read)
    assert [(one.id, one.reason) for one in found.scan.dataset.skipped] == [("1", "vanished")]


def test_nothing_is_opened_where_nothing_can_be_used() -> None:
    engine = Sums()
    found = passed([b"x", b"y"], engine)
    assert (found.engine, found.positions, len(found.x), engine.groups) == ("none", (), 0, [])


def test_a_second_pass_runs_only_what_is_new(store: Store) -> None:
    first, second = Sums(), Sums()
    passed([grey(10), grey(20)], first, store=store)
    found = passed([grey(20), grey(30), grey(10)], second, store=store, known="torch-f32")
    assert second.groups == [[30]] and (found.hits, found.misses) == (2, 1)
    assert found.x_of_all[:, 0].tolist() == [20, 30, 10]


def test_rows_of_the_planned_engine_are_run_again_where_another_one_opens(store: Store) -> None:
    passed([grey(10), grey(20)], Sums(), store=store)
    other = Sums(name="openvino-bf16")
    found = passed([grey(10), grey(20), grey(30)], other, store=store, known="torch-f32")
    assert sorted(other.ran) == [10, 20, 30] and found.engine == "openvino-bf16"
    assert (found.hits, found.misses) == (0, 3)


def test_rows_of_another_width_are_never_taken(store: Store) -> None:
    digest = sha256(grey(10))
    key = row_key(digest, made_by(ToySource().network(), "torch-f32", "image"))
    store.put_many({key: StoredRow(np.full(3, 7, np.float32), np.zeros(1792, np.uint8))}, to_come=0)
    engine = Sums()
    assert passed([grey(10)], engine, store=store, known="torch-f32").x[0, 0] == 10 and engine.groups == [[10]]


def test_what_another_process_stored_while_the_lock_was_awaited_is_taken(store: Store) -> None:
    engine, files = Sums(), [grey(10), grey(20)]
    waited: list[Sequence[str]] = []

    def take_lock(digests: Sequence[str]) -> None:
        waited.append(list(digests))
        passed(files[:1], Sums(), store=store)

    found = passed(files, engine, store=store, take_lock=take_lock)
    assert engine.groups == [[20]] and (found.hits, found.misses) == (1, 1)
    assert waited == [[sha256(files[0]), sha256(files[1])]], "the lock is taken once, by the first contents"


def test_no_lock_is_taken_where_everything_is_known_or_nothing_is_kept(store: Store) -> None:
    passed([grey(10)], Sums(), store=store)

    def take_lock(digests: Sequence[str]) -> None:
        raise AssertionError("nothing is to be computed")

    assert passed([grey(10)], Sums(), store=store, known="torch-f32", take_lock=take_lock).misses == 0
    assert passed([grey(10)], Sums(), take_lock=take_lock).misses == 1


def test_texts_are_read_whole_first_and_run_longest_first_each_in_its_place() -> None:
    texts = [b"a b", b"", b"a b c d", b"A", b"a b c", b"A"]
    engine = Sums(width=2)
    found = passed(texts, engine, kind="text")
    assert engine.groups == [[4, 3, 2, 1]]
    assert found.x_of_all[:, 0].tolist() == [2, 4, 1, 3, 1] and found.positions == (0, 2, 3, 4, 5)
    assert found.unknown == (("A", 2),) and found.summary.tokens_given.tolist() == [2, 4, 1, 3]  # type: ignore[union-attr]


def test_a_text_that_changes_between_its_two_readings_is_skipped() -> None:
    reads: dict[int, int] = {}

    def read(position: int) -> bytes:
        reads[position] = reads.get(position, 0) + 1
        return b"changed" if position == 0 and reads[position] > 1 else b"as it was %d" % position

    found = passed([b"", b""], Sums(width=2), kind="text", read=read)
    assert [(one.id, one.reason) for one in found.scan.dataset.skipped] == [("0", "changed while it was read")]
    assert found.positions == (1,)


def test_the_fingerprint_of_a_row_names_network_engine_and_kind() -> None:
    network, other = ToySource(0).network(), ToySource(1).network()
    prints = [
        made_by(one, engine, kind)  # type: ignore[arg-type]
        for one in (network, other)
        for engine in ("torch-f32", "openvino-bf16")
        for kind in ("image", "sound")
    ]
    assert len(set(prints)) == len(prints) and made_by(network, "torch-f32", "image") == prints[0]
