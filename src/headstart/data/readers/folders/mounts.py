"""Archives inside of a folder or an archive, one level: each is a folder, read in place."""

from __future__ import annotations

import os
from collections.abc import Mapping

from headstart.base.errors import DataError
from headstart.data.audio.formats import SOUND_SUFFIXES
from headstart.data.file_tree import MAX_BYTES, File, Subtree, Tree, is_litter, suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.readers.archives import inner_archive, is_archive
from headstart.data.readers.arrays.array_files import has_arrays
from headstart.data.readers.containers import foreign_format, head_of

MOST = 256
"""How many archives one folder may hold: each is an open file."""


class Mounted:
    """A tree with the archives in it as folders, called as they are without a suffix; a Tree."""

    def __init__(self, tree: Tree, archives: Mapping[str, Tree], packed: set[str]) -> None:
        self.where, self._tree, self._archives = tree.where, tree, archives
        inner = [(name, file) for name, archive in archives.items() for file in archive.files]
        outer = [file for file in tree.files if file.path not in packed]
        self.files = sorted([*outer, *(File(f"{name}/{file.path}", file.problem) for name, file in inner)])
        below = {f"{name}/{path}" for name, archive in archives.items() for path in archive.folders}
        self.folders = {*tree.folders, *archives, *below}

    def read(self, path: str, *, limit: int = MAX_BYTES, absent: str = "vanished", begin: bool = False) -> bytes:
        """Return the bytes of one file; raises BadExample."""
        top, _, rest = path.partition("/")
        tree, path = (self._archives[top], rest) if top in self._archives else (self._tree, path)
        return tree.read(path, limit=limit, absent=absent, begin=begin)


def mounted(tree: Tree) -> Tree:
    """Return a tree with its archives as folders, where no photo and no recording lies outside of these; else itself.

    Raises:
        DataError: an archive inside cannot be read in place, or there are too many.
    """
    media = (file.path for file in tree.files if suffix_of(file.path) in IMAGE_SUFFIXES | SOUND_SUFFIXES)
    if not all(map(is_litter, media)):
        return tree
    shown = (file.path for file in tree.files if "/" not in file.path and not is_litter(file.path))
    packed = [path for path in shown if _is_packed(tree, path)]
    if len(packed) > MOST:
        raise DataError(
            f"{tree.where} must hold at most {MOST} archives", len(packed), "unpack them and name the folder"
        )
    archives: dict[str, Tree] = {}
    used = set()
    for path in packed:
        name = os.path.splitext(path)[0]  # noqa: PTH122 - a member of an archive is no path on disk
        if name in tree.folders or name in archives:
            continue
        archives[name] = _stepped(inner_archive(tree, path), name)
        used.add(path)
    return Mounted(tree, archives, used) if archives else tree


def _is_packed(tree: Tree, path: str) -> bool:
    if suffix_of(path) not in ("", ".zip", ".tar"):
        return False
    head = head_of(tree, path)
    return is_archive(head, "") and not has_arrays(head) and foreign_format(head, path) is None


def _stepped(tree: Tree, name: str) -> Tree:
    """Step into the one folder of an archive that is called as the archive is."""
    tops = {path for path in tree.folders if "/" not in path and not is_litter(path)}
    beside = [file for file in tree.files if "/" not in file.path and not is_litter(file.path)]
    wrapped = not beside and {top.lower() for top in tops} == {name.lower()}
    return Subtree(tree, tops.pop()) if wrapped else tree
