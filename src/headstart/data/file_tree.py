"""Trees of files: what lies below a folder, or inside an archive, listed once and read in place.

A tree knows nothing of classes or tables. Whatever is read through it stays inside it: links that lead out (unless
they are to be followed) and anything that is not a regular file are reported and never opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from headstart.data.dataset import BadExample

MAX_BYTES = 64 * 2**20
"""The largest example that is read; a larger file is skipped as "too large" before a byte of it is."""

LITTER = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}
)
"""Names, lower case, that systems leave in folders; names that begin with a dot are litter too."""

OUTSIDE, TO_FOLDER = "link to outside", "link to a folder"
"""Why a link was not followed; each such link is followed where that is allowed."""

_REASONS = {
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ELOOP: "link in a circle",
    errno.ENAMETOOLONG: "name too long",
    errno.EIO: "read error",
}


class File(NamedTuple):
    """One file of a tree: its path inside the tree with `/`, and why it cannot be read (empty when it can)."""

    path: str
    problem: str = ""


class Tree(Protocol):
    """Files below one root."""

    where: str  # what to call the tree in an error: the path of its folder or archive

    @property
    def files(self) -> Sequence[File]:
        """Every file, sorted by path, litter included."""

    @property
    def folders(self) -> AbstractSet[str]:
        """The path of every folder, empty ones included."""

    def read(self, path: str, *, limit: int = MAX_BYTES, absent: str = "vanished", begin: bool = False) -> bytes:
        """Return the bytes of one file (none of an empty one); safe to call from several threads; raises BadExample.

        Args:
            path: its path inside the tree.
            limit: the largest size in bytes that is read.
            absent: the reason to give when there is no such file.
            begin: give the first `limit + 1` bytes of a larger file, and do not refuse it.
        """


def file_reader(
    tree: Tree, paths: Sequence[str], *, absent: str = "vanished", begin: bool = False
) -> Callable[[int], bytes]:
    """Return what a Dataset reads files of a tree with; for `absent` and `begin` see `Tree.read`."""

    def read(position: int) -> bytes:
        return tree.read(paths[position], absent=absent, begin=begin)

    return read


class Folder:
    """The files below a folder on disk, a Tree; paths may also lead out of `root` into a further folder, `reach`.

    Links lead where paths may; with `follow_links`, anywhere. A folder that several links lead to is listed once.
    """

    def __init__(self, root: Path, *, reach: Path | None = None, follow_links: bool = False) -> None:
        self.where, self._root = str(root), root
        self._reach = tuple(os.path.realpath(folder) for folder in (root, reach) if folder is not None)
        self._follow = follow_links

    @cached_property
    def _listing(self) -> tuple[list[File], set[str]]:
        return _Walk(self.where, ("/",) if self._follow else self._reach).listed()

    @property
    def files(self) -> Sequence[File]:
        """Every file, sorted by path."""
        return self._listing[0]

    @property
    def folders(self) -> AbstractSet[str]:
        """The path of every folder."""
        return self._listing[1]

    def read(self, path: str, *, limit: int = MAX_BYTES, absent: str = "vanished", begin: bool = False) -> bytes:
        """Return the bytes of one file; raises BadExample."""
        within = () if self._follow else self._reach
        return read_file(str(self._root / path), within=within, limit=limit, absent=absent, begin=begin)


class Subtree:
    """One folder of a tree, as a tree."""

    def __init__(self, tree: Tree, folder: str) -> None:
        self.where, self._tree, self._prefix = f"{tree.where}/{folder}", tree, f"{folder}/"
        start = len(self._prefix)
        below = [file for file in tree.files if file.path.startswith(self._prefix)]
        self.files = [File(file.path[start:], file.problem) for file in below]
        self.folders = {path[start:] for path in tree.folders if path.startswith(self._prefix)}

    def outer(self, path: str) -> tuple[Tree, str]:
        """Return the tree that it is a part of, and the path of one of its files there."""
        return self._tree, self._prefix + path

    def read(self, path: str, *, limit: int = MAX_BYTES, absent: str = "vanished", begin: bool = False) -> bytes:
        """Return the bytes of one file; raises BadExample."""
        return self._tree.read(self._prefix + path, limit=limit, absent=absent, begin=begin)


def suffix_of(path: str) -> str:
    """Return the suffix of a file name in lower case, with its dot (".jpg"), or an empty string."""
    dot, name = path.rfind("."), path.rfind("/") + 1
    # Dots at the beginning of a name begin no suffix.
    return path[dot:].lower() if dot > name and path[name:dot].strip(".") else ""


def is_litter(path: str) -> bool:
    """Return whether a path leads through a hidden file or folder, or one that systems leave behind."""
    folder, _, name = path.rpartition("/")
    return name.startswith(".") or name.lower() in LITTER or (folder != "" and _is_litter_folder(folder))


@lru_cache(maxsize=1 << 16)
def _is_litter_folder(folder: str) -> bool:
    return any(part.startswith(".") or part.lower() in LITTER for part in folder.split("/"))


def parents(path: str) -> list[str]:
    """Return the folders above `path` inside its tree, outermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def read_file(
    path: str, *, within: Sequence[str] = (), limit: int = MAX_BYTES, absent: str = "vanished", begin: bool = False
) -> bytes:
    """Return the bytes of a regular file on disk, links followed, with `limit`, `absent` and `begin` as in `Tree.read`.

    Devices, pipes and sockets are never opened: opening a pipe would wait for its writer.

    Raises:
        BadExample: it cannot be read, or does not end up in one of the folders `within` (real paths; empty allows any).
    """
    try:
        real = os.path.realpath(path)
        if within and not _is_inside(real, within):
            raise BadExample(OUTSIDE)
        if not stat.S_ISREG(os.lstat(real).st_mode):
            raise BadExample("link in a circle" if os.path.islink(real) else "not a regular file")  # noqa: PTH114
        # Whatever takes the file's place after this check is not waited for, nor followed.
        handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor has no path
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise BadExample("not a regular file")
            if state.st_size > limit and not begin:
                raise BadExample("too large")
            return file.read(min(state.st_size, limit + 1))
    except OSError as error:
        raise BadExample(reason_of(error, absent)) from error
    except ValueError as error:
        raise BadExample("name holds a NUL byte") from error


