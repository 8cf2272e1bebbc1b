"""Files of word vectors, indexed once: where each word stands, so that only the words that occur are ever read.

GloVe text (`word v1 … vN`, no header), word2vec text (a header of count and dimension) and word2vec binary are told
apart by what they hold; each may be packed with gzip, or lie in a zip archive.
"""

from __future__ import annotations

import gzip
import json
import mmap
import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b, file_digest, sha256
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.disk import TEMPORARY, reraise_disk_errors, write_atomic
from headstart.base.errors import SourceError, list_some, refusing
from headstart.base.hashing import sha256_file, sha256_json

RECIPE = 2
"""Counts up when an index comes to hold something else."""
CHUNK_BYTES = 2**24  # bytes that are read at a time
SAMPLED_LINES = 100  # lines from which the dimension is found
MAX_BROKEN_SHARE = 0.01
MAX_WORD_BYTES = 2000  # bytes; a longer "word" of a binary file says that its header lies
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
MAX_GROWTH = 100
"""How many times its size a packed file may unpack to; word vectors come to about 3."""
LEAST_GROWN = 4 << 20
"""Bytes that any packed file may unpack to."""
WRITE_AGAIN = "fetch it again, or remove the broken lines"
_NUMERIC = np.ones(256, dtype=bool)
_NUMERIC[list(b"0123456789+-.eE \t")] = False


@dataclass(frozen=True)
class WordFileInfo:
    """What is known of a file of word vectors."""

    form: str  # `text` or `binary`
    words: int  # how many it holds
    width: int  # of a vector
    sha256: str  # of the file as it was given
    broken: int = 0  # how many lines were left out
    notes: tuple[str, ...] = ()  # what its user must be told, one sentence each


@dataclass(frozen=True)
class WordIndex:
    """Where each word of a file, unpacked, stands."""

    path: Path
    about: WordFileInfo
    hashes: NDArray[np.uint64]  # ascending, one a word
    starts: NDArray[np.int64]  # where the line (record) of each of these words begins
    ends: NDArray[np.int64]  # where its numbers end; what stands before them is the word and a space
    sizes: NDArray[np.int32]  # bytes of each word
    ranks: NDArray[np.int32]  # the place of each word in the file, counted from 0

    @cached_property
    def _bytes(self) -> mmap.mmap:
        with self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.madvise(mmap.MADV_RANDOM)
        return mapped

    def place(self, word: bytes) -> int:
        """Return where a word is in the index, or -1; of a word that comes twice, the first."""
        key = np.uint64(hash_of(word))
        low, high = np.searchsorted(self.hashes, key), np.searchsorted(self.hashes, key, side="right")
        for row in range(int(low), int(high)):
            start = int(self.starts[row])
            if self._bytes[start : start + int(self.sizes[row])] == word:
                return row
        return -1

    def vector(self, place: int) -> NDArray[np.float32]:
        """Return the vector of the word at a place, float32 of shape (width,).

        SourceError: it is not made of so many finite numbers.
        """
        start, end = int(self.starts[place]) + int(self.sizes[place]) + 1, int(self.ends[place])
        data = self._bytes[start:end]
        vector = np.frombuffer(data, "<f4") if self.about.form == "binary" else _parsed(data)
        if vector.shape != (self.about.width,) or not np.isfinite(vector).all():
            word = self._bytes[int(self.starts[place]) : start - 1].decode("utf-8", "replace")
            raise SourceError(
                f"every vector of {self.path} must be {self.about.width} finite numbers",
                f"word {int(self.ranks[place]) + 1:,}, {word!r}, is not",
                "fetch the file again, or remove that line",
            )
        return vector.astype(np.float32)


@dataclass
class _Lines:
    """What a scan has found so far; `read` bytes of the file are behind it, and `number` is that of the next line."""

    starts: list[NDArray[np.int64]]
    ends: list[NDArray[np.int64]]
    sizes: list[NDArray[np.int32]]
    hashes: list[NDArray[np.uint64]]
    first_broken: str = ""
    broken: int = 0
    seen: int = 0
    read: int = 0
    number: int = 1


