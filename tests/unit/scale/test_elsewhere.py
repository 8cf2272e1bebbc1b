"""Extraction by workers gives what one process gives, whatever their number and deaths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart.scale.elsewhere as elsewhere
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.dataset import Dataset
from headstart.engines.conversion_process import NetworkOrigin
from headstart.features.extract import OPEN_SOURCE, extract, extracting_by
from headstart.features.extraction_pass import CHANGED
from headstart.features.features import Extraction
from headstart.scale.elsewhere import WorkersFor, extract_elsewhere
from headstart.scale.remote import open_anywhere
from headstart.scale.schedule import WorkerDied
from headstart.scale.worker import Order, Worker
from headstart.sources.base import Source
from headstart.sources.registry import open_mean, open_source
from headstart.testing import toy_photos

PIXELS = NetworkOrigin(OPEN_SOURCE, {"uri": "simple:pixels"})


class Here:
    """Workers in this process, which do the last order they were given first; `deaths` of the first ones die."""

    def __init__(self, arguments: tuple[Any, ...], count: int, deaths: int) -> None:
        self.workers, self.deaths = [Worker(*arguments) for _ in range(count)], deaths
        self.busy: list[tuple[int, Order]] = []

    def idle(self) -> bool:
        return len(self.busy) < len(self.workers)

    def give(self, number: int, order: Order, *, carefully: bool) -> None:
        self.busy.append((number, order))

    def wait(self) -> tuple[int, Callable[[], Any]]:
        number, order = self.busy.pop()
        worker, self.deaths, dies = self.workers[len(self.busy)], self.deaths - 1, self.deaths > 0

        def result() -> Any:
            if dies:
                raise WorkerDied
            return worker.run(order)

        return number, result


def workers(count: int, deaths: int = 0) -> WorkersFor:
    @contextmanager
    def workers_for(arguments: tuple[Any, ...]) -> Iterator[Here]:
        yield Here(arguments, count, deaths)

    return workers_for


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write photos, some of them broken, copies, or odd, and let a shard have three examples."""
    monkeypatch.setattr(elsewhere, "SHARD", 3)
    folder = toy_photos(tmp_path / "photos", classes=["cat", "dog"], per_class=6, seed=0)
    cats, dogs = (sorted((folder / name).iterdir()) for name in ("cat", "dog"))
    cats[5].write_bytes(cats[0].read_bytes())  # a copy in another shard
    dogs[1].write_bytes(b"")
    dogs[5].write_bytes(dogs[5].read_bytes()[:70])
    return folder


def extracted(photos: Path | str | Dataset, workers_for: WorkersFor, shards: str) -> Extraction:
    dataset = photos if isinstance(photos, Dataset) else open_anywhere(photos)
    source = open_source("simple:pixels")
    return extract_elsewhere(
        dataset, source, origin=PIXELS, engine="auto", shards=shards, workers_for=workers_for,
        progress=Progress(),
    )  # fmt: skip


def assert_same(one: Extraction, two: Extraction) -> None:
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.row_of, two.row_of)
    assert (one.positions, one.engine, one.made_by) == (two.positions, two.engine, two.made_by)
    assert (one.scan.hashes, one.scan.fingerprint, one.scan.notes) == (
        two.scan.hashes,
        two.scan.fingerprint,
        two.scan.notes,
    )
    assert one.scan.dataset.skipped == two.scan.dataset.skipped


@pytest.mark.parametrize(("count", "deaths"), [(1, 0), (2, 0), (4, 0), (2, 3)])
def test_any_number_of_workers_gives_the_rows_of_one_process__DST_05(
    photos: Path, cache: Path, count: int, deaths: int
) -> None:
    alone = extract(open_anywhere(photos), open_source("simple:pixels"), cache=cache)
    assert_same(extracted(photos, workers(count, deaths), f"memory://{photos.parent.name}-{count}-{deaths}"), alone)


