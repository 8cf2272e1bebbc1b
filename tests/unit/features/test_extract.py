"""Extraction: every content once, whatever happens in between."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.base.errors import DataError, SourceError, UsageError
from headstart.base.hashing import sha256
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.dataset import BadExample, Dataset, Example
from headstart.data.images.preprocessing import small_pixels
from headstart.data.readers.open import open_dataset
from headstart.data.text import Tokens
from headstart.engines.base import LookupEngine
from headstart.engines.select import PARITY_SAMPLE
from headstart.features import extract as extraction
from headstart.features.extract import extract, extract_again
from headstart.features.features import Extraction
from headstart.features.modality import EXTRACTION_PROFILES, ImageSummary, TextSummary
from headstart.features.store import FILE
from headstart.sources.base import Source
from headstart.sources.registry import open_source
from headstart.testing import ToySource, toy_photos

Extracted = Callable[..., Extraction]


@dataclass
class Counted:
    """An engine whose features are sums over each photo; says how many photos it has run."""

    name: str = "torch-f32"
    batch: int = 4
    runs: list[int] = field(default_factory=list)

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.runs.append(len(batch))
        sums = batch.reshape(len(batch), -1).astype(np.float64).cumsum(axis=1)[:, 100:236]
        return (sums / 1000).astype(np.float32)

    @property
    def photos(self) -> int:
        return sum(self.runs)


@pytest.fixture
def engine() -> Counted:
    """Return an engine that counts, as wide as the toy network."""
    counted = Counted()
    width = sum(block.width for block in ToySource().network().blocks)
    assert counted.run(np.zeros((1, 32, 32, 3), np.uint8))[:, :width].shape == (1, width)
    counted.runs.clear()
    run = counted.run
    counted.run = lambda batch: run(batch)[:, :width]  # type: ignore[method-assign]
    return counted


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 photos of 3 classes."""
    return toy_photos(tmp_path_factory.mktemp("photos") / "toys", ("ant", "bee", "cow"), per_class=20)


def hashes_of(dataset: Dataset) -> list[str]:
    return [sha256(dataset.read(position)) for position in range(len(dataset))]


@pytest.fixture
def extracted(cache: Path, engine: Counted) -> Callable[..., Extraction]:
    """Return a function that extracts the toy features of a folder or a data set into the cache."""

    def run(data: Path | Dataset, source: Source | None = None, **named: Any) -> Extraction:
        dataset = data if isinstance(data, Dataset) else open_dataset(data)
        return extract(dataset, source or ToySource(), **{"cache": cache, "engine": engine, **named})

    return run


def in_memory(files: list[bytes]) -> Dataset:
    """Return a data set of files that are in memory, read from the list at the time of reading."""
    examples = tuple(Example(f"{position}.png", "one") for position in range(len(files)))
    return Dataset("memory", "image", examples, ("one",), lambda position: files[position])


def test_rows_pixels_and_blocks_are_those_of_the_photos(photos: Path, extracted: Extracted, engine: Counted) -> None:
    dataset, source = open_dataset(photos), ToySource()
    found = extracted(dataset)
    prepared = np.stack([source.prepare(dataset.read(position)) for position in range(60)])
    np.testing.assert_array_equal(found.x, engine.run(prepared))
    assert isinstance(found.summary, ImageSummary)
    np.testing.assert_array_equal(
        found.summary.baseline_inputs, np.stack([small_pixels(picture) for picture in prepared])
    )
    assert found.x.dtype == np.float32
    assert found.summary.baseline_inputs.dtype == np.uint8
    assert found.positions == tuple(range(60))
    assert found.scan == scan(dataset, progress=Progress())
    assert found.blocks == source.network().blocks
    assert (found.hits, found.misses, found.notes) == (0, 60, ())
    assert found.engine == engine.name
    assert len(found.made_by) == 64


def test_tuned_weights_that_are_finite_and_too_large_are_named(photos: Path, cache: Path) -> None:
    weights = ToySource().module().state_dict()
    source = ToySource().with_weights({name: 0 * value + 3e38 for name, value in weights.items()})
    with pytest.raises(SourceError, match="tuned weights of toy:convnet@0 must give finite features"):
        extract(open_dataset(photos), source, cache=cache, engine="torch")


