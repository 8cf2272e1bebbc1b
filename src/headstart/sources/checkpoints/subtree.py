"""Which part of a checkpoint is the network: the prefix below which every tensor of the architecture's body is found.

A training program keeps more than one network's weights in a file: the losses and metrics around it, averaged weights,
a student and its teacher. What lies below one prefix and fits wholly is taken, by names, or else by the shapes of a
part that has as many tensors; all else is left out and said. Imports torch.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch

from headstart.base.errors import SourceError, list_some
from headstart.sources.checkpoints.align import COUNTER, Misaligned, Shape, align, common_prefix
from headstart.sources.checkpoints.load import match
from headstart.sources.checkpoints.pickled import Stored
from headstart.sources.checkpoints.read import CheckpointTensors, Contents, unwrap
from headstart.sources.checkpoints.safetensors import MAX_TENSORS

AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged)([._]|$)", re.IGNORECASE)
"""What programs call the part that holds averaged weights: those are what gets published."""
MAX_DEPTH = 16
"""How many parts of a name are taken for a prefix, and how deep containers may lie in one another."""
MAX_VALUES = 20 * MAX_TENSORS
MIN_SHARE = 0.5
"""Of the body's tensors, by name: a part that has fewer is not said to be the one that does not fit."""
Tensors = dict[str, Stored]


@dataclass(frozen=True)
class Part:
    """The tensors below a prefix, by the rest of their names."""

    prefix: str
    tensors: Tensors


def choose(
    contents: Contents, expected: Mapping[str, Shape], head: frozenset[str], *, part: str, where: str
) -> CheckpointTensors:
    """Return the tensors of the network in a checkpoint, with notes on where they lay and on what is left out.

    Args:
        contents: of the checkpoint.
        expected: shapes of the architecture's tensors.
        head: those among them that are its classifier.
        part: the prefix that the user names; empty for whatever fits.
        where: the checkpoint as the user names it.

    Raises:
        SourceError: there is no such part, no tensor, or several parts fit and differ.
    """
    tensors = _below(_flat(contents.tree, where), part, where)
    needed = {name: shape for name, shape in expected.items() if not name.endswith(COUNTER)}
    body = {name: shape for name, shape in needed.items() if name not in head}
    votes = _votes(tensors, body, common_prefix(needed))
    fitting = [_part(tensors, prefix) for prefix, (_, fits) in votes.items() if fits == len(body)]
    fitting = fitting or list(_by_shape(tensors, [body, needed], ordered=contents.ordered))
    notes: tuple[str, ...] = ()
    if fitting:
        chosen, notes = _only(fitting, contents, where)
        chosen = replace(chosen, tensors=_without_others(chosen.tensors, expected, head, ordered=contents.ordered))
    else:
        best = max(votes, key=lambda prefix: votes[prefix], default="")
        if best in votes and votes[best][0] >= MIN_SHARE * len(body):
            chosen = _part(tensors, best)
        elif part:
            chosen = _part(tensors, f"{part}.")
        else:
            stored, notes = unwrap(contents.tree, where=where)
            return CheckpointTensors(contents.fetch(stored), notes, contents.ordered)
    left = [name for name in tensors if chosen.tensors.get(name.removeprefix(chosen.prefix)) is not tensors[name]]
    notes = (*_taken(chosen.prefix, contents.tree, tensors), *notes)
    notes += (f"left out of the checkpoint: {list_some(left)} ({len(left):,} in all)",) if left else ()
    return CheckpointTensors(contents.fetch(chosen.tensors), notes, contents.ordered, chosen.prefix)


def _flat(tree: Any, where: str) -> Tensors:
    """Return every tensor that lies in containers with names, under these names, joined by dots."""
    flat: Tensors = {}
    waiting: list[tuple[str, Any, int]] = [("", tree, 0)]
    seen = 0
    while waiting:
        prefix, content, depth = waiting.pop()
        seen += 1
        if isinstance(content, Stored):
            flat[prefix] = content
        elif isinstance(content, Mapping) and depth < MAX_DEPTH:
            waiting += [(f"{prefix}.{name}" if depth else name, content[name], depth + 1) for name in reversed(content)]
        if seen > MAX_VALUES or len(flat) > MAX_TENSORS:
            raise SourceError(f"{where} must hold the tensors of a network", "more than are read", "save them alone")
    return flat


def _below(tensors: Tensors, part: str, where: str) -> Tensors:
    """Return the tensors below the part that the user names, under their whole names."""
    if not part:
        return tensors
    below = {name: value for name, value in tensors.items() if name.startswith(f"{part}.")}
    if not below:
        groups = dict.fromkeys(name.partition(".")[0] for name in tensors)
        raise SourceError(
            f"{where} must hold tensors below {part!r}", list_some(groups, 8) or "none", "name one of these"
        )
    return below


def _part(tensors: Tensors, prefix: str) -> Part:
    below = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return Part(prefix, below)


