"""Texts: from bytes to characters, in whatever encoding they were written; and the tokens that a source reads."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import BadExample, Dataset

TEXT_SUFFIXES = frozenset({".txt", ".text", ".md"})
UTF8 = "UTF-8"

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", UTF8),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_CONTROL = bytes({*range(32)} - set(b"\t\n\f\r"))
_UNMARKED = 16  # bytes: the shortest text that is taken for UTF-16 without a byte order mark


class Undecodable(ValueError):
    """Bytes that are text in no encoding we accept: the first that is not UTF-8, and its offset."""

    def __init__(self, offset: int, byte: int) -> None:
        super().__init__(f"not UTF-8 (byte 0x{byte:02x} at {offset:,}), nor any other text")
        self.offset, self.byte = offset, byte


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as a source reads it."""

    # ids of tokens, int32 of shape (length,) each: one piece, or several where a long text is cut into them
    pieces: tuple[NDArray[np.int32], ...]
    total: int  # how many tokens the text has, as far as it was looked at; for word vectors, how many words
    used: int  # how many of them are in the pieces


def decode_text(data: bytes) -> tuple[str, str]:
    """Return the text in `data`, and the name of its encoding.

    UTF-8 comes first; then UTF-16 and UTF-32 by their byte order marks, UTF-16 without one by its zero bytes, and
    Windows-1252, of which Latin-1 text is a part. Nothing is replaced: bytes that none of them explains are
    Undecodable.
    """
    if data.isascii() and b"\0" not in data:  # what most texts are, told at once
        return data.decode("ascii"), UTF8
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(codec), name
            except UnicodeDecodeError as error:
                raise Undecodable(error.start, data[min(error.start, len(data) - 1)]) from error
    wide = _unmarked(data)
    if wide:
        try:
            return data.decode(wide), "UTF-16"
        except UnicodeDecodeError:
            pass  # zero bytes of another origin: judged as what follows
    try:
        return data.decode("utf-8"), UTF8
    except UnicodeDecodeError as error:
        if data.translate(None, _CONTROL) == data:
            try:
                return data.decode("cp1252"), "Windows-1252"
            except UnicodeDecodeError:
                pass  # a byte that this encoding does not define either
        raise Undecodable(error.start, data[error.start]) from error


def text_of(data: bytes) -> str:
    """Return the text in the bytes of one example; raises BadExample where they are no text, or a blank one."""
    try:
        text, _ = decode_text(data)
    except Undecodable as error:
        raise BadExample(str(error)) from error
    if not text.strip("\0") or text.isspace():
        raise BadExample("empty")
    return text


def remarks(data: bytes) -> tuple[str, ...]:
    """Return what is odd about a text: that it is not in UTF-8; BadExample where it cannot be read, or is blank."""
    text_of(data)
    name = decode_text(data)[1]
    return () if name == UTF8 else (f"texts that are not in UTF-8, read as {name}",)


def text_bytes(item: object) -> bytes:
    """Return a text given from Python as bytes: a str is the text itself, a path is read, bytes pass through.

    Raises:
        BadExample: it is none of these, holds half a surrogate pair, or the file cannot be read.
    """
    if isinstance(item, str):
        try:
            return item.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadExample(f"half a surrogate pair at character {error.start:,}") from error
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    if isinstance(item, os.PathLike):
        from headstart.data.file_tree import read_file

        return read_file(os.fspath(item))
    raise BadExample(f"not a str, a path or bytes ({type(item).__name__})")


def text_reader(texts: Sequence[object]) -> Callable[[int], bytes]:
    """Return what a Dataset reads texts in memory with."""

    def read(position: int) -> bytes:
        return text_bytes(texts[position])

    return read


def _unmarked(data: bytes) -> str:
    """Return the codec of UTF-16 without a byte order mark, or "": zero bytes at every other place, and only there."""
    if len(data) < _UNMARKED or len(data) % 2:
        return ""
    start = data[: 1 << 16]
    even, odd = start[::2].count(0), start[1::2].count(0)
    if min(even, odd) or max(even, odd) * 5 < len(start) * 2:
        return ""
    return "utf-16-le" if odd else "utf-16-be"


def texts_at(dataset: Dataset, positions: Sequence[int]) -> tuple[str, ...]:
    """Return the texts at some positions of a data set; raises BadExample where one is gone since it was read."""
    return tuple(text_of(dataset.read(position)) for position in positions)
