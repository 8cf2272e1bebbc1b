"""What the folders of a tree are: classes, parts of a given split, or groups, told by their structure.

Names alone mislead: a class may be called `train`, beside `bus` and `car`, and a part `seg_train`. Folders of the first
level that hold the same folders are not classes, whatever they are called: the folders that they share are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from headstart.base.errors import list_some
from headstart.data.dataset import Split
from headstart.data.labels import SPLITS, part_named_in

NUMBERED = re.compile(r"(?:fold|split|part|cv|batch|chunk|shard)[\W_]*\d+", re.IGNORECASE)
"""What folds and shards are called; a class may be a number alone."""


@dataclass(frozen=True)
class Layout:
    """What the folders of the first level are, where they are no classes."""

    parts: Mapping[str, Split] = field(default_factory=dict)  # those that are parts of a given split
    groups: frozenset[str] = frozenset()  # those that hold the same classes and are called no parts
    unlabelled: frozenset[str] = frozenset()  # parts that hold none of the classes of the train part

    @property
    def has_classes_below(self) -> bool:
        """Whether the classes are folders of the second level."""
        return bool(self.parts or self.groups)

    def sentence(self, classes: int) -> str:
        """Return what was read as what, as one sentence."""
        by_part = defaultdict(list)
        for top, part in self.parts.items():
            by_part["unlabelled" if top in self.unlabelled else part].append(f"{top}/")
        clauses = [f"{part} from {' and '.join(sorted(tops))}" for part, tops in by_part.items()]
        if self.groups:
            clauses.append(f"groups from {list_some(f'{top}/' for top in sorted(self.groups))}")
        return ", ".join([f"{classes} classes", *clauses]) + "."


def layout_of(tops: Sequence[str], files: Iterable[str]) -> Layout:
    """Return what the folders of the first level are.

    Args:
        tops: their names.
        files: the paths of all files of the kind that is wanted.
    """
    below: dict[str, set[str]] = {top: set() for top in tops}
    for path in files:
        top, *rest = path.split("/")
        if len(rest) > 1 and top in below:
            below[top].add(rest[0])
    parts = _called_parts(tops) or _like_parts(below)
    if not parts:
        return Layout(groups=frozenset(tops) if _hold_the_same(list(below.values())) else frozenset())
    known = set().union(*(below[top] for top, part in parts.items() if part == "train"))
    return Layout(
        parts,
        unlabelled=frozenset(
            top for top, part in parts.items() if part != "train" and len(below[top]) < 2 and not below[top] & known
        ),
    )


def are_numbered(tops: Sequence[str]) -> bool:
    """Return whether the folders are folds or shards, which nobody calls a class."""
    return len(tops) > 1 and all(NUMBERED.fullmatch(top) for top in tops)


def _called_parts(tops: Sequence[str]) -> dict[str, Split]:
    """Return which folders are called exactly as parts are, if `train` is there and another one, or it alone."""
    parts = {top: SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    called = set(parts.values())
    # A class may be called "train", beside "bus" and "car": then no other part is there.
    return parts if "train" in called and (len(called) > 1 or len(tops) == 1) else {}


def _like_parts(below: Mapping[str, set[str]]) -> dict[str, Split]:
    """Return the parts that a word of every folder's name tells, where they share most of what they hold."""
    filled = {top: classes for top, classes in below.items() if classes}
    parts = {top: part for top in filled if (part := part_named_in(top)) is not None}
    if len(parts) < len(filled) or "train" not in parts.values() or len(set(parts.values())) < 2:
        return {}
    known = set().union(*(filled[top] for top, part in parts.items() if part == "train"))
    alike = all(2 * len(classes & known) >= len(classes) for classes in filled.values())
    return parts if alike else {}


def _hold_the_same(below: Sequence[set[str]]) -> bool:
    return len(below) > 1 and len(below[0]) > 1 and all(classes == below[0] for classes in below)