def open_index(path: Path, member: str = "") -> WordIndex:
    """Return the index of a file of word vectors, from the cache where the file is as it was.

    `member` is the file meant in a zip archive; one that holds a single file needs none. SourceError: there is no such
    file, it holds no word vectors, or more than 1 % of its lines are broken. UsageError: the cache cannot be written.
    """
    if not path.is_file():
        raise SourceError("words:PATH must be a file of word vectors", f"no file {path}", "check the path")
    state = path.stat()
    # Writing into a file moves its ctime, which no ordinary tool can set back.
    key = [RECIPE, str(path.resolve()), member, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    folder = cache_dir() / "words"
    cached = folder / f"{sha256_json(key)}.safetensors"
    with path.open("rb") as file:
        start = file.read(4)
    packed = start == ZIP or start.startswith(GZIP)
    plain = cached.with_suffix(".plain") if packed else path
    if (cached_index := _read(cached, plain)) is not None:
        return cached_index
    if member and start != ZIP:
        raise SourceError(f"{path} must be a zip archive to hold {member!r}", "none", f"write words:{path}")
    folder.mkdir(parents=True, exist_ok=True)
    if packed:
        _unpack(path, plain, member, zipped=start == ZIP)
    index = _scan(plain, path, member)
    _write(cached, index)
    return index


def hash_of(word: bytes) -> int:
    """Return the number that an index knows a word by."""
    return int.from_bytes(blake2b(word, digest_size=8).digest(), "little")


def _read(path: Path, plain: Path) -> WordIndex | None:
    from safetensors import SafetensorError, safe_open

    if not (path.is_file() and plain.is_file()):
        return None
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["about"])
            arrays = {name: file.get_tensor(name) for name in ("hashes", "starts", "ends", "sizes", "ranks")}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):
        return None  # absent or damaged: made afresh, which gives the same
    return WordIndex(plain, WordFileInfo(**{**about, "notes": tuple(about["notes"])}), **arrays)


def _write(path: Path, index: WordIndex) -> None:
    from safetensors.numpy import save

    arrays = {name: getattr(index, name) for name in ("hashes", "starts", "ends", "sizes", "ranks")}
    write_atomic(path, save(arrays, metadata={"about": json.dumps(asdict(index.about))}))


def _unpack(path: Path, plain: Path, member: str, *, zipped: bool) -> None:
    """Write what gzip or zip packed beside the index, once, so that single words can be reached.

    SourceError: the archive is damaged, holds no such file or several, or grows beyond `MAX_GROWTH` times its size.
    """
    part = plain.with_name(f"{TEMPORARY}{os.getpid()}-{plain.name}")
    size = path.stat().st_size
    most, kind = max(MAX_GROWTH * size, LEAST_GROWN), "zip" if zipped else "gzip"
    try:
        with (
            refusing(lambda reason: SourceError(f"{path} must be a whole {kind} file", reason, "fetch it again")),
            reraise_disk_errors(plain, size),
            ExitStack() as opened,
        ):
            stream = _member(path, member, opened) if zipped else opened.enter_context(gzip.GzipFile(path))
            with part.open("wb") as file:
                while (data := stream.read(CHUNK_BYTES)) and most >= 0:
                    most -= file.write(data)
            if most < 0:
                grown = f"more than {max(MAX_GROWTH * size, LEAST_GROWN):,} bytes from {size:,}"
                must = f"{path} must unpack to {MAX_GROWTH} times its size at most"
                raise SourceError(must, grown, "name another file")
        part.replace(plain)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _member(path: Path, member: str, opened: ExitStack) -> IO[bytes] | gzip.GzipFile:
    """Return a member of a zip archive, as it is unpacked; it may itself be packed with gzip."""
    archive = opened.enter_context(zipfile.ZipFile(path))
    names = [
        info.filename for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")
    ]
    meant = [name for name in names if member in ("", name, name.rpartition("/")[2])]
    if len(meant) != 1:
        expected = f"the file {member!r}" if member else "one file of word vectors"
        example = meant[0] if meant else names[0] if names else "MEMBER"
        raise SourceError(
            f"{path} must hold {expected}", list_some(meant or names, 8) or "none", f"write words:{path}#{example}"
        )
    stream = opened.enter_context(archive.open(meant[0]))
    packed = stream.read(len(GZIP)) == GZIP
    stream.seek(0)
    return opened.enter_context(gzip.GzipFile(fileobj=stream)) if packed else stream