def test_the_same_run_goes_on_from_its_shards_and_a_lost_one_is_computed_again__DST_02(
    photos: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    first = extracted(photos, workers(2), str(shards))
    assert first.misses == 9
    assert len(list(shards.iterdir())) == 4
    again = extracted(photos, workers(2), str(shards))
    assert (again.misses, again.hits) == (0, 10)
    assert_same(again, first)
    sorted(shards.iterdir())[0].unlink()
    assert_same(extracted(photos, workers(1), str(shards)), first)


def test_a_part_of_the_data_is_extracted_and_what_has_changed_since_is_skipped(photos: Path, tmp_path: Path) -> None:
    every = extracted(photos, workers(1), str(tmp_path / "shards"))
    readable = every.scan
    part = [1, 4, 7]
    last = readable.dataset.examples[7].id
    (photos / last).write_bytes((photos / readable.dataset.examples[8].id).read_bytes())
    again = extract_elsewhere(
        readable.dataset.keep(part), open_source("simple:pixels"), origin=PIXELS, engine="auto",
        shards=str(tmp_path / "shards"), workers_for=workers(2), progress=Progress(),
        hashes=[readable.hashes[position] for position in part],
    )  # fmt: skip
    np.testing.assert_array_equal(again.x, every.x[every.row_of[part[:2]]])
    assert [(each.id, each.reason) for each in again.scan.dataset.skipped[-1:]] == [(last, CHANGED)]


@pytest.mark.thorough
def test_each_network_of_a_mean_is_run_by_workers_and_what_is_not_kept_is_run_here(
    photos: Path, cache: Path, tmp_path: Path
) -> None:
    source, computed = open_mean(["simple:pixels", "packaged:efficientnet-lite0"], {}), list[str]()

    def elsewhere(dataset: Dataset, source: Source, engine: str, hashes: Any, progress: Progress) -> Extraction:
        computed.append(source.info.uri)
        options: dict[str, Any] = {"shards": str(tmp_path / "shards"), "workers_for": workers(2), "progress": progress}
        origin = NetworkOrigin(OPEN_SOURCE, source.opened or {})
        return extract_elsewhere(dataset, source, origin=origin, engine=engine, hashes=hashes, **options)

    alone = extract(open_anywhere(photos), source, cache=cache)
    with extracting_by(elsewhere):
        assert_same(extract(open_anywhere(photos), source, cache=cache), alone)
        assert_same(extract(open_anywhere(photos), source, cache=cache, keep=False), alone)
    assert computed == [source.info.uri]


def test_a_disk_without_room_is_an_error_before_any_work(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.scale.shards.free_bytes", lambda path: 1000)
    with pytest.raises(UsageError, match=r"shards must have room for [\d,]+ bytes of features; found 1,000 free"):
        extracted(photos, workers(0), str(tmp_path / "shards"))


def test_a_damaged_shard_is_named(photos: Path, tmp_path: Path) -> None:
    extracted(photos, workers(1), str(tmp_path / "shards"))
    damaged = sorted((tmp_path / "shards").iterdir())[0]
    damaged.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=f"the shard {damaged.stem} in .* must be whole"):
        extracted(photos, workers(1), str(tmp_path / "shards"))


def test_data_in_memory_and_a_source_that_nothing_opens_are_refused(photos: Path, tmp_path: Path) -> None:
    dataset, source = open_anywhere(photos), open_source("simple:pixels")
    with pytest.raises(UsageError, match="the data of a run on a cluster must have a path"):
        extracted(replace(dataset, opened=None), workers(1), str(tmp_path))
    shared: dict[str, Any] = {"engine": "auto", "shards": str(tmp_path), "progress": Progress()}
    with pytest.raises(UsageError, match="must be one that a URI opens"):
        extract_elsewhere(dataset, source, origin=None, workers_for=workers(1), **shared)


def test_workers_that_open_another_network_are_refused__DST_04(photos: Path, tmp_path: Path) -> None:
    source = open_source("simple:pixels")
    source.preprocessing = open_source("packaged:efficientnet-lite0").preprocessing
    shared: dict[str, Any] = {"engine": "auto", "shards": str(tmp_path), "progress": Progress()}
    with pytest.raises(UsageError, match="every machine must open the same simple:pixels"):
        extract_elsewhere(open_anywhere(photos), source, origin=PIXELS, workers_for=workers(1), **shared)


@pytest.mark.thorough
def test_data_and_shards_on_s3_give_what_a_folder_gives(
    photos: Path, cache: Path, loopback: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs = pytest.importorskip("s3fs")
    moto_server = pytest.importorskip("moto.server")
    alone = extract(open_anywhere(photos), open_source("simple:pixels"), cache=cache)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        settings = {"ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
        for name, value in {**settings, "DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        s3fs.S3FileSystem.clear_instance_cache()
        system = s3fs.S3FileSystem()
        system.mkdir("bucket")
        system.put(f"{photos}/", "bucket/photos", recursive=True)
        assert_same(extracted("s3://bucket/photos", workers(2), "s3://bucket/shards"), alone)
        assert len(system.ls("bucket/shards")) == 4
        assert extracted("s3://bucket/photos", workers(1), "s3://bucket/shards").misses == 0
        with pytest.raises(UsageError, match="s3://nobody/photos"):
            open_anywhere("s3://nobody/photos")
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            monkeypatch.delenv(f"AWS_{name}")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("HOME", str(photos.parent))
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(UsageError, match=r"s3://bucket/photos must be .* found NoCredentialsError"):
            open_anywhere("s3://bucket/photos")
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()
