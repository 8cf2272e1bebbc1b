"""Aligning: which tensor of a checkpoint is which tensor of an architecture, proved, or refused with both lists.

Three proofs are tried, and each must account for every tensor on both sides exactly once:

1. names: the same ones, after common prefixes are taken off;
2. order: the same shapes position by position, while nothing in the names speaks against it: no role (weight, bias,
   mean, variance) that differs, no name of one tensor in the place of another, and no two tensors of one shape and one
   pattern of name whose numbers run backwards;
3. patterns: names with their numbers left out; each pattern of one side has the roles and the shapes, taken by rising
   numbers, of exactly one pattern of the other, or of the one whose words are clearly the closest.

Counters of batches (`num_batches_tracked`) are left out on both sides: inference does not read them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from headstart.base.errors import list_some

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

PREFIXES = (
    "module", "_orig_mod", "model", "backbone", "net", "network", "encoder", "base_model", "body", "features_extractor",
)  # fmt: skip
COUNTER = "num_batches_tracked"
ROLES = {
    "weight": "weight", "kernel": "weight", "gamma": "weight", "scale": "weight", "depthwise_kernel": "weight",
    "bias": "bias", "beta": "bias",
    "running_mean": "mean", "moving_mean": "mean",
    "running_var": "variance", "moving_variance": "variance", "running_variance": "variance", "moving_var": "variance",
}  # fmt: skip
MIN_SIMILARITY = 0.5
MIN_MARGIN = 0.15
"""By how much the words of two names must be closer to one another than to any other's, as a share of their words."""


@dataclass(frozen=True)
class Alignment:
    """A proved match: the architecture's names to the checkpoint's, by names, order or patterns, and notes on that."""

    pairs: dict[str, str]
    method: str
    notes: tuple[str, ...] = ()


class Misaligned(ValueError):
    """No proof was found; the message holds the first differences, `both` the two lists side by side."""

    def __init__(self, why: str, checkpoint: Shapes, expected: Shapes) -> None:
        super().__init__(why)
        self.both = side_by_side(checkpoint, expected)


def align(checkpoint: Shapes, expected: Shapes, *, ordered: bool = True) -> Alignment:
    """Return the match of a checkpoint's tensors, in the file's order, with the architecture's.

    `ordered` says whether that order means anything; safetensors sorts by name. Misaligned: no proof accounts for every
    tensor, or two do; the message and the lists say where.
    """
    checkpoint, expected = (
        {name: shape for name, shape in shapes.items() if not name.endswith(COUNTER)}
        for shapes in (checkpoint, expected)
    )
    if len(checkpoint) != len(expected):
        raise Misaligned(_count_difference(checkpoint, expected), checkpoint, expected)
    stripped = strip_prefixes(checkpoint, expected)
    if stripped.keys() == expected.keys():
        if wrong := _of_another_shape(checkpoint, expected, stripped):
            listed = f"{len(wrong)} of the right name and another shape: {list_some(wrong)}"
            raise Misaligned(listed, checkpoint, expected)
        taken = stripped_prefix(checkpoint, expected)
        return Alignment(stripped, "names", (f"{taken!r} taken off every name",) if taken else ())
    if Counter(checkpoint.values()) != Counter(expected.values()):
        raise Misaligned(_first_difference(checkpoint, expected), checkpoint, expected)
    why = _against_order(checkpoint, expected) if ordered else "the file keeps no order"
    if why is None:
        same = Counter(checkpoint.values())
        silent = sum(same[shape] > 1 and role(name) is None for name, shape in checkpoint.items())
        note = f"{len(expected)} tensors of other names matched by order and shape"
        note += f"; {silent} of them only their order tells apart" if silent else ""
        return Alignment(dict(zip(expected, checkpoint, strict=True)), "order", (note,))
    pairs = by_patterns(checkpoint, expected)
    if pairs is None:
        raise Misaligned(f"{why}, and the names do not tell which tensor is which", checkpoint, expected)
    note = f"{len(pairs)} tensors of other names matched by the patterns of their names and their shapes"
    return Alignment(pairs, "patterns", (note,))


def strip_prefixes(checkpoint: Iterable[str], expected: Iterable[str]) -> dict[str, str]:
    """Return the names of `checkpoint` as `expected` would write them, with what they were.

    What every name begins with is taken off where programs are known to put it, and put on where `expected` has it.
    """
    theirs, ours = list(checkpoint), list(expected)
    taken = stripped_prefix(theirs, ours)
    names = {name.removeprefix(taken): name for name in theirs}
    prefix = common_prefix(ours)
    if prefix and common_prefix(names) != prefix:
        names = {f"{prefix}.{name}": was for name, was in names.items()}
    return names


def stripped_prefix(checkpoint: Iterable[str], expected: Iterable[str]) -> str:
    """Return what programs put before every name of `checkpoint`, and `expected` does not have; empty for nothing."""
    names, own, taken = list(checkpoint), common_prefix(expected), ""
    while (prefix := common_prefix(names)) and prefix != own:
        taken += f"{prefix}."
        names = [name.removeprefix(f"{prefix}.") for name in names]
    return taken


def common_prefix(names: Iterable[str]) -> str:
    """Return the known prefix that every name has; empty for none."""
    first = {name.partition(".")[0] for name in names if "." in name} | {"" for name in names if "." not in name}
    (only,) = first if len(first) == 1 else ("",)
    return only if only in PREFIXES else ""


def role(name: str) -> str | None:
    """Return what a tensor is to its layer, as the end of its name says; None where it says nothing."""
    return ROLES.get(re.split(r"[./]", name)[-1].partition(":")[0])


