"""A dataset: labelled examples of one kind, unread until asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import DataError
from headstart.data.modality import MODALITIES, Kind, Modality

T = TypeVar("T")

Split = Literal["train", "validation", "test"]

MAX_BAD = 0.2
"""The share of all examples that may be broken."""


class BadExample(Exception):
    """One example cannot be used; `reason` is a short clause ("truncated", "empty")."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def run_bounded(
    function: str, data: bytes, *, more_seconds: float = 0.0, **arguments: Any
) -> tuple[dict[str, Any], bytes]:
    """Return what `function` answers by `answer_bounded`, in a process whose time and memory end; see `run_limited`.

    It may take `more_seconds` of processor than usual.

    Raises:
        BadExample: the function raised it, or took too much.
    """
    from headstart.base.processes import (  # which takes a megabyte of memory to import
        LIMITS,
        Limits,
        TaskError,
        run_limited,
    )

    try:
        limits = Limits(LIMITS.seconds + more_seconds)
        values, result = run_limited(function, data, limits=limits, **arguments)
    except TaskError as error:
        raise BadExample(str(error)) from None
    if "reason" in values:
        raise BadExample(values["reason"])
    return values, result


def answer_bounded(work: Callable[[], tuple[dict[str, Any], bytes]]) -> tuple[dict[str, Any], bytes]:
    """Return what `work` returns, or the reason of its BadExample, as `run_bounded` takes it."""
    try:
        return work()
    except BadExample as error:
        return {"reason": error.reason}, b""


@dataclass(frozen=True, slots=True)
class Example:
    """One example before it is read."""

    id: str  # its path inside the data set with `/`, or its row; unique and stable between runs
    label: str  # its class name; empty where the data has no labels (inputs of `predict`)
    split: Split | None = None  # the part that the data assigns it to, if any
    # examples of one group (a patient, a burst of photos) never stand on both sides of a split
    group: str | None = None
    # near copies of each other (see `features.relatives`) have one name, and stand on one side of a split too
    relatives: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """An example that was found and could not be used, and why."""

    id: str
    label: str
    reason: str


@dataclass(frozen=True)
class TableRows:
    """What the columns of a table are for, and, for predictions, its rows."""

    # the names of its columns by our words for what they hold, and of all as "header" where it has none of its own
    columns: Mapping[str, Sequence[str]]
    table: Any = None  # the table itself, where it is the only one and its rows are to be written again
    ids: tuple[str, ...] = ()  # of each of its rows, whether it could be used or not


@dataclass(frozen=True)
class Dataset:
    """Examples of one kind and the way to read their bytes."""

    name: str  # how to call the data in a report (the last part of its path)
    kind: Kind  # what the examples are
    examples: tuple[Example, ...]  # in a stable order (sorted by id, or row order)
    classes: tuple[str, ...]  # the class names, sorted; their positions are the class ids
    # bytes of the example at a position; safe to call from several threads; raises BadExample
    read: Callable[[int], bytes]
    skipped: tuple[Skipped, ...] = ()  # examples found unusable so far
    ignored: int = 0  # how many files are of no accepted format and were passed over
    entries: int | None = None  # how many files or rows the reader met, counted apart from what became of them
    notes: tuple[str, ...] = ()  # what the reader changed or noticed, one sentence each, to be shown once
    layout: str = ""  # what was read as what, as one sentence to be shown before any work; empty where nothing tells
    # of pictures of more than 8 bits, the values that are black and white in all of them, by depth
    value_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    # how many examples in a row are read at once, and how many the reader holds; None where any order is as good as any
    # other
    runs: tuple[int, int] | None = None
    table: TableRows | None = None  # the table that lists or holds the examples, if one does
    # the arguments of `scale.remote.opened_again`, by which another process opens a data set that holds these examples;
    # None where none can
    opened: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.entries not in (None, self.total):
            parts = f"{len(self.examples)} examples, {len(self.skipped)} skipped and {self.ignored} ignored"
            raise RuntimeError(f"of the {self.entries} files or rows of {self.name}, each must be one of {parts}")

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def modality(self) -> Modality:
        """What is constant for examples of its kind."""
        return MODALITIES[self.kind]

    @property
    def items(self) -> str:
        """What its examples are called, in the plural."""
        return self.modality.plural

    @property
    def total(self) -> int:
        """How many files or rows the reader met: examples, skipped and ignored."""
        return len(self.examples) + len(self.skipped) + self.ignored

    def class_ids(self, positions: Sequence[int]) -> NDArray[np.int64]:
        """Return the class ids of the examples at `positions`, int64 of shape (n,)."""
        ids = {name: at for at, name in enumerate(self.classes)}
        return np.array([ids[self.examples[position].label] for position in positions], dtype=np.int64)

    def reread(self, position: int, prepare: Callable[[bytes], T]) -> T:
        """Return what `prepare` makes of an example that could be used before; DataError where it no longer can."""
        try:
            return prepare(self.read(position))
        except BadExample as error:
            name = self.examples[position].id
            raise DataError(f"{name} must be readable again", error.reason, "run the same command again") from error

    def keep(self, positions: list[int], skipped: tuple[Skipped, ...] = ()) -> Dataset:
        """Return the examples at `positions`, with `skipped` added to those already skipped."""
        kept, read = tuple(positions), self.read
        return replace(
            self,
            entries=self.entries if len(kept) + len(skipped) == len(self) else None,
            examples=tuple(self.examples[position] for position in kept),
            read=lambda position: read(kept[position]),
            skipped=self.skipped + skipped,
        )
