"""Tables whose cells are pixels, as MNIST and FER-2013 come: a column for each pixel, or all of them in one cell."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset, Skipped, Split
from headstart.data.labels import part_of
from headstart.data.readers.arrays.array_files import PictureSet, dataset_of

LEAST_PIXELS = 64
"""The smallest picture that cells are taken for: 8 by 8 pixels."""
PIXELS_HEAD = 1 << 18
"""Bytes of a table that tell whether it holds pixels."""
_WAY = (
    "give hs.fit((pictures, labels)) in Python, with pictures reshaped to (n, height, width) or (n, height, width, 3)"
)


def holds_pixels(head: bytes) -> bool:
    """Return whether a table, by its beginning, has a column for each pixel, or cells that hold all of a picture's."""
    lines = head[:PIXELS_HEAD].decode("latin-1").splitlines()
    row = lines[1] if len(lines) > 1 else ""
    cells = [cell.strip().strip('"') for cell in re.split(r"[,;\t]", row)]
    if any(_in_one_cell(cell) for cell in cells):
        return True
    return sum(_is_pixel(cell) for cell in cells) >= max(LEAST_PIXELS, len(cells) - 3)


def from_pixel_tables(
    tables: Sequence[tuple[str, bytes, Split | None]],
    *,
    name: str,
    where: str,
    label: str | None,
    labelled: bool = True,
) -> Dataset:
    """Return the pictures in tables of pixels, each given as its name, its bytes and its part.

    Args:
        label: the name of the column of labels; None for the one that is called so, or that alone holds no pixels.

    Raises:
        DataError: the pixels make no square, a row is damaged, or nothing tells which column is the label.
    """
    sets: list[PictureSet] = []
    for table, data, split in tables:
        columns, ragged = _columns(data, table)
        pixels = _pixels(columns, table, label)
        rest = {key: values for key, values in columns.items() if key not in pixels}
        pictures, usable = _pictures([columns[key] for key in pixels], table)
        lost = tuple(Skipped(f"{table}#{row}", "", "another number of cells") for row in ragged)
        bad = np.flatnonzero(~usable).tolist()
        lost += tuple(Skipped(f"{table}, row {row}", "", "a pixel that is no whole number in 0..255") for row in bad)
        labels, splits = _label_and_split(rest, table, label, needed=labelled and split in (None, "train"))
        parts = [split] * len(usable) if splits is None else splits
        for part in dict.fromkeys(parts):
            rows = [row for row in np.flatnonzero(usable).tolist() if parts[row] == part]
            chosen = None if labels is None else [labels[row] for row in rows]
            called = table if splits is None else f"{part} rows of {table}"
            sets.append(PictureSet(called, part, [pictures[row] for row in rows], chosen, lost))
            lost = ()
    return dataset_of(sets, name, where, labelled=labelled)


def _columns(data: bytes, where: str) -> tuple[dict[str, Any], list[int]]:
    """Return the columns of a table by name, of one without a header by number; and its rows of other lengths."""
    import pyarrow as pa
    from pyarrow import csv

    first = data[: data.find(b"\n") + 1 or len(data)].decode("latin-1")
    delimiter = max(",;\t", key=first.count)
    bare = all(_is_pixel(cell.strip()) for cell in first.split(delimiter)[1:])
    ragged: list[int] = []

    def skip(row: Any) -> str:
        ragged.append(row.number)
        return "skip"

    def read(*, threads: bool) -> Any:
        return csv.read_csv(
            io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")),
            read_options=csv.ReadOptions(autogenerate_column_names=bare, block_size=1 << 24, use_threads=threads),
            parse_options=csv.ParseOptions(delimiter=delimiter, invalid_row_handler=None if threads else skip),
        )

    try:
        try:
            table = read(threads=True)
        except pa.ArrowInvalid:  # rows are counted by one thread alone
            table = read(threads=False)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(f"{where} must be a well-formed table of pixels", error, _WAY) from error
    return {name: table.column(name) for name in table.column_names}, ragged


def _pixels(columns: dict[str, Any], where: str, label: str | None) -> list[str]:
    """Return the names of the columns that hold pixels, in their order."""
    import pyarrow as pa

    whole = [
        name for name, values in columns.items() if pa.types.is_string(values.type) and _in_one_cell(values[0].as_py())
    ]
    if whole:
        return whole[:1]
    numbers = [name for name, values in columns.items() if pa.types.is_integer(values.type) and name != label]
    shape = {name: re.sub(r"\d+", "0", name) for name in numbers}
    common = max(set(shape.values()), key=list(shape.values()).count, default="")
    alike = [name for name in numbers if shape[name] == common]
    return alike if math.isqrt(len(alike)) ** 2 == len(alike) else alike[1:]


def _pictures(columns: Sequence[Any], where: str) -> tuple[Any, Any]:
    """Return pixels as an array, uint8 of shape (n, side, side), and which of its rows can be used, bool of (n,)."""
    if len(columns) == 1:
        rows = [_numbers(cell) for cell in columns[0].to_pylist()]
        size = Counter(map(len, rows)).most_common(1)[0][0]
        pixels = np.stack([row if len(row) == size else np.full(size, -1) for row in rows])
    else:
        pixels = np.stack([np.asarray(column) for column in columns], axis=1)
    usable: Any = ((pixels >= 0) & (pixels <= 255)).all(axis=1)  # a missing one, NaN, is neither
    side = math.isqrt(pixels.shape[1])
    if side * side != pixels.shape[1] or not usable.any():
        received = f"{pixels.shape[1]:,} of them, {usable.sum():,} of {len(usable):,} rows in 0..255"
        raise DataError(f"the pixels of {where} must be a square of whole numbers in 0..255", received, _WAY)
    pixels = (pixels if usable.all() else np.where(usable[:, None], pixels, 0)).astype(np.uint8)
    return pixels.reshape(-1, side, side), usable


def _numbers(cell: object) -> NDArray[np.int64]:
    try:
        return np.array(str(cell).split(), dtype=np.int64)
    except ValueError:
        return np.zeros(0, np.int64)


def _label_and_split(
    rest: dict[str, Any], where: str, label: str | None, *, needed: bool
) -> tuple[list[Any] | None, list[Split] | None]:
    """Return the labels among the columns that hold no pixels, and the parts, each None where there are none."""
    values = {name: column.to_pylist() for name, column in rest.items()}
    splits = None
    for name in list(values):
        parts = {cell: part_of(cell) for cell in dict.fromkeys(values[name])}
        if name != label and parts and None not in parts.values():
            splits = [parts[cell] for cell in values.pop(name)]
    called = [name for name in values if name == label or name.strip().lower() in ("label", "class", "target", "y")]
    chosen = [label] if label in values else called or list(values)
    if len(chosen) != 1 or (label is not None and label not in values):
        if not needed and label is None:
            return None, splits  # type: ignore[return-value]
        received = f"the columns {', '.join(values) or 'of pixels alone'}"
        raise DataError(
            f"{where} must have one column of labels beside its pixels", received, "name it: --label-column"
        )
    return values[chosen[0]], splits  # type: ignore[return-value]


def _is_pixel(cell: str) -> bool:
    return cell.isdecimal() and len(cell) < 4 and int(cell) < 256


def _in_one_cell(cell: object) -> bool:
    numbers = str(cell).split(" ") if isinstance(cell, str) and " " in cell else []
    return len(numbers) >= LEAST_PIXELS and all(_is_pixel(number) for number in numbers)
