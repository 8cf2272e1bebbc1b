"""Shards: the features of some examples in one Parquet file, keyed by content, with checksums, on any fsspec path."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from headstart.base.disk import free_bytes
from headstart.base.errors import UsageError
from headstart.base.hashing import sha256_json
from headstart.scale.remote import reached

SUFFIX = ".parquet"


@dataclass(frozen=True)
class Shard:
    """What reading n examples and running them showed."""

    digests: tuple[str, ...]  # sha256 of the bytes of each; empty where they could not be read
    reasons: Mapping[int, str]  # why examples cannot be used, by their place among the n
    remarks: Mapping[int, tuple[str, ...]]  # what is odd about examples, by their place
    rows: NDArray[np.intp]  # of shape (m,), the places of the first example of each content that has features
    x: NDArray[np.float32]  # float32 of shape (m, d), their features
    summaries: NDArray[np.uint8]  # uint8 of shape (m, b), what is kept beside them
    made_by: str  # fingerprint of the network, the engine and the libraries behind both
    engine: str  # name and precision of the engine; `none` where nothing was run


def shard_key(made_by: str, digests: Sequence[str], reasons: Mapping[int, str]) -> str:
    """Return the name of a shard: what its content follows from, as 64 hexadecimal digits."""
    return sha256_json([made_by, list(digests), sorted([place, reason] for place, reason in reasons.items())])


def to_bytes(shard: Shard) -> bytes:
    """Return a shard as a Parquet file: a row an example, a checksum a page."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = len(shard.digests)
    x: list[bytes | None] = [None] * n
    summaries: list[bytes | None] = [None] * n
    for place, features, summary in zip(shard.rows.tolist(), shard.x, shard.summaries, strict=True):
        x[place], summaries[place] = features.tobytes(), summary.tobytes()
    columns = {
        "digest": pa.array(shard.digests),
        "reason": pa.array([shard.reasons.get(place) for place in range(n)], pa.string()),
        "remarks": pa.array([list(shard.remarks.get(place, ())) for place in range(n)], pa.list_(pa.string())),
        "features": pa.array(x, pa.binary(4 * shard.x.shape[1])),
        "summary": pa.array(summaries, pa.binary(shard.summaries.shape[1])),
    }
    table = pa.table(columns).replace_schema_metadata({"made_by": shard.made_by, "engine": shard.engine})
    file = io.BytesIO()
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}  # features do not repeat
    pq.write_table(table, file, write_page_checksum=True, **plain)
    return file.getvalue()


def from_bytes(data: bytes) -> Shard:
    """Return the shard that `to_bytes` wrote; raises OSError or ValueError where a checksum or anything is wrong."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    reasons, remarks = table["reason"].to_pylist(), table["remarks"].to_pylist()
    x, summaries = table["features"].combine_chunks(), table["summary"].combine_chunks()
    rows = np.flatnonzero(x.is_valid().to_numpy(zero_copy_only=False))
    return Shard(
        tuple(table["digest"].to_pylist()),
        {place: reason for place, reason in enumerate(reasons) if reason is not None},
        {place: tuple(some) for place, some in enumerate(remarks) if some},
        rows,
        _numbers(x, rows, np.float32),
        _numbers(summaries, rows, np.uint8),
        *(table.schema.metadata[name].decode() for name in (b"made_by", b"engine")),
    )


def _numbers(column: Any, rows: NDArray[np.intp], dtype: type[Any]) -> NDArray[Any]:
    width = column.type.byte_width // np.dtype(dtype).itemsize
    data = b"".join(column.take(rows).to_pylist())
    return np.frombuffer(data, dtype).reshape(len(rows), width)


class ShardFolder:
    """The shards at one fsspec path, each written once.

    Raises:
        UsageError: the path cannot be reached or written.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.known = frozenset(reached(uri, _names))
        """The keys of the shards that were there."""

    def check_room(self, size: int) -> None:
        """Raise UsageError, before work starts, unless a folder on this machine has room for `size` more bytes."""

        def room(system: Any, path: str) -> int | None:
            return free_bytes(Path(path)) if "file" in system.protocol else None

        free = reached(self.uri, room)
        if free is not None and size > free:
            do = "free some space, or name another folder with --shards"
            raise UsageError(f"{self.uri} must have room for {size:,} bytes of features", f"{free:,} free", do)

    def get(self, key: str) -> Shard | None:
        """Return the shard under a key; None where it is damaged, so that it is computed again."""
        try:
            return from_bytes(reached(self.uri, lambda system, path: system.cat_file(f"{path}/{key}{SUFFIX}")))
        except (OSError, ValueError, KeyError):
            return None

    def put(self, key: str, data: bytes) -> None:
        """Write the file of a shard under its key, all of it or nothing."""

        def write(system: Any, path: str) -> None:
            part = f"{path}/{key}.part-{uuid4().hex}"
            system.pipe_file(part, data)
            system.mv(part, f"{path}/{key}{SUFFIX}")

        reached(self.uri, write)


def _names(system: Any, path: str) -> list[str]:
    system.makedirs(path, exist_ok=True)
    names = [name.rpartition("/")[2] for name in system.find(path, maxdepth=1)]  # a prefix need not be there
    return [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