def _votes(tensors: Tensors, body: Mapping[str, Shape], common: str) -> dict[str, tuple[int, int]]:
    """Return, for each prefix, how many of the body's names stand behind it, and how many of these have its shape."""
    plain = {name.removeprefix(f"{common}."): shape for name, shape in body.items()}
    named: Counter[str] = Counter()
    fitting: Counter[str] = Counter()
    for name, tensor in tensors.items():
        for start in _starts(name):
            if (shape := plain.get(name[start:])) is not None:
                named[name[:start]] += 1
                fitting[name[:start]] += shape == tensor.shape
    return {prefix: (count, fitting[prefix]) for prefix, count in named.items()}


def _starts(name: str) -> list[int]:
    """Return where the parts of a name begin, the first `MAX_DEPTH` of them."""
    return [0, *(dot.end() for dot in islice(re.finditer(r"\.", name), MAX_DEPTH))]


def _by_shape(tensors: Tensors, candidates: Sequence[Mapping[str, Shape]], *, ordered: bool) -> Iterator[Part]:
    """Yield the parts that are one of `candidates`, by order or patterns; of equal ones the deepest."""
    parts: defaultdict[str, dict[str, Shape]] = defaultdict(dict)
    for name, tensor in tensors.items():
        if tensor.floating and not name.endswith(COUNTER):
            for start in _starts(name):
                parts[name[:start]][name] = tensor.shape
    seen = set()
    for prefix in sorted(parts, key=len, reverse=True):
        names = tuple(parts[prefix])
        for shapes in candidates:
            if len(names) == len(shapes) and names not in seen:
                with suppress(Misaligned):
                    align({name[len(prefix) :]: parts[prefix][name] for name in names}, shapes, ordered=ordered)
                    seen.add(names)
                    yield _part(tensors, prefix)


def _only(fitting: Sequence[Part], contents: Contents, where: str) -> tuple[Part, tuple[str, ...]]:
    """Return the part to take of those that fit: the only one, or one of equals, or the one with averaged weights."""
    first, *others = fitting
    if all(_equal(first, part, contents) for part in others):
        return first, ()
    averaged = [part for part in fitting if AVERAGED.search(part.prefix)]
    names = [part.prefix.rstrip(".") or "(the tensors without a prefix)" for part in fitting]
    if len(averaged) != 1:
        raise SourceError(
            f"{where} must hold one network that fits",
            f"{len(fitting)} that fit and differ: {list_some(names, 8)}",
            f"name the one that you mean: file:{where}#{names[-1]}",
        )
    rest = [name for name, part in zip(names, fitting, strict=True) if part is not averaged[0]]
    return averaged[0], (f"averaged weights were taken, and not those of {list_some(rest)}, which fit too",)


def _equal(part: Part, twin: Part, contents: Contents) -> bool:
    if part.tensors.keys() != twin.tensors.keys():
        return False
    first, second = contents.fetch(part.tensors), contents.fetch(twin.tensors)
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def _without_others(tensors: Tensors, expected: Mapping[str, Shape], head: frozenset[str], *, ordered: bool) -> Tensors:
    """Return the tensors of the architecture's own modules, unless all of them are known to be the architecture's.

    Modules in the place of the classifier, which is not there, are left out; any other tensor that the architecture
    does not have stays, and is refused.
    """
    shapes = {name: entry.shape for name, entry in tensors.items() if entry.floating or name in expected}
    with suppress(Misaligned):
        match(shapes, expected, head, ordered=ordered)
        return tensors
    common = common_prefix(expected)
    names = {name.removeprefix(f"{common}.") for name in expected}
    modules = {name.partition(".")[0] for name in names}
    heads = tuple(f"{name.removeprefix(f'{common}.').rpartition('.')[0]}." for name in head)
    if heads and not any(name in tensors for name in head):
        left = {name for name in tensors if "." in name and name.partition(".")[0] not in modules}
    else:
        left = set()
    left |= {name for name in tensors if name.startswith(heads) and name not in names}
    return {name: entry for name, entry in tensors.items() if name not in left}


def _taken(prefix: str, tree: Any, tensors: Tensors) -> tuple[str, ...]:
    """Return what is said of a prefix: in which containers of the checkpoint it lay, and what names began with."""
    trail: list[str] = []
    rest = prefix
    while inner := next((name for name in tree if rest.startswith(f"{name}.") and isinstance(tree[name], Mapping)), ""):
        trail.append(inner)
        tree, rest = tree[inner], rest.removeprefix(f"{inner}.")
    notes: tuple[str, ...] = (f"weights taken from {'.'.join(trail)} of the checkpoint",) if trail else ()
    if rest:
        before = prefix.removesuffix(rest)
        every = all(name.startswith(prefix) for name in tensors if name.startswith(before))
        notes += (f"{rest!r} taken off every name" if every else f"the part {rest!r} was taken",)
    return notes