def test_examples_whose_features_are_not_finite_are_named(photos: Path, extracted: Extracted, engine: Counted) -> None:
    run, dataset = engine.run, open_dataset(photos)

    def one_is_odd(batch: np.ndarray) -> np.ndarray:
        x = run(batch)
        if len(engine.runs) == 1:
            x[0, 3] = np.nan
        return x

    engine.run = one_is_odd  # type: ignore[method-assign]
    with pytest.raises(DataError, match="finite features; found NaN or infinity for ant/"):
        extracted(dataset)


class Undecoding(ToySource):
    """The toy source; it must not be asked to decode anything."""

    def prepare(self, data: bytes) -> np.ndarray:
        pytest.fail("decoded again")


def counting_reads(dataset: Dataset) -> tuple[Dataset, Counter[int]]:
    """Return the data set, and how often each position of it is read from now on."""
    reads: Counter[int] = Counter()

    def read(position: int) -> bytes:
        reads[position] += 1
        return dataset.read(position)

    return dataclasses.replace(dataset, read=read), reads


def test_each_photo_is_read_once_cold_and_warm(photos: Path, extracted: Extracted, engine: Counted) -> None:
    for source in (ToySource(), Undecoding()):
        dataset, reads = counting_reads(open_dataset(photos))
        extracted(dataset, source)
        assert reads == dict.fromkeys(range(60), 1)
    assert engine.photos == 60


def test_the_second_time_nothing_is_run_and_what_is_known_is_not_even_read(
    photos: Path, extracted: Extracted, engine: Counted
) -> None:
    first = extracted(photos)
    dataset = dataclasses.replace(open_dataset(photos), read=lambda position: pytest.fail("read again"))
    again = extracted(dataset, hashes=hashes_of(open_dataset(photos)))
    assert engine.photos == 60
    assert (again.hits, again.misses) == (60, 0)
    np.testing.assert_array_equal(again.x, first.x)
    np.testing.assert_array_equal(again.summary.baseline_inputs, first.summary.baseline_inputs)
    assert again.made_by == first.made_by


def test_an_edited_an_added_and_a_removed_photo_cost_only_themselves(
    photos: Path, extracted: Extracted, engine: Counted, tmp_path: Path
) -> None:
    data = shutil.copytree(photos, tmp_path / "data")
    extracted(data)
    engine.runs.clear()
    shutil.copy(data / "ant" / "0001.png", data / "ant" / "9999.png")
    with (data / "ant" / "9999.png").open("ab") as file:
        file.write(b"more")  # after the picture's end: other bytes, the same pixels
    (data / "bee" / "0002.jpg").unlink()
    toy_photos(tmp_path / "other", ("x",), per_class=1, seed=9)
    shutil.copy(tmp_path / "other" / "x" / "0000.jpg", data / "cow" / "0004.jpg")
    found = extracted(data)
    assert engine.photos == found.misses == 2
    assert found.hits == 58


def test_a_file_changed_with_its_name_size_and_time_kept_is_computed_again__IMG_26(
    extracted: Extracted, engine: Counted, tmp_path: Path
) -> None:
    data = toy_photos(tmp_path / "data", ("ant", "bee"), per_class=4)
    first = extracted(data)
    path = data / "bee" / "0003.png"
    before = path.stat()
    other = toy_photos(tmp_path / "other", ("ant", "bee"), per_class=4, seed=1) / "bee" / "0003.png"
    replaced = other.read_bytes()
    if len(replaced) < before.st_size:
        replaced += bytes(before.st_size - len(replaced))
    else:
        path.write_bytes(path.read_bytes() + bytes(len(replaced) - before.st_size))
        extracted(data)
        before = path.stat()
    path.write_bytes(replaced)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    engine.runs.clear()
    found = extracted(data)
    assert engine.photos == 1
    assert (found.x[7] != first.x[7]).any()
    np.testing.assert_array_equal(found.x[:7], first.x[:7])


