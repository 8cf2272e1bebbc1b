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
LEAST_ALIKE = 0.5
CLEARLY = 0.15
"""By how much the words of two names must be closer to one another than to any other's, as a share of their words."""


@dataclass(frozen=True)
class Alignment:
    """A proved match.

    Attributes:
        pairs: the architecture's names to the checkpoint's.
        how: `names`, `order` or `patterns`.
        notes: what the user must be told, one line each.
    """

    pairs: dict[str, str]
    how: str
    notes: tuple[str, ...] = ()


class Misaligned(ValueError):
    """No proof was found; the message holds the first differences, `both` the two lists side by side."""

    def __init__(self, why: str, given: Shapes, wanted: Shapes) -> None:
        super().__init__(why)
        self.both = side_by_side(given, wanted)


def align(given: Shapes, wanted: Shapes, *, ordered: bool = True) -> Alignment:
    """Return the match of the checkpoint's tensors with the architecture's.

    Args:
        given: shapes of the checkpoint's tensors by name, in the file's order.
        wanted: shapes of the architecture's.
        ordered: whether the file's order says anything; safetensors sorts by name.

    Raises:
        Misaligned: no proof accounts for every tensor, or two do; the message and the lists say where.
    """
    given, wanted = without_counters(given), without_counters(wanted)
    if len(given) != len(wanted):
        raise Misaligned(_counted(given, wanted), given, wanted)
    stripped = strip_prefixes(given, wanted)
    if stripped.keys() == wanted.keys():
        _check_shapes(stripped, given, wanted)
        taken = taken_off(given, wanted)
        return Alignment(stripped, "names", (f"{taken!r} taken off every name",) if taken else ())
    if Counter(given.values()) != Counter(wanted.values()):
        raise Misaligned(_first_difference(given, wanted), given, wanted)
    why = _against_order(given, wanted) if ordered else "the file keeps no order"
    if why is None:
        return Alignment(dict(zip(wanted, given, strict=True)), "order", (_said_of_order(given, wanted),))
    pairs = by_patterns(given, wanted)
    if pairs is None:
        raise Misaligned(f"{why}, and the names do not tell which tensor is which", given, wanted)
    note = f"{len(pairs)} tensors of other names matched by the patterns of their names and their shapes"
    return Alignment(pairs, "patterns", (note,))


def without_counters(shapes: Shapes) -> dict[str, Shape]:
    """Return the tensors without BatchNorm's counters."""
    return {name: shape for name, shape in shapes.items() if not name.endswith(COUNTER)}


def _check_shapes(names: Mapping[str, str], given: Shapes, wanted: Shapes) -> None:
    wrong = [
        f"{names[name]} {given[names[name]]} for {shape}"
        for name, shape in wanted.items()
        if given[names[name]] != shape
    ]
    if wrong:
        raise Misaligned(f"{len(wrong)} of the right name and another shape: {list_some(wrong)}", given, wanted)


