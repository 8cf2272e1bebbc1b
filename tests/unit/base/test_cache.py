"""A cache gives back what was written, or nothing: never something else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from headstart.base.cache import ResultCache, read_record, write_record

KEY = {"what": "test", "seed": 0}
ARRAYS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.frombuffer(b"a\nb", dtype=np.uint8)}


def test_what_is_kept_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "new")
    assert cache.get(KEY) is None
    cache.put(KEY, {"error": 0.1 + 0.2, "none": float("nan"), "names": ["ü\n"]}, ARRAYS)
    found = cache.get(KEY)
    assert found is not None
    assert found[0]["error"] == 0.1 + 0.2 and np.isnan(found[0]["none"]) and found[0]["names"] == ["ü\n"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[1][name], array)
    assert cache.get({**KEY, "seed": 1}) is None


def test_a_record_comes_back_or_is_not_there__DSK_09(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    assert read_record(path) is None
    write_record(path, {"names": ["ü\n"], "error": 0.1 + 0.2})
    assert read_record(path) == {"names": ["ü\n"], "error": 0.1 + 0.2}
    whole = path.read_bytes()
    for damaged in (b"", b"{", b"[]", b"3", b"{}", whole[:-1], whole.replace(b"0.3", b"0.4"), b'{"value": 1}'):
        path.write_bytes(damaged)
        assert read_record(path) is None, damaged


def test_a_damaged_result_is_as_if_it_were_not_there__DSK_09_DSK_10(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    cache.put(KEY, {"a": 1}, ARRAYS)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for torn in (whole[:40], whole[:-1], b"", bytes([whole[0] ^ 1]) + whole[1:], whole[:-5] + b"\0" + whole[-4:]):
        path.write_bytes(torn)
        assert cache.get(KEY) is None
        assert not path.exists()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        assert cache.get(KEY) is None


def test_the_oldest_make_room(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    for seed in range(4):
        cache.put({"seed": seed}, {}, ARRAYS)
    for seed, age in ((0, 100), (1, 400), (2, 300), (3, 200)):
        os.utime(cache._path({"seed": seed}), (1e9 - age, 1e9 - age))
    cache = ResultCache(tmp_path, max_bytes=3 * next(tmp_path.iterdir()).stat().st_size)
    cache.put({"seed": 4}, {}, ARRAYS)
    assert [cache.get({"seed": seed}) is not None for seed in range(5)] == [True, False, False, True, True]


def test_where_nothing_can_be_kept_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ResultCache(tmp_path / "file" / "folder").put(KEY, {}, ARRAYS)
    assert ResultCache(tmp_path / "file" / "folder").get(KEY) is None
