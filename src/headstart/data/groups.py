"""Groups in names, such as `scan12_view3`: the pattern that takes them, and what names suggest."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from headstart.base.errors import UsageError, list_some
from headstart.data.dataset import Dataset

MIN_GROUPED = 0.5  # share of the names that must fall into groups of two or more
MAX_GROUP = 0.2  # share of the names that one group may hold
_WHAT = "a regular expression that matches what the members of a group share in their names"
_DO = "write one that matches such a name, as '^[a-z]+' matches cat in cat_12.jpg"
# What stands before the last number, before the last mark, or up to the first number.
_SUGGESTED = (
    r"([^/]+?)[ ._-]+(?:[A-Za-z]+[ ._-]*)?\d+(?:\.[^/.]+)?$",
    r"([^/]+)[ ._-]+[^/._ -]+(?:\.[^/.]+)?$",
    r"([^/\d]*\d+)[^/]*$",
)


def group_by(dataset: Dataset, pattern: str) -> Dataset:
    """Return the examples with the group that `pattern` takes from their ids: its first group, else the whole match.

    Ids without a match are in no group, and a note counts them.

    Raises:
        UsageError: it is no regular expression, or matches no id.
    """
    compiled = pattern_of("--group-by", pattern, _WHAT)
    names = [group_of(compiled, example.id) for example in dataset.examples]
    without = names.count(None)
    if without == len(names):
        ids = list_some([example.id for example in dataset.examples[:4]], 3)
        raise UsageError(f"--group-by must be {_WHAT}", f"{pattern!r}, which matches none, such as {ids}", _DO)
    pairs = zip(dataset.examples, names, strict=True)
    examples = tuple(one if name is None else replace(one, group=name) for one, name in pairs)
    notes = [f"--group-by made {len(set(names) - {None})} groups."]
    notes += [f"{without} {dataset.items} match no --group-by and are in no group."] if without else []
    return replace(dataset, examples=examples, notes=(*dataset.notes, *notes))


def pattern_of(option: str, pattern: str, what: str) -> re.Pattern[str]:
    """Return a regular expression; raises UsageError where it is none, which says `what` the option must be."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{option} must be {what}", f"{pattern!r} ({error})", _DO) from error


def group_of(compiled: re.Pattern[str], name: str) -> str | None:
    """Return the group of a name: the first group of the pattern, else the whole match; None where it has none."""
    match = compiled.search(name)
    return (match[min(compiled.groups, 1)] or None) if match else None


def suggested_groups(names: Sequence[str]) -> Iterator[tuple[str, list[str | None]]]:
    """Yield patterns by which names fall into groups, each with the group of every name; None for one in no group.

    There are as many groups of two or more as hold half of the names, and none of them holds a fifth.
    """
    for pattern in _SUGGESTED:
        compiled = re.compile(pattern)
        groups = [group_of(compiled, name) for name in names]
        counts = Counter(group for group in groups if group is not None)
        grouped = sum(count for count in counts.values() if count > 1)
        if counts and grouped >= MIN_GROUPED * len(names) and max(counts.values()) <= MAX_GROUP * len(names):
            yield pattern, groups


def offer(pattern: str, groups: Sequence[str | None], items: str) -> str:
    """Return the note that offers a pattern, by which the names of `items` fall into alike groups."""
    counts = Counter(group for group in groups if group is not None)
    several = [name for name, count in counts.items() if count > 1]
    return (
        f"The names of {sum(counts[name] for name in several)} {items} fall into {len(several)} groups whose members "
        f"are more alike than others of their class ({list_some(several, 3)}); if each is one subject, keep it on one "
        f"side of a split: --group-by {shlex.quote(pattern)}"
    )
