"""A memo gives back what was kept, or nothing: never something else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from headstart.base import cache as memo
from headstart.base.cache import Memo

KEY = {"what": "test", "seed": 0}
ARRAYS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.frombuffer(b"a\nb", dtype=np.uint8)}


def test_what_is_kept_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    held = Memo(tmp_path / "new")
    assert held.get(KEY) is None
    held.put(KEY, {"error": 0.1 + 0.2, "none": float("nan"), "names": ["ü\n"]}, ARRAYS)
    found = held.get(KEY)
    assert found is not None
    assert found[0]["error"] == 0.1 + 0.2 and np.isnan(found[0]["none"]) and found[0]["names"] == ["ü\n"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[1][name], array)
    assert held.get({**KEY, "seed": 1}) is None


def test_a_damaged_memo_is_as_if_it_were_not_there__DSK_09_DSK_10(tmp_path: Path) -> None:
    held = Memo(tmp_path)
    held.put(KEY, {"a": 1}, ARRAYS)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for torn in (whole[:40], whole[:-1], b"", bytes([whole[0] ^ 1]) + whole[1:], whole[:-5] + b"\0" + whole[-4:]):
        path.write_bytes(torn)
        assert held.get(KEY) is None
        assert not path.exists()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        assert held.get(KEY) is None


def test_the_oldest_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Memo(tmp_path)
    for seed in range(4):
        held.put({"seed": seed}, {}, ARRAYS)
    for seed, age in ((0, 100), (1, 400), (2, 300), (3, 200)):
        os.utime(held._path({"seed": seed}), (1e9 - age, 1e9 - age))
    monkeypatch.setattr(memo, "MOST", 3 * next(tmp_path.iterdir()).stat().st_size)
    held.put({"seed": 4}, {}, ARRAYS)
    assert [held.get({"seed": seed}) is not None for seed in range(5)] == [True, False, False, True, True]


def test_where_nothing_can_be_kept_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Memo(tmp_path / "file" / "folder").put(KEY, {}, ARRAYS)
    assert Memo(tmp_path / "file" / "folder").get(KEY) is None