def test_a_file_that_changed_since_it_was_hashed_is_skipped(photos: Path, extracted: Extracted) -> None:
    files = [path.read_bytes() for path in sorted(photos.rglob("*.png"))[:4]]
    dataset = in_memory(files)
    hashes = hashes_of(dataset)
    files[2] = files[0]
    found = extracted(dataset, hashes=hashes, engine="torch")
    assert found.positions == (0, 1, 3)
    skipped = found.scan.dataset.skipped
    assert [(skip.id, skip.reason) for skip in skipped] == [("2.png", "changed while it was read")]


def test_what_was_read_before_is_extracted_again_or_named(photos: Path, cache: Path, engine: Counted) -> None:
    files = [path.read_bytes() for path in sorted(photos.rglob("*.png"))[:6]]
    first = extract(in_memory(files), ToySource(), cache=cache, engine="torch")
    again = extract_again(first.scan, [4, 1], ToySource(seed=1), cache=cache, engine="torch")
    assert [example.id for example in again.scan.dataset.examples] == ["4.png", "1.png"]
    assert again.misses == 2
    assert (again.x != first.x[[4, 1]]).any()
    same = extract_again(first.scan, [4, 1], ToySource(), cache=cache, engine="torch")
    assert (same.hits, same.x.tobytes()) == (2, first.x[[4, 1]].tobytes())
    files[1] = files[0]
    with pytest.raises(DataError, match=r"1\.png must be readable again; found changed while it was read"):
        extract_again(first.scan, [4, 1], ToySource(seed=2), cache=cache, engine="torch")


def test_without_a_store_everything_is_run_and_nothing_is_written(
    photos: Path, extracted: Extracted, engine: Counted, cache: Path
) -> None:
    first = extracted(photos, keep=False)
    again = extracted(photos, keep=False)
    assert engine.photos == 120
    assert first.x.tobytes() == again.x.tobytes() == extracted(photos).x.tobytes()
    assert again.misses == 60
    assert engine.photos == 180


def test_the_same_bytes_are_run_once(photos: Path, extracted: Extracted, engine: Counted) -> None:
    files = [path.read_bytes() for path in sorted(photos.rglob("*.png"))[:5]]
    order = [0, 1, 0, 2, 3, 1, 0, 4]
    found = extracted(in_memory([files[at] for at in order]))
    assert engine.photos == found.misses == 5
    assert found.hits == 3
    assert found.positions == tuple(range(8))
    assert found.scan.duplicates == 3
    assert found.row_of.tolist() == order
    alone = extracted(in_memory(files))
    np.testing.assert_array_equal(found.x, alone.x)
    np.testing.assert_array_equal(found.x_of_all, alone.x[order])
    np.testing.assert_array_equal(found.summary.baseline_inputs, alone.summary.baseline_inputs)


def test_broken_photos_are_skipped_in_place(photos: Path, extracted: Extracted, engine: Counted) -> None:
    files = [path.read_bytes() for path in sorted(photos.rglob("*"))[:80] if path.is_file()]
    whole = extracted(in_memory(files))
    broken = list(files)
    for position in (0, 7, 8, len(files) - 1):
        broken[position] = files[position][:90]
    broken[20] = broken[7]
    found = extracted(in_memory(broken))
    bad = {0, 7, 8, 20, len(files) - 1}
    assert found.positions == tuple(position for position in range(len(files)) if position not in bad)
    assert {skip.id for skip in found.scan.dataset.skipped} == {f"{position}.png" for position in bad}
    assert all(skip.reason and skip.label == "one" for skip in found.scan.dataset.skipped)
    np.testing.assert_array_equal(found.x, whole.x[list(found.positions)])
    np.testing.assert_array_equal(found.summary.baseline_inputs, whole.summary.baseline_inputs[list(found.positions)])
    assert (found.hits, found.misses) == (len(found.positions), 0)
    assert len(found.scan.hashes) == len(found.scan.dataset) == len(found.positions)


