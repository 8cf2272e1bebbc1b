"""Labels in the names of files, such as `cat.0.jpg`: the pattern that takes them, and what names suggest."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from headstart.base.errors import DataError, list_some
from headstart.data.groups import pattern_of
from headstart.data.labels import part_named_in

COVERED = 0.95
"""The share of names that a suggested pattern must match."""
LEAST_PER_CLASS = 3
"""Names to each class that a suggested pattern must find on average."""
_WHAT = "a regular expression with one group that matches the label"
# A label is what stands before, after or between numbers and marks: `cat.0`, `great_daisy_12`, `100-dog-0-0`.
_SUGGESTED = (
    r"([^/]+?)[ ._-]*\(?\d+\)?\.[^/.]+$",
    r"([^/._-]+)[._-][^/]*$",
    r"[^/._-]+[._-]([^/._-]+)[._-][^/]*$",
    r"\d+[ ._-]+([^/]+)\.[^/.]+$",
    r"([^/._-]+)\.[^/.]+$",
    r"([A-Za-z]+)[^/]*$",
)
# The beginning of a name, so that no pattern begins to match in the middle of it.
_START = r"(?:^|/)"


def labels_by(pattern: str) -> Callable[[str], str | None]:
    """Return what takes the label from a path in the data: the group `label`, else the first, else the whole match.

    Raises:
        UsageError: it is no regular expression.
    """
    compiled = pattern_of("--label-from", pattern, _WHAT)
    key: str | int = "label" if "label" in compiled.groupindex else min(compiled.groups, 1)

    def label(path: str) -> str | None:
        match = compiled.search(path)
        return (match[key] or None) if match else None

    return label


def check_labels(labels: Iterable[str | None], pattern: str, where: str, paths: Sequence[str]) -> None:
    """Raise DataError where a pattern gives fewer than two labels."""
    distinct = sorted({label for label in labels if label is not None})
    if len(distinct) > 1:
        return
    received = f"only {distinct[0]!r}" if distinct else f"no match in names such as {list_some(paths, 3)}"
    pattern_there = suggested_pattern(paths)
    do = f"try --label-from {shlex.quote(pattern_there)}" if pattern_there else f"give {_WHAT}"
    raise DataError(f"--label-from {pattern!r} must give at least two labels in {where}", received, do)


def suggested_pattern(paths: Sequence[str]) -> str | None:
    """Return a pattern by which the names of files fall into a few classes, or None; see `_SUGGESTED`."""
    for pattern in _SUGGESTED:
        label_of = labels_by(_START + pattern)
        counts = Counter(label for path in paths if (label := label_of(path)) is not None)
        covered = sum(counts.values()) >= COVERED * len(paths) and not any(map(part_named_in, counts))
        if covered and len(counts) > 1 and min(counts.values()) > 1 and LEAST_PER_CLASS * len(counts) <= len(paths):
            return _START + pattern
    return None


def suggestion(paths: Sequence[str], where: str) -> str:
    """Return what the names of files suggest as their labels, as the end of a remedy; empty where nothing."""
    pattern = suggested_pattern(paths)
    if pattern is None:
        return ""
    label_of = labels_by(pattern)
    labels = sorted({label for path in paths if (label := label_of(path)) is not None})
    command = f"headstart fit {shlex.quote(where)} --label-from {shlex.quote(pattern)}"
    return f"; the names suggest {len(labels)} classes ({list_some(labels, 3)}): {command}"
