"""What was computed from the same inputs before: plain values in one file, or values and arrays under a key.

A file that is absent or damaged, or that another version wrote, counts as not there: whoever asks computes afresh.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.disk import write_atomic
from headstart.base.errors import UsageError
from headstart.base.hashing import canonical_json, sha256, sha256_json

MAX_BYTES = 1 << 29

Arrays = dict[str, NDArray[Any]]


def read_record(path: Path) -> Any:
    """Return the plain values that `write_record` wrote to `path`; None where there are none, or damaged ones."""
    try:
        record = json.loads(path.read_bytes())
        return record["value"] if record["sha256"] == sha256_json(record["value"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(path: Path, value: Any) -> None:
    """Write plain values as JSON with their sha256, as `write_atomic` does."""
    write_atomic(path, canonical_json({"value": value, "sha256": sha256_json(value)}))


class ResultCache:
    """Plain values and arrays by key, in files of one folder, `max_bytes` together at most: the oldest go first."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def get(self, key: Mapping[str, Any]) -> tuple[dict[str, Any], Arrays] | None:
        """Return the values and arrays under `key`; None where there are none, or damaged ones, which are removed."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self._path(key)
        try:
            digest, _, content = path.read_bytes().partition(b"\n")
            if digest.decode() != sha256(content):
                raise ValueError("another checksum")
            values, _, tensors = content.partition(b"\n")
            path.touch()
            return json.loads(values), dict(load(tensors))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, SafetensorError):
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None

    def put(self, key: Mapping[str, Any], values: Mapping[str, Any], arrays: Arrays) -> None:
        """Write values and arrays under `key`; where the disk has no room for them, nothing is written."""
        from safetensors.numpy import save

        ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        content = json.dumps(dict(values)).encode() + b"\n" + save(ordered)
        with suppress(UsageError, OSError):  # the result is there; only the next run takes as long as this one
            self._make_room(len(content))
            write_atomic(self._path(key), sha256(content).encode() + b"\n" + content)

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.folder / f"{sha256_json(dict(key))}.memo"

    def _make_room(self, size: int) -> None:
        files = [(path, path.stat()) for path in self.folder.glob("*.memo")]
        total = sum(stat.st_size for _, stat in files) + size
        for path, stat in sorted(files, key=lambda file: file[1].st_mtime):
            if total <= self.max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size