def _scan(plain: Path, original: Path, member: str) -> WordIndex:
    with plain.open("rb") as file:
        form, start, counted, width = _form(file, original)
        file.seek(0)
        lines, digest = _text(file, start, width) if form == "text" else _binary(file, start, width, original)
    if plain != original:
        digest = sha256_json([sha256_file(original), member]) if member else sha256_file(original)
    starts, ends = np.concatenate(lines.starts), np.concatenate(lines.ends)
    sizes, hashes = np.concatenate(lines.sizes), np.concatenate(lines.hashes)
    if not len(starts):
        raise SourceError(f"{original} must hold word vectors", "none", "name a GloVe or word2vec file")
    if lines.broken > MAX_BROKEN_SHARE * lines.seen:
        share = f"{lines.broken:,} of {lines.seen:,} lines; the first: {lines.first_broken}"
        raise SourceError(
            f"at most {MAX_BROKEN_SHARE:.0%} of the lines of {original} may be broken", share, WRITE_AGAIN
        )
    notes = [f"{lines.broken:,} broken lines of {original} were left out; the first: {lines.first_broken}."]
    notes = notes if lines.broken else []
    if counted is not None and counted != lines.seen:
        notes.append(f"The header of {original} says {counted:,} words; it holds {lines.seen:,}.")
    order = np.argsort(hashes, kind="stable")
    again = int((np.diff(hashes[order]) == 0).sum())
    notes += [f"{again:,} words of {original} stand there more than once; the first of each is used."] * (again > 0)
    about = WordFileInfo(form, len(starts), width, digest, lines.broken, tuple(notes))
    ranks = np.arange(len(starts), dtype=np.int32)
    return WordIndex(plain, about, hashes[order], starts[order], ends[order], sizes[order], ranks[order])


def _form(file: BinaryIO, where: Path) -> tuple[str, int, int | None, int]:
    """Return form, first byte of the first word, the header's count if there is one, and the dimension."""
    first = file.readline(1 << 16)
    header = _header(first)
    start = len(first) if header else 0
    file.seek(start)
    lines = [line for line in (file.readline(1 << 16) for _ in range(SAMPLED_LINES)) if line]
    widths = [_width(line) for line in lines]
    real = [width for width in widths if width]
    if len(real) * 2 > len(lines) or (lines and real and header is None):
        width = max(set(real), key=real.count)
        if header is not None and header[1] != width:
            received = f"a header of {header[1]} numbers and lines of {width}"
            must = f"the header of {where}, line 1, must give the dimension of its lines"
            raise SourceError(must, received, f"write {width} there, or leave the header out")
        return "text", start, header[0] if header else None, width
    if header is None:
        raise SourceError(
            f"{where} must hold word vectors: GloVe text, or word2vec text or binary",
            "a first line that is neither a word with numbers nor a header",
            "name another file",
        )
    return "binary", start, header[0], header[1]


def _header(line: bytes) -> tuple[int, int] | None:
    """Return the count and dimension of a word2vec header, or None."""
    parts = line.split()
    if len(parts) == 2 and all(part.isdigit() for part in parts) and int(parts[1]) > 0:
        return int(parts[0]), int(parts[1])
    return None


def _width(line: bytes) -> int:
    """Return how many numbers stand at the end of a line of text; 0 where it is no such line."""
    parts = line.rstrip(b" \t\r\n").replace(b"\t", b" ").split(b" ")
    count = 0
    for part in reversed(parts[1:]):
        try:
            float(part)
        except ValueError:
            break
        count += 1
    return count if count > 1 and len(parts) > count else 0


def _text(file: BinaryIO, start: int, width: int) -> tuple[_Lines, str]:
    """Find every line, judge it by its spaces and letters, and hash its word; nothing is parsed yet."""
    lines, digest = _Lines([], [], [], []), sha256()
    if start:  # the header is judged by itself
        digest.update(file.read(start))
        lines.read, lines.number = start, 2
    for data in _whole_lines(file, digest):
        _take_lines(data, width, lines)
    return lines, digest.hexdigest()


