"""Parquet: tables of paths, and the Hugging Face image and audio layout, read a row group at a time.

In that layout a row holds the picture or recording itself: a column of struct{bytes, path}, and an integer label whose
names stand in the schema's metadata under `huggingface`.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.errors import DataError
from headstart.data.dataset import BadExample
from headstart.data.file_tree import MAX_BYTES
from headstart.data.readers.archives import LEAST_GROWN, MAX_GROWTH
from headstart.data.readers.tables.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

MAX_GROUP = 2**30
"""The largest row group that is read, in bytes once unpacked: it must be in memory to reach one of its rows."""
ROWS_AT_ONCE = 16
"""That are unpacked before the bytes of a row group are counted again."""
LEAST_ROWS = 2_000_000
"""That any file may have; a larger one has as many as it has bytes, since packed repetitions take nearly none."""
MAX_TEXTS = 2**32
"""Characters of one column: texts that repeat are packed once, and yet read for each of their rows."""
CACHED = 256 * 2**20
"""How many bytes of unpacked row groups a dataset keeps for its next reads; the last group read is kept in any case."""


@dataclass(frozen=True)
class ReadLimits:
    """What is read of one file, and held of it."""

    group: int = MAX_GROUP
    least_grown: int = LEAST_GROWN  # bytes that any file may unpack to
    texts: int = MAX_TEXTS
    cached: int = CACHED


LIMITS = ReadLimits()


class ParquetTable:
    """One Parquet file: its columns, and its pictures by row.

    Raises:
        DataError: it is no Parquet file, or is damaged.
    """

    def __init__(self, path: Path, limits: ReadLimits = LIMITS) -> None:
        import pyarrow.parquet as pq

        self.path, self.limits = path, limits
        try:
            self.schema = pq.read_schema(path)
            texts = [field.name for field in self.schema if _is_text(field.type)]
            # Not mapped: a file cut while it is read would kill the process.
            self._file = pq.ParquetFile(path, read_dictionary=texts)
        except (OSError, ValueError, NotImplementedError) as error:
            raise _damaged(path, error) from error
        if self._file.metadata.num_rows == 0:
            raise DataError(f"{path} must hold rows", "none", "add a row for each example")
        grown, allowed = self.size, max(MAX_GROWTH * path.stat().st_size, limits.least_grown)
        if grown > allowed:
            must = f"{path} must unpack to at most {MAX_GROWTH} times its size"
            raise DataError(must, f"{grown >> 20:,} MiB", "leave out what repeats, and write it again")
        if len(self) > (most := max(LEAST_ROWS, path.stat().st_size)):
            raise DataError(f"{path} must have at most {most:,} rows", f"{len(self):,}", "leave out those that repeat")

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def size(self) -> int:
        """Bytes of its row groups once unpacked."""
        metadata = self._file.metadata
        return sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))

    def table(self) -> Table:
        """Return its cells as a table, whose columns are read when they are asked for."""
        names = tuple(self.schema.names)
        columns: dict[int, list[Any]] = {}

        def cells(place: int) -> list[Any]:
            if place not in columns:
                columns[place] = self._column(names[place])
            return columns[place]

        class_names = {at: ids for at, name in enumerate(names) if (ids := _class_names(self.schema, name))}
        embedded = frozenset(at for at, field in enumerate(self.schema) if _bytes_in(field.type) is not None)
        return Table(
            str(self.path), names, cells, range(len(self)), unit="row", embedded=embedded, class_names=class_names
        )

    def _column(self, name: str) -> list[Any]:
        try:
            chunks = self._file.read([name]).column(0).chunks
        except (OSError, ValueError, NotImplementedError) as error:
            raise _damaged(self.path, error) from error
        if (cells := sum(map(len, chunks))) != len(self):
            raise _damaged(self.path, f"{cells} cells of {name!r} for {len(self)} rows")
        size = sum(map(_characters, chunks))
        if size > self.limits.texts:
            must = f"the texts of {name!r} of {self.path} must be at most {self.limits.texts:,} characters together"
            raise DataError(must, f"{size:,}", "leave out those that repeat")
        try:
            return [value for chunk in chunks for value in _cells(chunk)]
        except (OSError, ValueError, NotImplementedError) as error:
            raise _damaged(self.path, error) from error

    def row_groups(self) -> list[int]:
        """Return the number of rows in each row group; raises DataError where one is too large to read."""
        metadata = self._file.metadata
        groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
        largest = max((group.total_byte_size for group in groups), default=0)
        if largest > self.limits.group:
            raise DataError(
                f"row groups of {self.path} must be at most {self.limits.group:,} bytes",
                f"{largest:,} bytes",
                "write it again with smaller ones: pyarrow.parquet.write_table(table, path, row_group_size=1000)",
            )
        rows = [group.num_rows for group in groups]
        if sum(rows) != len(self) or min(rows) < 0:
            raise _damaged(self.path, f"{sum(rows)} rows in its groups, {len(self)} in its header")
        return rows

    def pictures(self, place: int, group: int) -> pa.Array:
        """Return the bytes of pictures in one row group of a column: a binary array; raises OSError or ValueError."""
        import pyarrow as pa

        field = self.schema.field(place)
        inner = _bytes_in(field.type)
        column = f"{field.name}.{inner}" if inner else field.name
        stated = self._file.metadata.row_group(group).total_byte_size
        limits = self.limits
        chunks, size, most = [], 0, min(limits.group, max(MAX_GROWTH * stated, limits.least_grown))
        for batch in self._file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[column]):
            size += batch.nbytes
            if size > most:  # where one picture comes many times, the size that the file states is that of one
                raise ValueError(f"more than {most:,} bytes in row group {group}")
            chunks.append(batch.column(0))
        read = pa.concat_arrays(chunks)
        if len(read) != self._file.metadata.row_group(group).num_rows:
            raise ValueError(f"{len(read)} pictures in row group {group}")
        return read.field(inner) if inner else read


PictureColumn = tuple[ParquetTable, int]
"""A file, and the position of its column of pictures."""


class _Pictures:
    """Bytes by position over several files, with the row groups last read kept in memory."""

    def __init__(self, tables: Sequence[PictureColumn], rows: Sequence[int]) -> None:
        self._rows, self._cached = tuple(rows), tables[0][0].limits.cached
        counts = [(table, at, group, n) for table, at in tables for group, n in enumerate(table.row_groups())]
        self._groups = [(table, at, group) for table, at, group, _ in counts]
        self._starts = list(accumulate((count for *_, count in counts[:-1]), initial=0))
        self._cache: OrderedDict[int, pa.Array] = OrderedDict()
        self._damaged: set[int] = set()  # groups that are not read again for each of their rows
        self._lock = threading.Lock()

    def __call__(self, position: int) -> bytes:
        row = self._rows[position]
        group = bisect_right(self._starts, row) - 1
        cell = self._array(group)[row - self._starts[group]]
        data = cell.as_buffer() if cell.is_valid else None
        if data is None:
            raise BadExample("empty")
        if data.size > MAX_BYTES:
            raise BadExample("too large")
        return data.to_pybytes()  # type: ignore[no-any-return]

    def _array(self, group: int) -> pa.Array:
        with self._lock:
            if group in self._damaged:
                raise BadExample("damaged in the table")
            if group not in self._cache:
                table, place, within = self._groups[group]
                try:
                    self._cache[group] = table.pictures(place, within)
                except (OSError, ValueError, NotImplementedError) as error:
                    self._damaged.add(group)
                    raise BadExample("damaged in the table") from error
                while len(self._cache) > 1 and sum(array.nbytes for array in self._cache.values()) > self._cached:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(group)
            return self._cache[group]


def picture_reader(tables: Sequence[PictureColumn]) -> Callable[[Sequence[int]], Callable[[int], bytes]]:
    """Return what makes the reader of a Dataset from the rows of its examples, counted over all tables."""
    return lambda rows: _Pictures(tables, rows)


def picture_runs(tables: Sequence[ParquetTable]) -> tuple[int, int] | None:
    """Return the rows of the longest row group, and how many are held; None where all of them are."""
    size = sum(table.size for table in tables)
    cached = tables[0].limits.cached
    if size <= cached:
        return None
    longest = max(max(table.row_groups()) for table in tables)
    return longest, max(longest, sum(map(len, tables)) * cached // size)


def _damaged(path: Path, error: object) -> DataError:
    return DataError(f"{path} must be a whole Parquet file", error, "copy or download it again")


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _characters(chunk: pa.Array) -> int:
    """Return the characters of all texts of a column's chunk, without writing one out for each of its rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(chunk.type):
        return 0
    lengths = pc.utf8_length(chunk.dictionary)
    return int(pc.sum(pc.take(lengths, chunk.indices).cast(pa.int64())).as_py() or 0)


def _cells(chunk: pa.Array) -> list[Any]:
    """Return the values of a column's chunk; a text that repeats is in memory once, however often it is there."""
    import pyarrow as pa

    if not pa.types.is_dictionary(chunk.type):
        values: list[Any] = chunk.to_pylist()
        return values
    texts = chunk.dictionary.to_pylist()
    return [None if at is None else texts[at] for at in chunk.indices.to_pylist()]


def _bytes_in(kind: pa.DataType) -> str | None:
    """Return the field of a struct that holds bytes, "" for a column of plain bytes, None for any other."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return "bytes" if kind.get_field_index("bytes") >= 0 else None
    return "" if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else None


def _class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """Return the class names that the Hugging Face metadata gives the ids of a column, or None."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None
