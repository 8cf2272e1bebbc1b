"""A worker gives the rows that `extract` gives, by shard, and says where machines differ."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import DataError, UsageError
from headstart.engines.conversion_process import NetworkOrigin
from headstart.features.extract import OPEN_SOURCE, extract
from headstart.scale.remote import open_anywhere
from headstart.scale.shards import Shard, from_bytes
from headstart.scale.worker import KILLED, Announce, Order, Worker
from headstart.sources.registry import open_source
from headstart.testing import toy_photos

SOURCE = NetworkOrigin(OPEN_SOURCE, {"uri": "simple:pixels"})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = toy_photos(tmp_path / "photos", classes=["cat", "dog"], per_class=4, seed=0)
    first, second, third, *_ = sorted((folder / "cat").iterdir())
    second.write_bytes(first.read_bytes())  # a copy
    third.write_bytes(third.read_bytes()[:60])  # truncated
    return folder


def order_of(photos: Path, start: int = 0, stop: int = 8, **more: frozenset[int]) -> Order:
    ids = tuple(example.id for example in open_anywhere(photos).examples[start:stop])
    return Order(start, ids, **more)


def run(worker: Worker, order: Order, announce: Announce | None = None) -> tuple[str, Shard]:
    """Return the key and the shard, whose file holds the same."""
    key, made = worker.run(order, announce)
    assert made is not None
    np.testing.assert_array_equal(from_bytes(made[1]).x, made[0].x)
    return key, made[0]


def worker(photos: Path, known: frozenset[str] = frozenset()) -> Worker:
    return Worker({"data": str(photos)}, SOURCE, "auto", known)


def test_the_rows_of_a_shard_are_those_of_one_process(photos: Path, cache: Path) -> None:
    expected = extract(open_anywhere(photos), open_source("simple:pixels"), cache=cache)
    key, shard = run(worker(photos), order_of(photos))
    np.testing.assert_array_equal(shard.x, expected.x)
    assert shard.rows.tolist() == [0, 3, 4, 5, 6, 7]  # not the copy, nor the truncated one
    assert list(shard.reasons) == [2] and shard.made_by == expected.made_by and shard.engine == expected.engine
    assert shard.digests[0] == shard.digests[1] == expected.scan.hashes[0]
    assert worker(photos, frozenset({key})).run(order_of(photos)) == (key, None)


def test_a_changed_photo_changes_the_key(photos: Path) -> None:
    key, _ = worker(photos).run(order_of(photos))
    last = sorted((photos / "dog").iterdir())[-1]
    last.write_bytes(sorted((photos / "dog").iterdir())[0].read_bytes())
    assert worker(photos).run(order_of(photos))[0] != key


def test_careful_work_names_each_example_before_it_and_gives_the_same(photos: Path) -> None:
    touched: list[int] = []
    key, shard = run(worker(photos), order_of(photos, 4, 8), touched.append)
    again, other = run(worker(photos), order_of(photos, 4, 8))
    assert touched == [0, 1, 2, 3, -1] and key == again
    np.testing.assert_array_equal(shard.x, other.x)


def test_poison_is_not_read_and_is_named__DST_03(photos: Path) -> None:
    _, shard = run(worker(photos), order_of(photos, poison=frozenset({4})))
    assert shard.reasons[4] == KILLED and shard.digests[4] == "" and 4 not in shard.rows


def test_a_machine_that_lists_other_examples_is_named__DST_06(photos: Path) -> None:
    order = order_of(photos)
    sorted((photos / "dog").iterdir())[0].unlink()
    here = worker(photos)
    with pytest.raises(DataError, match=f"^{here.node} must list the same examples"):
        here.run(order)
    with pytest.raises(UsageError, match=f"^{here.node}: .*nowhere"):
        worker(photos.parent / "nowhere")


def test_a_machine_that_cannot_open_the_source_is_named__DST_06(photos: Path) -> None:
    absent = NetworkOrigin(OPEN_SOURCE, {"uri": f"onnx:{photos}/absent.onnx"})
    with pytest.raises(UsageError, match=f"^{socket.gethostname()}: .*absent.onnx"):
        Worker({"data": str(photos)}, absent, "auto", frozenset())
