"""What the folders of a tree are: classes, parts of a given split, or groups, told by their structure.

Names alone mislead: a class may be called `train`, beside `bus` and `car`, and a part `seg_train`. Folders of one level
that hold the same folders are not classes, whatever they are called: the folders that they share are. Where those are
called as parts, it is the other way round (`cat/train`, `dog/train`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from headstart.base.errors import list_some
from headstart.data.dataset import Split
from headstart.data.labels import SPLITS, part_named_in

NUMBERED = re.compile(r"(?:.*[\W_])?(?:fold|split|part|cv|batch|chunk|shard)[\W_]*\d+", re.IGNORECASE)
"""What folds and shards are called; a class may be a number alone."""

Role = Literal["wrap", "part", "group", "class"]
Below = Mapping[str, set[str]]  # the folders that hold files, by the folder above them


class Place(NamedTuple):
    """What the folders above a file say of it."""

    label: str | None = None  # None where they are not of the layout
    split: Split | None = None
    group: str | None = None
    unlabelled: bool = False


@dataclass(frozen=True)
class Layout:
    """What the folders of each level are, from the first one to that of the classes."""

    parts: Mapping[str, Split] = field(default_factory=dict)  # the folders that are parts of a given split
    groups: frozenset[str] = frozenset()  # those that hold the same classes and are called no parts
    unlabelled: frozenset[str] = frozenset()  # parts that hold none of the classes of the train part
    levels: tuple[Role, ...] = ("class",)
    wraps: frozenset[str] = frozenset()  # folders that only wrap what they hold
    beside: Mapping[str, Split] = field(default_factory=dict)  # parts that lie beside the classes of the train part

    @property
    def depth(self) -> int:
        """The level of the classes, counted from 0."""
        return self.levels.index("class")

    def place(self, folders: Sequence[str]) -> Place:
        """Return what the folders above a file say, outermost first."""
        label, group, split = None, None, None
        if self.beside and folders:
            split, folders = (self.beside[folders[0]], folders[1:]) if folders[0] in self.beside else ("train", folders)
            if split != "train" and not folders:
                return Place(split=split, unlabelled=True)
        for role, name in zip(self.levels, folders, strict=False):
            if name in self.unlabelled and role == "part":
                return Place(split=self.parts[name], unlabelled=True)
            known = {"wrap": self.wraps, "part": self.parts, "group": self.groups, "class": (name,)}[role]
            if name not in known:
                return Place()
            label, group = name if role == "class" else label, name if role == "group" else group
            split = self.parts[name] if role == "part" else split
        return Place(label, split, group) if len(folders) > self.depth else Place(split=split, group=group)

    def class_folders(self, folders: Iterable[str]) -> list[str]:
        """Return those of `folders` that are classes, sorted."""
        of_classes = []
        for folder in folders:
            names = folder.split("/")
            if len(names) - (names[0] in self.beside) == self.depth + 1 and self.place(names).label is not None:
                of_classes.append(folder)
        return sorted(of_classes)

    def sentence(self, classes: int) -> str:
        """Return what was read as what, as one sentence."""
        by_part = defaultdict(list)
        for top, part in {**self.parts, **self.beside}.items():
            by_part["unlabelled" if top in self.unlabelled else part].append(f"{top}/")
        clauses = [f"{part} from {' and '.join(sorted(tops))}" for part, tops in by_part.items()]
        if self.beside:
            clauses.insert(0, "train from the class folders")
        if self.groups:
            clauses.append(f"groups from {list_some(f'{top}/' for top in sorted(self.groups))}")
        return ", ".join([f"{classes} classes", *clauses]) + "."


def layout_of(tops: Sequence[str], files: Iterable[str], *, with_files: Iterable[str] = ()) -> Layout:
    """Return what the folders are.

    Args:
        tops: the names of the first level.
        files: the paths of all files of the kind that is wanted.
        with_files: the folders that hold any file.
    """
    folders = {path.rpartition("/")[0] for path in files}
    split = sorted(tuple(folder.split("/")) for folder in folders if folder)
    filled = {names[0] for names in split}
    without = {folder.partition("/")[0] for folder in with_files if folder} - filled
    if len(filled) == 1 and filled | without >= set(tops) and not _called_parts(tops):
        (top,) = filled
        inner = [names[1:] for names in split if len(names) > 1]
        if inner:
            within_tops = sorted({names[0] for names in inner})
            within = layout_of(within_tops, ("/".join((*names, "")) for names in inner))
            holds_classes = len(inner) == len(split) and len(within_tops) > 1
            if within.levels != ("class",) or without or within.beside or holds_classes:
                return replace(within, levels=("wrap", *within.levels), wraps=within.wraps | {top})
    return _layout(tops, split)


def _layout(tops: Sequence[str], split: Sequence[tuple[str, ...]]) -> Layout:
    below: dict[str, set[str]] = {top: set() for top in tops}
    for names in split:
        if len(names) > 1 and names[0] in below:
            below[names[0]].add(names[1])
    if parts := _called_parts(tops) or _like_parts(below):
        return _parted(parts, below, split)
    if beside := _parts_beside(tops, below):
        flat = frozenset(top for top in beside if not below[top])
        return Layout(beside=beside, unlabelled=flat)
    if not _hold_the_same(list(below.values())):
        return Layout()
    if (parts := _called_parts(sorted(below[tops[0]]))) and not are_numbered(tops):
        return Layout(parts, levels=("class", "part"))
    return Layout(groups=frozenset(tops), levels=("group", "class"))


def _parted(parts: Mapping[str, Split], below: Below, split: Sequence[tuple[str, ...]]) -> Layout:
    """Return the layout below parts: classes, or one folder of the same name in each that wraps them."""
    inner = {names[1] for names in split if len(names) > 1 and names[0] in parts}
    deep = {names[2] for names in split if len(names) > 2 and parts.get(names[0]) == "train"}
    wrapped = len(inner) == 1 and len(deep) > 1
    if wrapped:
        below = {top: {names[2] for names in split if len(names) > 2 and names[0] == top} for top in parts}
    known = set().union(*(below[top] for top, part in parts.items() if part == "train"))
    unlabelled = frozenset(
        top for top, part in parts.items() if part != "train" and len(below[top]) < 2 and not below[top] & known
    )
    levels: tuple[Role, ...] = ("part", "wrap", "class") if wrapped else ("part", "class")
    return Layout(parts, unlabelled=unlabelled, levels=levels, wraps=frozenset(inner if wrapped else ()))


def parts_of(tops: Sequence[str]) -> Layout:
    """Return the parts among the folders of the first level, where labels do not come from folders."""
    called = {top: part for top in tops if (part := part_named_in(top)) is not None}
    return Layout(called if "train" in called.values() else {}, levels=("part", "class"))


def are_numbered(tops: Sequence[str]) -> bool:
    """Return whether the folders are folds or shards, which nobody calls a class."""
    return len(tops) > 1 and all(NUMBERED.fullmatch(top) for top in tops)


def _called_parts(tops: Sequence[str]) -> dict[str, Split]:
    """Return which folders are called exactly as parts are, if `train` is there and another one, or it alone."""
    parts = {top: SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    called = set(parts.values())
    # A class may be called "train", beside "bus" and "car": then no other part is there.
    return parts if "train" in called and (len(called) > 1 or len(tops) == 1) else {}


def _like_parts(below: Below) -> dict[str, Split]:
    """Return the parts that a word of every folder's name tells, where they share most of what they hold."""
    filled = {top: classes for top, classes in below.items() if classes}
    parts = {top: part for top in filled if (part := part_named_in(top)) is not None}
    if len(parts) < len(filled) or "train" not in parts.values():
        return {}
    if len(set(parts.values())) < 2:  # the train part, and others that hold no folders
        parts |= {top: part for top in below if top not in parts and (part := part_named_in(top)) is not None}
        return parts if len(set(parts.values())) > 1 else {}
    known = set().union(*(filled[top] for top, part in parts.items() if part == "train"))
    alike = all(2 * len(classes & known) >= len(classes) for classes in filled.values())
    return parts if alike else {}


def _parts_beside(tops: Sequence[str], below: Below) -> dict[str, Split]:
    """Return folders called as the other parts are beside two classes at least: they hold these classes, or nothing."""
    called = {top: SPLITS[top.lower()] for top in tops if SPLITS.get(top.lower(), "train") != "train"}
    classes = set(tops) - called.keys()
    alike = all(not below[top] or below[top] <= classes for top in called)
    return called if called and len(classes) > 1 and alike and not any(below[name] for name in classes) else {}


def _hold_the_same(below: Sequence[set[str]]) -> bool:
    return len(below) > 1 and len(below[0]) > 1 and all(classes == below[0] for classes in below)