def strip_prefixes(given: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Return the names of `given` as `wanted` would write them, with what they were.

    What every name begins with is taken off where programs are known to put it, and put on where `wanted` has it.
    """
    theirs, ours = list(given), list(wanted)
    taken = taken_off(theirs, ours)
    names = {name.removeprefix(taken): name for name in theirs}
    prefix = _common(ours)
    if prefix and _common(names) != prefix:
        names = {f"{prefix}.{name}": was for name, was in names.items()}
    return names


def taken_off(given: Iterable[str], wanted: Iterable[str]) -> str:
    """Return what programs put before every name of `given`, and `wanted` does not have; empty for nothing."""
    names, own, taken = list(given), _common(wanted), ""
    while (prefix := _common(names)) and prefix != own:
        taken += f"{prefix}."
        names = [name.removeprefix(f"{prefix}.") for name in names]
    return taken


def _common(names: Iterable[str]) -> str:
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


def _against_order(given: Shapes, wanted: Shapes) -> str | None:
    """Return what speaks against matching by order; None for nothing."""
    latest: dict[tuple[str, Shape], tuple[int, ...]] = {}
    for (name, shape), (other, needed) in zip(given.items(), wanted.items(), strict=True):
        if shape != needed:
            return f"{name} {shape} stands where {other} {needed} is wanted"
        if name != other and wanted.get(name) == shape:
            return f"{name} stands where {other} is wanted"
        if None not in (role(name), role(other)) and role(name) != role(other):
            return f"{name}, a {role(name)}, stands where {other}, a {role(other)}, is wanted"
        text, numbers = pattern(name)
        if latest.get((text, shape), numbers) > numbers:
            return f"{name} stands behind one of a higher number"
        latest[text, shape] = numbers
    return None


def _said_of_order(given: Shapes, wanted: Shapes) -> str:
    same = Counter(given.values())
    silent = sum(same[shape] > 1 and role(name) is None for name, shape in given.items())
    said = f"{len(wanted)} tensors of other names matched by order and shape"
    return f"{said}; {silent} of them only their order tells apart" if silent else said


def by_patterns(given: Shapes, wanted: Shapes) -> dict[str, str] | None:
    """Return the match of `wanted` with `given` pattern by pattern; None where it is not certain."""
    theirs, ours = _grouped(given), _grouped(wanted)
    if theirs.keys() != ours.keys():
        return None
    pairs: dict[str, str] = {}
    for key, patterns in ours.items():
        others = theirs[key]
        chosen = _closest(list(patterns), list(others))
        if chosen is None:
            return None
        for one, other in chosen.items():
            pairs.update(zip(patterns[one], others[other], strict=True))
    return pairs


def _grouped(shapes: Shapes) -> dict[tuple[str | None, tuple[Shape, ...]], dict[str, list[str]]]:
    """Return names by pattern; patterns by role and by the shapes of their tensors, by rising numbers."""
    members: defaultdict[str, list[tuple[tuple[int, ...], str]]] = defaultdict(list)
    for name in shapes:
        text, numbers = pattern(name)
        members[text].append((numbers, name))
    found: defaultdict[tuple[str | None, tuple[Shape, ...]], dict[str, list[str]]] = defaultdict(dict)
    for text, numbered in members.items():
        names = [name for _, name in sorted(numbered)]
        found[role(text), tuple(shapes[name] for name in names)][text] = names
    return dict(found)


def _closest(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str] | None:
    """Return each of ours with the one of theirs whose words are clearly the closest, each once; None otherwise."""
    if len(ours) != len(theirs):
        return None
    if len(ours) == 1:
        return {ours[0]: theirs[0]}
    table = [[_alike(one, other) for other in theirs] for one in ours]
    chosen: dict[str, str] = {}
    for row, one in enumerate(ours):
        column = max(range(len(theirs)), key=table[row].__getitem__)
        best = table[row][column]
        rivals = [*(table[row][at] for at in range(len(theirs)) if at != column)]
        rivals += [table[at][column] for at in range(len(ours)) if at != row]
        if best < LEAST_ALIKE or best - max(rivals) < CLEARLY:
            return None
        chosen[one] = theirs[column]
    return chosen


def _alike(one: str, other: str) -> float:
    """Return the share of words that two patterns have in common, 0..1 (Jaccard's index, with repeats)."""
    a, b = _words(one), _words(other)
    return (a & b).total() / (a | b).total()


def _words(text: str) -> Counter[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", text)
    return Counter(re.findall(r"[a-z]+", spaced.lower()))


def side_by_side(given: Shapes, wanted: Shapes) -> str:
    """Return both lists as text, a position a line: the architecture's tensor, then the checkpoint's."""
    left = [f"{name} {shape}" for name, shape in wanted.items()]
    right = [f"{name} {shape}" for name, shape in given.items()]
    width = max(map(len, left), default=0)
    rows = max(len(left), len(right))
    left += [""] * (rows - len(left))
    right += [""] * (rows - len(right))
    return "\n".join(f"{one:<{width}}  {other}".rstrip() for one, other in zip(left, right, strict=True))


def _counted(given: Shapes, wanted: Shapes) -> str:
    names = strip_prefixes(given, wanted)
    missing = [name for name in wanted if name not in names]
    extra = [was for name, was in names.items() if name not in wanted]
    if len(missing) == len(wanted):
        return f"{len(given)} tensors for {len(wanted)}; {_first_difference(given, wanted)}"
    return f"{len(missing)} missing{_listed(missing)} and {len(extra)} extra{_listed(extra)}"


def _listed(names: Sequence[str]) -> str:
    return f" ({list_some(names)})" if names else ""


def _first_difference(given: Shapes, wanted: Shapes) -> str:
    for (name, shape), (other, needed) in zip(given.items(), wanted.items(), strict=False):
        if shape != needed:
            return f"first {name} {shape} where {other} {needed} is wanted"
    return "the shapes are the same as far as both lists go"