def reason_of(error: OSError, absent: str = "vanished") -> str:
    """Return the reason in an OSError as a short clause."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        return absent
    return _REASONS.get(error.errno or 0, (error.strerror or type(error).__name__).lower())


def _is_inside(real: str, folders: Sequence[str]) -> bool:
    return any(real == folder or real.startswith(f"{folder.rstrip('/')}/") for folder in folders)


class _Walk:
    """Lists what lies below `root`; a link to a folder is followed into the real paths `reach[1:]`, or "/"."""

    def __init__(self, root: str, reach: Sequence[str]) -> None:
        self._root, self._real, self._reach = root, os.path.realpath(root), reach
        self._entered: set[str] = set()  # the real paths of the folders that links led to
        self._links: list[tuple[str, str]] = []  # to folders: the path of each, and where it leads
        self._files: list[File] = []
        self._folders: set[str] = set()

    def listed(self) -> tuple[list[File], set[str]]:
        """Return the files, sorted, and the folders."""
        self._enter("", "")
        while self._links:
            links, self._links = sorted(self._links), []
            for path, real in links:
                self._follow(path, real)
        self._files.sort()
        return self._files, self._folders

    def _follow(self, path: str, real: str) -> None:
        if real in self._entered or _is_inside(real, (self._real,)):
            self._files.append(File(path, "link to a folder that is listed already"))
        else:
            self._folders.add(path)
            self._enter(path, real)

    def _enter(self, folder: str, real: str) -> None:
        """List one folder to any depth; `real` is its real path where a link led to it, else empty."""
        waiting = [(folder, real)]
        while waiting:
            folder, real = waiting.pop()
            if real:
                if real in self._entered:
                    continue
                self._entered.add(real)
            try:
                entries = os.scandir(f"{self._root}/{folder}")
            except OSError as error:
                self._files.append(File(folder or ".", reason_of(error)))
                continue
            with entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        self._folders.add(path)
                        waiting.append((path, f"{real}/{entry.name}" if real else ""))
                    elif entry.is_file(follow_symlinks=False):
                        self._files.append(File(path))
                    else:
                        self._add(path, entry)

    def _add(self, path: str, entry: os.DirEntry[str]) -> None:
        """Add what is no file and no folder itself."""
        problem = "not a regular file"
        if entry.is_symlink():
            try:
                mode = entry.stat().st_mode
            except OSError as error:
                self._files.append(File(path, reason_of(error, absent="link to nothing")))
                return
            real = os.path.realpath(entry.path)
            if stat.S_ISDIR(mode):
                circle = _is_inside(self._real, (real,))
                if not circle and _is_inside(real, self._reach if self._reach == ("/",) else self._reach[1:]):
                    self._links.append((path, real))
                    return
                problem = "link in a circle" if circle else TO_FOLDER
            elif stat.S_ISREG(mode):
                problem = "" if _is_inside(real, self._reach) else OUTSIDE
        self._files.append(File(path, problem))
