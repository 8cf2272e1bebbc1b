"""A memo: what was worked out from the same givens before, kept in the cache under a key made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.atomic import write_atomic
from headstart.base.errors import UsageError
from headstart.base.hashing import sha256, sha256_json

MOST = 1 << 29
"""Bytes that a folder of memos may hold; the oldest go first."""

Arrays = dict[str, NDArray[Any]]


class Memo:
    """Plain values and arrays by key, in files that are whole, or are as if they were not there.

    Args:
        folder: where they lie; made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: Mapping[str, Any]) -> tuple[dict[str, Any], Arrays] | None:
        """Return what was kept under `key`; None where there is nothing, or something damaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self._path(key)
        try:
            data = path.read_bytes()
            digest, _, rest = data.partition(b"\n")
            if digest.decode() != sha256(rest):
                raise ValueError("another checksum")
            said, _, tensors = rest.partition(b"\n")
            path.touch()
            return json.loads(said), dict(load(tensors))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, SafetensorError):
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None  # worked out afresh, which gives the same

    def put(self, key: Mapping[str, Any], plain: Mapping[str, Any], arrays: Arrays) -> None:
        """Keep plain values and arrays under `key`; where the disk has no room for them, they are not kept."""
        from safetensors.numpy import save

        ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        rest = json.dumps(dict(plain)).encode() + b"\n" + save(ordered)
        with suppress(UsageError, OSError):  # the answer is there; only the next run takes as long as this one
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(rest))
            write_atomic(self._path(key), sha256(rest).encode() + b"\n" + rest)

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.folder / f"{sha256_json(dict(key))}.memo"

    def _make_room(self, size: int) -> None:
        held = [(path, path.stat()) for path in self.folder.glob("*.memo")]
        total = sum(stat.st_size for _, stat in held) + size
        for path, stat in sorted(held, key=lambda one: one[1].st_mtime):
            if total <= MOST:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size