def pattern(name: str) -> tuple[str, tuple[int, ...]]:
    """Return a name with its numbers left out, and the numbers."""
    return re.sub(r"\d+", "#", name), tuple(map(int, re.findall(r"\d+", name)))


def _against_order(checkpoint: Shapes, expected: Shapes) -> str | None:
    """Return what speaks against matching by order; None for nothing."""
    latest: dict[tuple[str, Shape], tuple[int, ...]] = {}
    for (name, shape), (target, needed) in zip(checkpoint.items(), expected.items(), strict=True):
        if shape != needed:
            return f"{name} {shape} stands where {target} {needed} is wanted"
        if name != target and expected.get(name) == shape:
            return f"{name} stands where {target} is wanted"
        if None not in (role(name), role(target)) and role(name) != role(target):
            return f"{name}, a {role(name)}, stands where {target}, a {role(target)}, is wanted"
        text, numbers = pattern(name)
        if latest.get((text, shape), numbers) > numbers:
            return f"{name} stands behind one of a higher number"
        latest[text, shape] = numbers
    return None


def by_patterns(checkpoint: Shapes, expected: Shapes) -> dict[str, str] | None:
    """Return the match of `expected` with `checkpoint` pattern by pattern; None where it is not certain."""
    theirs, ours = _group_by_pattern(checkpoint), _group_by_pattern(expected)
    if theirs.keys() != ours.keys():
        return None
    pairs: dict[str, str] = {}
    for key, patterns in ours.items():
        if (chosen := _closest(list(patterns), list(theirs[key]))) is None:
            return None
        for name, match in chosen.items():
            pairs.update(zip(patterns[name], theirs[key][match], strict=True))
    return pairs


def _group_by_pattern(shapes: Shapes) -> dict[tuple[str | None, tuple[Shape, ...]], dict[str, list[str]]]:
    """Return names by pattern; patterns by role and by the shapes of their tensors, by rising numbers."""
    members: defaultdict[str, list[tuple[tuple[int, ...], str]]] = defaultdict(list)
    for name in shapes:
        text, numbers = pattern(name)
        members[text].append((numbers, name))
    groups: defaultdict[tuple[str | None, tuple[Shape, ...]], dict[str, list[str]]] = defaultdict(dict)
    for text, numbered in members.items():
        names = [name for _, name in sorted(numbered)]
        groups[role(text), tuple(shapes[name] for name in names)][text] = names
    return dict(groups)


def _closest(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str] | None:
    """Return each of ours with the one of theirs whose words are clearly the closest, each once; None otherwise."""
    if len(ours) != len(theirs):
        return None
    if len(ours) == 1:
        return {ours[0]: theirs[0]}
    table = [[_similarity(name, candidate) for candidate in theirs] for name in ours]
    chosen: dict[str, str] = {}
    for row, name in enumerate(ours):
        column = max(range(len(theirs)), key=table[row].__getitem__)
        best = table[row][column]
        rivals = [table[row][rival] for rival in range(len(theirs)) if rival != column]
        rivals += [table[rival][column] for rival in range(len(ours)) if rival != row]
        if best < MIN_SIMILARITY or best - max(rivals) < MIN_MARGIN:
            return None
        chosen[name] = theirs[column]
    return chosen


def _similarity(first: str, second: str) -> float:
    """Return the share of words that two patterns have in common, 0..1 (Jaccard's index, with repeats)."""
    spaced = (re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower() for text in (first, second))
    a, b = (Counter(re.findall(r"[a-z]+", text)) for text in spaced)
    return (a & b).total() / (a | b).total()


def side_by_side(checkpoint: Shapes, expected: Shapes) -> str:
    """Return both lists as text, a position a line: the architecture's tensor, then the checkpoint's."""
    left, right = ([f"{name} {shape}" for name, shape in shapes.items()] for shapes in (expected, checkpoint))
    width = max(map(len, left), default=0)
    rows = zip_longest(left, right, fillvalue="")
    return "\n".join(f"{first:<{width}}  {second}".rstrip() for first, second in rows)


def _count_difference(checkpoint: Shapes, expected: Shapes) -> str:
    names = strip_prefixes(checkpoint, expected)
    missing = [name for name in expected if name not in names]
    extra = [was for name, was in names.items() if name not in expected]
    if len(missing) == len(expected):
        return f"{len(checkpoint)} tensors for {len(expected)}; {_first_difference(checkpoint, expected)}"
    wrong = _of_another_shape(checkpoint, expected, names)
    also = f", {len(wrong)} of another shape{_listed(wrong)}" if wrong else ""
    return f"{len(missing)} missing{_listed(missing)} and {len(extra)} extra{_listed(extra)}{also}"


def _of_another_shape(checkpoint: Shapes, expected: Shapes, names: Mapping[str, str]) -> list[str]:
    """Return the tensors of the right name and another shape, with both; `names` are the checkpoint's, by ours."""
    return [
        f"{names[name]} {checkpoint[names[name]]} for {shape}"
        for name, shape in expected.items()
        if name in names and checkpoint[names[name]] != shape
    ]


def _listed(names: Sequence[str]) -> str:
    return f" ({list_some(names)})" if names else ""


def _first_difference(checkpoint: Shapes, expected: Shapes) -> str:
    for (name, shape), (target, needed) in zip(checkpoint.items(), expected.items(), strict=False):
        if shape != needed:
            return f"first {name} {shape} where {target} {needed} is wanted"
    return "the shapes are the same as far as both lists go"
