"""One range of values for all pictures of a set, where they have more than 8 bits: measured on some, kept for all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from headstart.data.dataset import BadExample, Dataset, answer_bounded, run_bounded
from headstart.data.file_tree import suffix_of
from headstart.data.images.deep import Depth, ValueRanges, decide_range, with_ranges
from headstart.data.images.formats import IMAGE_SUFFIXES, sniff
from headstart.data.images.pillow import LargePicture, read_ends
from headstart.data.images.preprocessing import DIRECT_BYTES, DIRECT_PIXELS

SAMPLED = 64
"""How many pictures of each suffix are looked at, evenly spaced; a set that is read in long runs is, in few of them."""
RUNS = 4
_DEEP_FORMATS = ("png", "tiff", "pnm")


def in_one_range(dataset: Dataset, known: Mapping[str, Any] | None = None) -> Dataset:
    """Return pictures that are all read by one range of values for each depth, `known` or measured on some of them.

    The ranges of a data set are those of the examples that may be learned from. Those of 8 bits are left as they are;
    so are recordings and texts. What was decided stands in `value_ranges` and, where it is new, in the notes.
    """
    if dataset.kind != "image":
        return dataset
    ranges = {depth: (float(low), float(high)) for depth, (low, high) in (known or {}).items()}
    ends: dict[Depth, list[tuple[float, float]]] = defaultdict(list)
    for position in _sample(dataset):
        measured = _measured(dataset, position)
        if measured is not None and measured[0] not in ranges:
            ends[measured[0]].append(measured[1:])
    new = {depth: decide_range(depth, some) for depth, some in sorted(ends.items())}
    ranges |= {str(depth): both for depth, both in new.items()}
    if not ranges:
        return dataset
    read = dataset.read
    notes = [
        f"Photos of {'floats' if depth == 'float' else f'{depth} values'} are all read with one range: {low:,.6g} is "
        f"black and {high:,.6g} is white, as measured on {len(ends[depth])} of them."
        for depth, (low, high) in new.items()
    ]
    return replace(
        dataset,
        read=lambda position: _marked(read(position), ranges),
        value_ranges=ranges,
        notes=(*dataset.notes, *notes),
    )


def _sample(dataset: Dataset) -> list[int]:
    """Return positions in ascending order, the same for the same data."""
    by_suffix = defaultdict(list)
    in_a_row, _ = dataset.runs or (1, 1)
    usable = [position for position, example in enumerate(dataset.examples) if example.split in (None, "train")]
    if dataset.runs is not None:
        firsts = {position // in_a_row for position in usable}
        some = _spaced(sorted(firsts), RUNS)
        usable = [position for position in usable if position // in_a_row in some]
    for position in usable:
        suffix = suffix_of(dataset.examples[position].id)
        by_suffix[suffix if suffix in IMAGE_SUFFIXES else ""].append(position)
    return sorted(position for positions in by_suffix.values() for position in _spaced(positions, SAMPLED))


def _spaced(values: list[int], count: int) -> list[int]:
    return [values[int(at)] for at in np.linspace(0, len(values) - 1, min(count, len(values)))]


def _measured(dataset: Dataset, position: int) -> tuple[Depth, float, float] | None:
    try:
        data = dataset.read(position)
        if sniff(data) not in _DEEP_FORMATS:
            return None
        if len(data) <= DIRECT_BYTES[False]:
            with suppress(LargePicture):
                return read_ends(data, sniff(data), DIRECT_PIXELS)
        values, _ = run_bounded(f"{__name__}:ends_task", data)
    except BadExample:
        return None  # it is skipped, and said so, when it is its turn
    return None if values["ends"] is None else tuple(values["ends"])


def ends_task(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the depth and ends of a picture, in the process of `run_bounded`."""
    return answer_bounded(lambda: ({"ends": read_ends(data, sniff(data))}, b""))


def _marked(data: bytes, ranges: ValueRanges) -> bytes:
    try:
        return with_ranges(data, ranges) if sniff(data) in _DEEP_FORMATS else data
    except BadExample:
        return data
