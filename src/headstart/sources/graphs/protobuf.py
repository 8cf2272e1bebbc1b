"""The protobuf wire format, read field by field: enough to look into a file before anything else opens it."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5
DEEPEST = 100
"""Messages inside messages; protobuf itself refuses more."""


class Damaged(ValueError):
    """Bytes that are no message."""


def view(path: Path) -> memoryview:
    """Return the bytes of a file without reading those that nobody looks at.

    Raises:
        Damaged: the file is empty.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise Damaged("an empty file")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the values of the counted field `number`: messages, strings or bytes, in order."""
    for field, value in fields(data):
        if field == number and isinstance(value, memoryview):
            yield value


def text(data: memoryview) -> str:
    """Return a string field.

    Raises:
        Damaged: no UTF-8.
    """
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise Damaged("a name that is no UTF-8") from error


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message: a view of counted bytes, or a whole number.

    Raises:
        Damaged: a field ends beyond the message, or is of a kind that protobuf no longer has.
    """
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise Damaged("a field without a number")
        if kind == VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == COUNTED:
            size, position = _varint(data, position)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise Damaged(f"a field of the unknown kind {kind}")
        if position + size > end:
            raise Damaged("it ends in the middle of a field")
        if kind == COUNTED:
            yield number, data[position : position + size]
        else:
            yield number, int.from_bytes(data[position : position + size], "little")
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if position >= len(data):
            raise Damaged("it ends in the middle of a field")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, position
    raise Damaged("a number of more than 10 bytes")
