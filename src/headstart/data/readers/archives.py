"""Tar and zip archives as trees: members are read in place by their offset, and nothing is ever unpacked.

An archive that could write or read outside itself (members with `..`, absolute names, links, devices) is refused
as a whole: no honest tool makes one out of a folder of photos.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import sys
import tarfile
import weakref
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from headstart.base.errors import DataError
from headstart.data.dataset import BadExample
from headstart.data.file_tree import MAX_BYTES, File, Subtree, Tree, parents

ARCHIVE_SUFFIXES = (".zip", ".tar")
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz")

MAX_GROWTH = 100
"""A zip may unpack to this many times its size; photos do to about 1, tables of words to 10."""
LEAST_GROWN = 64 << 20
"""Bytes that any zip may unpack to."""
PACK_AGAIN = "pack the files themselves again, from the folder that holds them"

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_ZIP_HEADER = struct.Struct("<4s22xHH")  # signature, then the lengths of name and extra field
_STORED, _DEFLATED = 0, 8
_BLOCK = 512
_PIECE = 1 << 14  # packed bytes that are unpacked at once


_CODES = 512  # bytes that the codes of a deflated block take at most


class _Member(NamedTuple):
    offset: int
    packed: int
    size: int
    method: int
    checksum: int | None
    problem: str


class _Header(tarfile.TarInfo):
    """A tar header of which only name, type and size are parsed: half the time of listing is what else it holds."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        """Return an ordinary header (file, folder, pax record, long name) by its bytes; leave others to tarfile."""
        data, kind, checksum_field = bytes(buf), bytes(buf[156:157]), bytes(buf[148:156])
        if len(data) != _BLOCK or kind not in (b"0", b"5", b"x", b"L"):
            return super().frombuf(buf, encoding, errors)
        try:
            checksum, size = int(checksum_field.strip(b"\0 "), 8), int(data[124:136].strip(b"\0 "), 8)
        except ValueError:  # a size beyond 8 GiB is no octal number
            return super().frombuf(buf, encoding, errors)
        if checksum != sum(data) - sum(checksum_field) + 8 * 32:
            return super().frombuf(buf, encoding, errors)
        name, prefix = (data[at:end].partition(b"\0")[0].decode(encoding, errors) for at, end in ((0, 100), (345, 500)))
        header = cls(f"{prefix}/{name}" if prefix and kind != b"L" else name)
        header.type, header.size = kind, size
        return header


class _Stretch(io.RawIOBase):
    """A stretch of an open file, as a file that is read; the descriptor is closed when nothing reads it any more."""

    def __init__(self, handle: int, start: int, size: int, *, owner: object = None) -> None:
        self.handle, self.start, self.size, self._at, self.owner = handle, start, size, 0, owner
        if owner is None:
            weakref.finalize(self, os.close, handle)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self.handle, min(len(buffer), max(self.size - self._at, 0)), self.start + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self.size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at


class Archive:
    """The members of one archive file by normalised name, read by offset; the last of equal names, as in unpacking."""

    def __init__(self, where: str, file: _Stretch, members: dict[str, _Member], folders: set[str]) -> None:
        self.where, self._members, self._file = where, members, file
        self.files = sorted(File(name, member.problem) for name, member in members.items())
        self.folders = folders.union(*(parents(name) for name in members))

    def inner(self, path: str) -> Archive:
        """Return an archive that is a member, read in place as well; DataError where it is packed."""
        member, where = self._members[path], f"{self.where}/{path}"
        start = member.offset
        if member.checksum is not None:
            _, name, extra = _ZIP_HEADER.unpack(self._span(member.offset, _ZIP_HEADER.size))
            start += _ZIP_HEADER.size + name + extra
        if member.method != _STORED or member.problem:
            received = "a member that is compressed"
            raise DataError(f"{where} must be stored as it is, to be read in place", received, f"unpack {self.where}")
        return _open(where, _Stretch(self._file.handle, self._file.start + start, member.size, owner=self._file))

    def read(self, path: str, *, limit: int = MAX_BYTES, absent: str = "vanished", begin: bool = False) -> bytes:
        """Return the bytes of one file; raises BadExample."""
        member = self._members.get(path)
        if member is None:
            raise BadExample(absent)
        if member.problem:
            raise BadExample(member.problem)
        if max(member.size, member.packed) > limit and not begin:
            raise BadExample("too large")
        try:
            if member.checksum is None:
                return self._span(member.offset, min(member.size, limit + 1))
            return self._unzip(member, limit + 1)
        except OSError as error:
            raise BadExample("read error") from error

    def _span(self, offset: int, size: int) -> bytes:
        data = os.pread(self._file.handle, size, self._file.start + offset)
        if len(data) != size:
            raise BadExample("truncated")
        return data

    def _unzip(self, member: _Member, most: int) -> bytes:
        signature, name, extra = _ZIP_HEADER.unpack(self._span(member.offset, _ZIP_HEADER.size))
        if signature != b"PK\x03\x04":
            raise BadExample("damaged in the archive")
        data = self._span(
            member.offset + _ZIP_HEADER.size + name + extra, min(member.packed, most + (most >> 8) + _CODES)
        )  # incompressible bytes grow a little, and the codes of a block come first
        if member.method == _DEFLATED:
            # One byte more than was promised is enough to tell a lie; the rest of a bomb stays packed.
            try:
                data = zlib.decompressobj(-15).decompress(data, min(member.size + 1, most))
            except zlib.error as error:
                raise BadExample("damaged in the archive") from error
        data = data[:most] if member.size >= most else data
        if member.size >= most and len(data) == most:  # of its beginning there is no checksum
            return data
        if len(data) != member.size or zlib.crc32(data) != member.checksum:
            raise BadExample("damaged in the archive")
        return data


def is_archive(head: bytes, name: str) -> bool:
    """Return whether the beginning of a file, or its name, says that it is an archive, one that is refused included."""
    begins = head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or head[257:262] == b"ustar"
    return begins or name.lower().endswith((*ARCHIVE_SUFFIXES, *COMPRESSED_TARS))


def open_archive(path: Path) -> Archive:
    """Return the members of a zip or tar, which its content tells, as a tree.

    Raises:
        DataError: it is compressed as a whole, encrypted, truncated, or holds a member that leads out of it
            or overlaps another, or unpacks to more than `MAX_GROWTH` times its size.
    """
    if path.name.lower().endswith(COMPRESSED_TARS):
        raise _compressed(str(path), path.name[path.name.lower().rindex(".t") :])
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(f"{path} must be readable", error.strerror or error, "check the file and its rights") from error
    return _open(str(path), _Stretch(handle, 0, os.fstat(handle).st_size))


def inner_archive(tree: Tree, path: str) -> Archive:
    """Return an archive that is a file of a tree, read in place; DataError where it cannot be."""
    while isinstance(tree, Subtree):
        tree, path = tree.outer(path)
    return tree.inner(path) if isinstance(tree, Archive) else open_archive(Path(tree.where, path))


def gunzip(data: bytes, where: str, *, limit: int = sys.maxsize, least_grown: int = LEAST_GROWN) -> bytes:
    """Return what a gzip file of one stream or several holds, of at most `limit` bytes.

    Raises:
        DataError: it is damaged, or unpacks to more than `MAX_GROWTH` times its size and than `least_grown` bytes.
    """
    most, parts, size, offset = min(max(MAX_GROWTH * len(data), least_grown), limit), [], 0, 0
    end, packed = len(data.rstrip(b"\0")), memoryview(data)  # zeros may follow the last stream
    kept = int.from_bytes(data[-4:], "little") <= most  # the size of the last stream ends it; if damaged, that is seen
    while offset < end:
        stream = zlib.decompressobj(31)
        while not stream.eof:
            if offset == len(packed):
                raise _broken(where, "it is cut off")
            try:
                part = stream.decompress(packed[offset : offset + _PIECE], most - size + 1)
            except zlib.error as error:
                raise _broken(where, str(error)) from error
            offset, size = min(offset + _PIECE, len(packed)), size + len(part)
            parts.append(part if kept else b"")
            if size > most:
                do = "unpack it and give what it holds in several files"
                raise DataError(f"{where} must unpack to at most {most >> 20:,} MiB", "more, and the rest was left", do)
        offset -= len(stream.unused_data)
    return b"".join(parts)


def _open(where: str, file: _Stretch) -> Archive:
    head = os.pread(file.handle, min(8, file.size), file.start)
    for magic, name in _COMPRESSIONS.items():
        if head.startswith(magic):
            raise _compressed(where, name)
    is_zip = head.startswith(b"PK") or where.lower().endswith(".zip")
    return _open_zip(where, file) if is_zip else _open_tar(where, file)


def _compressed(path: str, compression: str) -> DataError:
    return DataError(
        f"{path} must be readable in place, a .tar without compression or a .zip",
        compression,
        "decompress it first (photos do not shrink), or unpack it and name the folder",
    )


def _broken(path: str, what: str) -> DataError:
    return DataError(f"{path} must be a whole archive", what, "copy or download it again, or name the unpacked folder")


def _open_tar(path: str, file: _Stretch) -> Archive:
    members: dict[str, _Member] = {}
    folders: set[str] = set()
    try:
        buffered = io.BufferedReader(file)
        with tarfile.open(path, "r:", buffered, encoding="utf-8", errors="surrogateescape", tarinfo=_Header) as tar:
            for info in tar:
                name = _checked(path, info.name, _kind_of_tar(info))
                if info.isdir():
                    folders.update([*parents(name), name] if name else [])
                    continue
                problem = "stored with holes" if info.issparse() else ""
                members[name] = _Member(info.offset_data, info.size, info.size, _STORED, None, problem)
            end = tar.offset
    except DataError:  # which is a ValueError too
        raise
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise _broken(path, str(error)) from error
    # A damaged header ends tarfile's listing in silence; only a block of zeros is an end.
    if os.pread(file.handle, min(_BLOCK, max(file.size - end, 0)), file.start + end) != bytes(_BLOCK):
        raise _broken(path, f"no end of archive at byte {end:,}: it is cut off or damaged there")
    buffered.detach()
    return Archive(path, file, members, folders)


def _kind_of_tar(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "a link"
    return "" if info.isreg() or info.isdir() else "a device or pipe"


def _open_zip(path: str, file: _Stretch) -> Archive:
    members: dict[str, _Member] = {}
    folders: set[str] = set()
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise _broken(path, str(error)) from error
    _check_sizes(path, infos, file.size)
    for info in infos:
        stored = _name_in_zip(info)
        name = _checked(path, stored, _kind_of_zip(info))
        if stored.endswith("/"):
            folders.update([*parents(name), name] if name else [])
            continue
        if info.flag_bits & 1:
            raise DataError(f"{path} must not be encrypted", f"an encrypted member, {name}", "unpack it first")
        readable = info.compress_type in (_STORED, _DEFLATED)
        problem = "" if readable else f"packed by zip method {info.compress_type}"
        members[name] = _Member(
            info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC, problem
        )
    return Archive(path, file, members, folders)


def _check_sizes(path: str, infos: list[zipfile.ZipInfo], size: int) -> None:
    """Raise DataError where members share bytes of the file, or all together unpack to far more than it holds."""
    end, before = 0, ""
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise DataError(
                f"{path} must hold each member once, at a place of its own",
                f"{info.filename}, which overlaps {before}; nothing was unpacked",
                PACK_AGAIN,
            )
        end, before = info.header_offset + _ZIP_HEADER.size + info.compress_size, info.filename
    total = sum(info.file_size for info in infos)
    if total > max(MAX_GROWTH * size, LEAST_GROWN):
        raise DataError(
            f"{path} must unpack to at most {MAX_GROWTH} times its size",
            f"{total / size:,.0f} times ({total >> 20:,} MiB); nothing was unpacked",
            PACK_AGAIN,
        )


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & 0x800:
        # Without the flag the name is said to be in code page 437; in truth it is in the writer's own encoding.
        name = info.orig_filename.split("\0")[0].encode("cp437").decode("utf-8", "surrogateescape")
    return name.replace("\\", "/") if info.create_system == 0 else name


def _kind_of_zip(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "a link"
    return "" if stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR) else "a device or pipe"


def _checked(path: str, name: str, kind: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", name):
        kind = "an absolute name"
    elif ".." in name.replace("\\", "/").split("/"):
        kind = "a name that leads out of the archive"
    if kind:
        raise DataError(
            f"{path} must hold plain files and folders with names inside it",
            f"{name} ({kind}); nothing was unpacked",
            PACK_AGAIN,
        )
    return "/".join(parts)