def _whole_lines(file: BinaryIO, digest: Any) -> Iterator[bytes]:
    """Yield the file in pieces that end with a line, and feed its bytes to a hash."""
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield rest + chunk[:cut]
            rest = chunk[cut:]
        else:
            rest += chunk
    if rest:
        yield rest + b"\n"


def _take_lines(data: bytes, width: int, lines: _Lines) -> None:
    """Judge the lines of one piece, which ends with a line."""
    characters = np.frombuffer(data, dtype=np.uint8)
    breaks = np.flatnonzero(characters == 10)
    starts = np.concatenate([[0], breaks[:-1] + 1])
    ends = breaks.copy()
    for marks in ((13,), (32, 9)):  # a carriage return, or the space that some writers leave at the end of a line
        ends -= (ends > starts) & np.isin(characters[np.maximum(ends - 1, 0)], marks)
    spaces = np.flatnonzero((characters == 32) | (characters == 9))
    low, high = np.searchsorted(spaces, starts), np.searchsorted(spaces, ends)
    count = high - low
    enough = count >= width
    # The numbers are the last fields: a word may hold spaces itself.
    last_spaces = np.where(enough, high - width, 0)
    split = np.where(enough, spaces[np.minimum(last_spaces, max(len(spaces) - 1, 0))] if len(spaces) else 0, ends)
    odd = np.flatnonzero(_NUMERIC[characters])
    letters = np.searchsorted(odd, ends) - np.searchsorted(odd, split)
    good = enough & (letters == 0) & (split > starts)
    blank = ends == starts
    bad = ~good & ~blank
    if bad.any() and not lines.first_broken:
        first = int(np.flatnonzero(bad)[0])
        reason = "letters among its numbers" if count[first] >= width else f"{count[first]} numbers, not {width}"
        lines.first_broken = f"line {lines.number + first:,} has {reason}"
    lines.broken += int(bad.sum())
    lines.seen += int((~blank).sum())
    sizes = (split - starts)[good].astype(np.int32)
    words = [data[one : one + size] for one, size in zip(starts[good].tolist(), sizes.tolist(), strict=True)]
    lines.starts.append(starts[good] + lines.read)
    lines.ends.append(ends[good] + lines.read)
    lines.sizes.append(sizes)
    lines.hashes.append(np.array([hash_of(word) for word in words], dtype=np.uint64))
    lines.read += len(data)
    lines.number += len(starts)


def _binary(file: BufferedReader, start: int, width: int, where: Path) -> tuple[_Lines, str]:
    """Walk the records of a word2vec binary file: a word, a space, and `width` float32, little-endian."""
    record, size = 4 * width, os.fstat(file.fileno()).st_size
    digest = file_digest(file, "sha256").hexdigest()
    entries: list[tuple[int, int, int, int]] = []  # where a record starts and ends, the size of its word, and its hash
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as records:
        position = start
        while position < size:
            if records[position] == 10:
                position += 1
                continue
            space = records.find(b" ", position, position + MAX_WORD_BYTES)
            if space <= position or space + 1 + record > size:
                received = f"record {len(entries) + 1:,}, at byte {position:,}, does not fit it"
                do = "fetch the file again; its header gives the dimension of every record"
                raise SourceError(f"the header of {where} must be true: vectors of {width} numbers", received, do)
            end = space + 1 + record
            entries.append((position, end, space - position, hash_of(records[position:space])))
            position = end
    starts, ends, sizes, hashes = zip(*entries, strict=True) if entries else ((), (), (), ())
    return _Lines(
        [np.array(starts, dtype=np.int64)],
        [np.array(ends, dtype=np.int64)],
        [np.array(sizes, dtype=np.int32)],
        [np.array(hashes, dtype=np.uint64)],
        seen=len(entries),
    ), digest


def _parsed(data: bytes) -> NDArray[np.float32]:
    """Return the numbers in a line; none where one of them is no number."""
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
            return np.array(data.replace(b"\t", b" ").split(b" "), dtype=np.float32)
    except ValueError:
        return np.empty(0, dtype=np.float32)
