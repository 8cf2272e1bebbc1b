"""A file is there whole or not at all, wherever writing it fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from headstart.base.config import cache_dir, offline
from headstart.base.disk import check_writable, free_bytes, write_atomic
from headstart.base.errors import UsageError
from headstart.base.hashing import canonical_json, sha256, sha256_file, sha256_json


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_the_old_file_survives_a_failure__DSK_02(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tmp_path / "result.json"
    write_atomic(path, b"old")

    def fail(*given: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError if code == errno.EIO else UsageError):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_a_full_disk_names_the_bytes_needed_and_free__DSK_01(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"needs 3 free bytes; found [\d,]+ free bytes"):
        write_atomic(tmp_path / "x", b"new")


def test_a_folder_that_cannot_be_written_is_found_at_once__DSK_03(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="must be a folder that can be written"):
        check_writable(tmp_path / "file" / "below", what="the cache")
    check_writable(tmp_path / "new" / "folder", what="the cache")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_folder_on_a_full_disk_keeps_nothing_of_the_attempt__DSK_03(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match="needs more free bytes"):
        check_writable(tmp_path, what="the cache")
    assert not list(tmp_path.iterdir())


def test_free_bytes_of_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") > 0


def test_fingerprints(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == sha256(b"abc")
    assert sha256_json({"b": 1, "a": [2]}) == sha256(b'{"a":[2],"b":1}') == sha256(canonical_json({"a": [2], "b": 1}))


def test_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    for value, expected in (("", False), ("0", False), ("no", False), ("1", True), ("yes", True)):
        monkeypatch.setenv("HEADSTART_OFFLINE", value)
        assert offline() is expected
