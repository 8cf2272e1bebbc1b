"""Shards: what is written comes back, and what is damaged does not."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import UsageError
from headstart.scale.shards import Shard, ShardFolder, from_bytes, shard_key, to_bytes

SHARD = Shard(
    digests=("aa", "", "bb", "aa"),
    reasons={1: "empty", 2: "truncated"},
    remarks={0: ("odd",), 3: ("odd", "very odd")},
    rows=np.array([0]),
    x=np.array([[1.5, -0.0, np.inf]], np.float32),
    summaries=np.arange(5, dtype=np.uint8)[None],
    made_by="m",
    engine="e",
)
NONE = replace(
    SHARD, digests=("",), reasons={0: "empty"}, remarks={}, rows=np.empty(0, np.intp), x=np.empty((0, 3), np.float32),
    summaries=np.empty((0, 5), np.uint8), made_by="", engine="none",
)  # fmt: skip


def assert_equal(one: Shard, two: Shard) -> None:
    for field in fields(Shard):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))


@pytest.mark.parametrize("shard", [SHARD, NONE])
def test_a_shard_comes_back_from_its_bytes(shard: Shard) -> None:
    assert_equal(from_bytes(to_bytes(shard)), shard)


def test_a_changed_byte_of_features_is_found() -> None:
    data = to_bytes(SHARD)
    at = data.index(SHARD.x.tobytes())
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with pytest.raises((OSError, ValueError)):
        from_bytes(changed)


@pytest.mark.parametrize("scheme", ["memory://shards", "folder"])
def test_a_folder_holds_each_shard_once_by_its_key(scheme: str, tmp_path: Path) -> None:
    uri = f"{scheme}-{tmp_path.name}" if "://" in scheme else str(tmp_path / scheme)
    folder = ShardFolder(uri)
    assert folder.known == frozenset()
    folder.put("abc", to_bytes(SHARD))
    again = ShardFolder(uri)
    assert again.known == {"abc"}
    read = again.get("abc")
    assert read is not None
    assert_equal(read, SHARD)
    assert again.get("abd") is None


def test_a_damaged_shard_counts_as_absent(tmp_path: Path) -> None:
    folder = ShardFolder(str(tmp_path))
    folder.put("abc", to_bytes(SHARD))
    path = tmp_path / "abc.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert folder.get("abc") is None


def test_the_key_follows_from_what_makes_the_rows_from_contents_and_from_what_cannot_be_read() -> None:
    keys = {shard_key(*each) for each in [("m", ["a"], {}), ("n", ["a"], {}), ("m", ["b"], {}), ("m", [""], {0: "x"})]}
    assert len(keys) == 4
    assert shard_key("m", ("a", ""), {1: "x"}) == shard_key("m", ["a", ""], {1: "x"})


def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="must be readable and writable"):
        ShardFolder(str(tmp_path / "file" / "shards"))
    with pytest.raises(UsageError, match="nosuch"):
        ShardFolder("nosuch://bucket/shards")