def test_when_nothing_can_be_decoded_no_engine_is_opened(extracted: Extracted, cache: Path) -> None:
    found = extracted(in_memory([b"no picture", b"", b"nor this"]), engine="openvino")
    assert found.x.shape == (0, sum(block.width for block in found.blocks))
    assert [skip.id for skip in found.scan.dataset.skipped] == ["0.png", "1.png", "2.png"]
    assert not (cache / "networks").exists()


def test_features_of_another_source_or_engine_are_never_taken(
    photos: Path, extracted: Extracted, engine: Counted
) -> None:
    made_by = {extracted(photos).made_by, extracted(photos, ToySource(seed=1)).made_by}
    assert engine.photos == 120
    engine.name = "openvino-f32"
    made_by.add(extracted(photos).made_by)
    assert engine.photos == 180
    assert len(made_by) == 3


def test_an_engine_that_is_not_the_planned_one_meets_no_row_of_it(
    photos: Path, extracted: Extracted, engine: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset(photos)
    some = data.keep(list(range(40)))
    extracted(some)
    engine.name = "openvino-f32"
    monkeypatch.setattr(extraction, "cached_engine_name", lambda *args, **kwargs: "torch-f32")
    monkeypatch.setattr(extraction, "engine_opener", lambda *args, **kwargs: nullcontext(lambda sample: engine))
    found = extracted(data, engine="auto")
    assert found.engine == "openvino-f32"
    assert engine.photos == 100
    assert found.misses == 60
    np.testing.assert_array_equal(found.x, extracted(data).x)
    np.testing.assert_array_equal(found.x[:40], extracted(some).x)


@pytest.mark.parametrize("count", [3, PARITY_SAMPLE + 5])
def test_engines_are_judged_on_texts_of_all_lengths(cache: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    texts = [b"word " * (1 + number * 7 % count) for number in range(count)]
    dataset = Dataset(
        "memory", "text", tuple(Example(str(n), "one") for n in range(count)), ("one",), texts.__getitem__
    )
    source, samples = open_source("packaged:wordllama"), []

    def opened(sample: Callable[[], list[Tokens]]) -> LookupEngine:
        samples.extend(sample())
        lookup = source.network().lookup
        assert lookup is not None
        return LookupEngine(lookup())

    monkeypatch.setattr(extraction, "engine_opener", lambda *args, **kwargs: nullcontext(opened))
    found = extract(dataset, source, cache=cache)
    lengths = [tokens.used for tokens in samples]
    assert len(samples) == min(count, PARITY_SAMPLE)
    assert lengths == sorted(lengths, reverse=True)
    assert isinstance(found.summary, TextSummary)
    used = found.summary.tokens_used
    assert (max(lengths), min(lengths)) == (used.max(), used.min())
    np.testing.assert_array_equal(used, [source.prepare(text).used for text in texts])


def test_a_damaged_row_is_computed_again_and_reported__DSK_09(
    photos: Path, extracted: Extracted, engine: Counted, cache: Path
) -> None:
    first = extracted(photos)
    db = sqlite3.connect(cache / FILE)
    db.execute("UPDATE features SET value = zeroblob(length(value)) WHERE rowid IN (3, 17)")
    db.commit()
    db.close()
    engine.runs.clear()
    found = extracted(photos)
    assert engine.photos == 2
    assert found.notes == ("2 rows were damaged in the features cache and computed again",)
    np.testing.assert_array_equal(found.x, first.x)
    assert extracted(photos).notes == ()


def test_a_truncated_cache_is_rebuilt_and_reported__DSK_10(
    photos: Path, extracted: Extracted, engine: Counted, cache: Path
) -> None:
    first = extracted(photos)
    path = cache / FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = extracted(photos)
    np.testing.assert_array_equal(found.x, first.x)
    np.testing.assert_array_equal(found.summary.baseline_inputs, first.summary.baseline_inputs)
    assert len(found.notes) == 1
    assert "kept as features-damaged-1.sqlite" in found.notes[0]


def test_a_cache_that_cannot_be_written_stops_before_any_work__DSK_03(
    photos: Path, extracted: Extracted, engine: Counted, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    dataset = dataclasses.replace(open_dataset(photos), read=lambda position: pytest.fail("read"))
    with pytest.raises(UsageError, match=r"the cache .* must be a folder that can be written"):
        extracted(dataset, hashes=["0" * 64] * 60, cache=tmp_path / "file" / "cache")
    assert engine.photos == 0


def test_a_disk_too_small_stops_before_any_work__DSK_01(
    photos: Path, extracted: Extracted, engine: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.features.store.free_bytes", lambda path: 1000)
    with pytest.raises(UsageError, match=r"needs [\d,]+ more bytes; found 1,000 bytes free"):
        extracted(photos)
    assert engine.photos == 0


def test_a_disk_that_fills_up_keeps_what_was_committed__DSK_01(
    photos: Path, extracted: Extracted, engine: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.features.store import Store

    opened = Store.__init__

    def small(self: Store, folder: Path) -> None:
        opened(self, folder)
        self._db.execute("PRAGMA max_page_count = 8")

    with monkeypatch.context() as full:
        full.setattr(Store, "__init__", small)
        with pytest.raises(UsageError, match="free some space"):
            extracted(photos)
    assert engine.photos == 60
    engine.runs.clear()
    found = extracted(photos)
    assert found.hits == EXTRACTION_PROFILES["image"].commit
    assert engine.photos == 60 - EXTRACTION_PROFILES["image"].commit


def test_the_same_figures_from_a_tar_and_from_the_folder(photos: Path, extracted: Extracted, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "toys.tar", "w") as tar:
        tar.add(photos, "toys")
    folder, archive = extracted(photos, cache=tmp_path / "a"), extracted(tmp_path / "toys.tar", cache=tmp_path / "b")
    assert folder.x.tobytes() == archive.x.tobytes()
    assert folder.made_by == archive.made_by
    assert folder.misses == archive.misses == 60


@pytest.mark.parametrize("workers", [1, 3])
def test_features_do_not_depend_on_what_was_cached_or_how_many_threads_decode(
    photos: Path, extracted: Extracted, cache: Path, tmp_path: Path, workers: int
) -> None:
    whole = extracted(photos, engine="auto")
    shutil.copytree(cache / "networks", tmp_path / "other" / "networks")
    data = open_dataset(photos)
    for positions in ([3], [50, 4, 11, 17, 5], list(range(20, 49))):
        extracted(data.keep(positions), cache=tmp_path / "other", engine="auto")
    pieces = extracted(photos, cache=tmp_path / "other", workers=workers, engine="auto")
    assert pieces.hits == 35
    assert pieces.x.tobytes() == whole.x.tobytes()


WARM = """
import sys
from pathlib import Path
from headstart.base.hashing import sha256
from headstart.data.readers.open import open_dataset
from headstart.features.extract import extract, extract_again
from headstart.testing import ToySource
found = extract(open_dataset(sys.argv[1]), ToySource(), cache=Path(sys.argv[2]))
print(found.hits, found.misses, sha256(found.x.tobytes()), *(name in sys.modules for name in ("torch", "openvino")))
"""


def warm(data: Path, cache: Path) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", WARM, str(data), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.thorough
def test_a_warm_run_imports_no_engine_and_a_cached_network_no_torch(
    photos: Path, extracted: Extracted, cache: Path
) -> None:
    digest = sha256(extracted(photos, engine="auto").x.tobytes())
    assert warm(photos, cache) == ["60", "0", digest, "False", "False"]
    (cache / FILE).unlink()
    assert warm(photos, cache) == ["0", "60", digest, "False", "True"]


def test_unusable_passes_through_prepare_with_its_reason() -> None:
    with pytest.raises(BadExample):
        ToySource().prepare(b"no picture")


def test_ctrl_c_says_how_many_features_are_kept__DSK_11(photos: Path, extracted: Extracted, engine: Counted) -> None:
    run = engine.run

    def once(batch: Any) -> np.ndarray:
        if engine.photos >= 32:
            raise KeyboardInterrupt
        return run(batch)

    engine.run = once  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt) as interrupt:
        extracted(photos)
    assert interrupt.value.__notes__ == ["32 of 60 features are kept"]
    engine.run = run  # type: ignore[method-assign]
    again = extracted(photos)
    assert (again.hits, again.misses) == (32, 28)
