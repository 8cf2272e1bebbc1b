"""The files that cells of a table name: by path, by name, or by stem, anywhere below the table or a further folder."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from headstart.base.errors import list_some
from headstart.data.audio.formats import SOUND_SUFFIXES
from headstart.data.dataset import BadExample
from headstart.data.file_tree import Folder, Tree, is_litter, suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.text import TEXT_SUFFIXES

EXAMPLES = IMAGE_SUFFIXES | SOUND_SUFFIXES | TEXT_SUFFIXES
"""The suffixes of files that can be examples."""

_DEEPEST = 8  # folders at the beginning of a path that may be others


class NamedFiles:
    """What a table in `tree` may name; the files are listed when a cell is no path to one of them, and not before."""

    def __init__(self, tree: Tree, root: Path | None = None, *, base: str = "") -> None:
        self.tree, self._root = tree, root
        self._base = f"{base}/" if base else ""  # where the table lies in the tree
        self._listed = not isinstance(tree, Folder)

    def below(self, base: str) -> NamedFiles:
        """Return the same files for a table that lies in a folder of the tree."""
        files = NamedFiles(self.tree, self._root, base=base)
        files._paths, files._by_name, files._by_stem, files._listed = self._paths, self._by_name, self._by_stem, True
        return files

    @property
    def examples(self) -> list[str]:
        """The paths of the files that can be examples."""
        return [path for path in self._paths if suffix_of(path) in EXAMPLES]

    @property
    def count(self) -> int:
        """How many files below the folder of the table can be examples; of all where none lies there."""
        return sum(path.startswith(self._base) for path in self.examples) or len(self.examples)

    def is_path(self, cell: str) -> bool:
        """Return whether a cell is the path of a file, from the folder of the table."""
        if "\0" in cell or not cell:
            return False
        if self._listed and not (isinstance(self.tree, Folder) and cell.startswith(("../", "/"))):
            return cell in self._paths
        return os.path.isfile(os.path.join(self.tree.where, cell))  # noqa: PTH113, PTH118 - cells by the thousand

    def fit(self, cells: Sequence[object]) -> tuple[float, int]:
        """Return the share of cells, in 0..1, that name a file, be it one of several, and how they have to be read.

        That is how many folders at their beginning are left out, since the files lie in others.
        """
        texts = [_tidy(cell) for cell in cells]
        if not texts or all(self.is_path(text) for text in texts):
            return float(bool(texts)), 0
        shares = [
            sum(bool(self._candidates(text, skip)) for text in texts) / len(texts)
            for skip in range(min(_DEEPEST, max(text.count("/") for text in texts)) + 1)
        ]
        return max(shares), next(skip for skip, share in enumerate(shares) if share >= max(shares) / 2)

    def paths(self, cells: Sequence[object]) -> set[str]:
        """Return the paths of the files that cells name."""
        skip = self.fit(cells)[1]
        return {path for cell in cells for path in self._candidates(_tidy(cell), skip)}

    def find(self, cell: str, skip: int = 0) -> str:
        """Return the path of the file that a cell names, without its first `skip` folders; the cell itself for none.

        Raises:
            BadExample: it names several.
        """
        text = _tidy(cell)
        candidates = self._candidates(text, skip)
        if "://" in text:  # a URL names no file, whatever it ends in
            return text
        if len(candidates) > 1:
            raise BadExample(f"names {len(candidates)} files: {list_some(candidates, 2)}")
        return candidates[0] if candidates else text

    def _candidates(self, text: str, skip: int) -> list[str]:
        self._listed = bool(self._paths) or self._listed
        if self._base + text in self._paths:
            return [self._base + text]
        if self.is_path(text):
            return [text]
        text = text.split("/", min(skip, text.count("/")))[-1]
        name = text.rpartition("/")[2]
        paths = self._by_name.get(name) if name else ()
        stems = paths is None
        if paths is None:
            paths = self._by_stem.get(name, ())
        if "/" in text:
            paths = [path for path in paths if f"/{_stem(path) if stems else path}".endswith(f"/{text}")]
        return [path for path in paths if path.startswith(self._base)] or list(paths)

    @cached_property
    def _paths(self) -> dict[str, None]:
        paths = [file.path for file in self.tree.files if not is_litter(file.path)]
        if self._root is not None:
            here = os.path.realpath(self.tree.where) + "/"
            further = Folder(self._root)
            for file in further.files:
                full = os.path.join(os.path.abspath(further.where), file.path)  # noqa: PTH100, PTH118 - many
                if not is_litter(file.path) and not os.path.realpath(full).startswith(here):
                    paths.append(full)
        return dict.fromkeys(paths)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        paths = defaultdict(list)
        for path in self._paths:
            paths[path.rpartition("/")[2]].append(path)
        return dict(paths)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """The paths by their names without a suffix; files that are no examples count where there is no other."""
        paths: dict[str, list[str]] = defaultdict(list)
        for usual in (True, False):
            known = set(paths)
            for path in self._paths:
                stem = _stem(path).rpartition("/")[2]
                if (suffix_of(path) in EXAMPLES) is usual and stem not in known:
                    paths[stem].append(path)
        return dict(paths)


def _tidy(cell: object) -> str:
    text = str(cell).strip()
    text = text.replace("\\", "/") if "\\" in text and "/" not in text else text
    return text.removeprefix("./")


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]  # noqa: PTH122 - three times as fast as pathlib
