"""What the files of a tree are: told by their suffixes, and where a suffix is unknown, by what some such files hold."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from headstart.base.errors import one_line
from headstart.data.audio.formats import SOUND_SUFFIXES, is_recording
from headstart.data.dataset import BadExample
from headstart.data.file_tree import File, Tree, suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES, is_picture
from headstart.data.modality import Kind
from headstart.data.readers.tables.read import TABLE_SUFFIXES, holds_text
from headstart.data.text import TEXT_SUFFIXES

SUFFIXES: dict[Kind, frozenset[str]] = {"image": IMAGE_SUFFIXES, "sound": SOUND_SUFFIXES, "text": TEXT_SUFFIXES}
TABLES = (*TABLE_SUFFIXES, ".parquet")
LOOKED_AT = 8
"""How many files of an unknown suffix are looked at; if more than half of them are of a kind, all such files are."""
_KNOWN: dict[str, Kind | None] = {
    **dict.fromkeys(TABLES),
    **{suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes},
}
_BEGINNING = 1024  # bytes


class FileKinds:
    """Which files are photos, recordings or texts, readable or not.

    Args:
        tree: where they lie.
        files: those that count.
        least_depth: the fewest folders above a file whose content is looked at.
    """

    def __init__(self, tree: Tree, files: Sequence[File], *, least_depth: int = 0) -> None:
        unknown: dict[str, list[str]] = defaultdict(list)
        suffixes: Counter[str] = Counter()
        for file in files:
            suffix = suffix_of(file.path)
            suffixes[suffix] += 1
            if suffix not in _KNOWN and not file.problem and file.path.count("/") >= least_depth:
                unknown[_alike(suffix)].append(file.path)
        self._by_content = {key: _kind_by_content(tree, paths) for key, paths in unknown.items()}
        self.counts: dict[Kind, int] = dict.fromkeys(SUFFIXES, 0)
        for suffix, count in suffixes.items():
            kind = self.kind(suffix and f"file{suffix}")
            if kind is not None:
                self.counts[kind] += count

    @property
    def prevailing(self) -> Kind:
        """What most are: pictures or recordings, whichever are more; texts where some are and no other."""
        if self.counts["sound"] > self.counts["image"]:
            return "sound"
        return "text" if self.counts["text"] and not self.counts["image"] else "image"

    def kind(self, path: str) -> Kind | None:
        """Return what one file is; None for something else."""
        suffix = suffix_of(path)
        return _KNOWN[suffix] if suffix in _KNOWN else self._by_content.get(_alike(suffix))

    def wanted(self, files: Sequence[File]) -> list[str]:
        """Return the paths of the files of the kind that prevails."""
        kind = self.prevailing
        return [file.path for file in files if self.kind(file.path) == kind]

    def by_content(self, paths: Iterable[str]) -> list[str]:
        """Return those of some files of a kind whose content alone tells what they are."""
        some = any(kind is not None for kind in self._by_content.values())
        return [path for path in paths if suffix_of(path) not in _KNOWN] if some else []


def group_by_suffix(paths: Iterable[str], limit: int = 5) -> str:
    """Return how many files have each suffix, with an example of each, the commonest first, on one line."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        groups[suffix_of(path)].append(path)
    ordered = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))
    shown = [f"{len(some):,} × {suffix or 'no suffix'}, such as {some[0]}" for suffix, some in ordered[:limit]]
    more = len(ordered) - limit
    return "; ".join([*map(one_line, shown), *([f"{more:,} more suffixes"] if more > 0 else [])])


def _alike(suffix: str) -> str:
    """Return one key for suffixes that differ in numbers alone, as those of numbered files without a suffix do."""
    return re.sub(r"\d+", "0", suffix)


def _kind_by_content(tree: Tree, paths: Sequence[str]) -> Kind | None:
    looked_at = [paths[int(at)] for at in np.linspace(0, len(paths) - 1, min(LOOKED_AT, len(paths)))]
    kinds: Counter[Kind] = Counter()
    for path in looked_at:
        try:
            data = tree.read(path, limit=_BEGINNING - 1, begin=True)
        except BadExample:
            continue
        if is_picture(data):
            kinds["image"] += 1
        elif is_recording(data):
            kinds["sound"] += 1
        elif _alike(suffix_of(path)) in ("", ".0"):
            kinds["text"] += holds_text(data)
    return next((kind for kind, count in kinds.items() if 2 * count > len(looked_at)), None)
