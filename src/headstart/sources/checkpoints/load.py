"""Loading a released checkpoint into a named architecture: every weight of the body, or an error; imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from headstart.base.config import cache_dir
from headstart.base.disk import write_atomic
from headstart.base.errors import SourceError, list_some
from headstart.base.hashing import sha256
from headstart.sources.checkpoints.align import COUNTER, Alignment, Misaligned, Shape, align, role, strip_prefixes
from headstart.sources.checkpoints.read import CheckpointTensors, check_finite

NAME_ANOTHER = "name the architecture that the weights belong to"


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint brought: whether its classifier is the architecture's, and notes for its user."""

    classifier: bool
    notes: tuple[str, ...]


def load_checkpoint(body: nn.Module, checkpoint: CheckpointTensors, *, where: str) -> Loaded:
    """Load a checkpoint into `body`: every tensor of both, but for the classifier and what the notes say.

    A classifier that is absent or has another number of classes is left out; nothing else may be.

    Raises:
        SourceError: a weight of the body is missing or one is left over, a shape differs, a number is not finite, or
            which tensor is which is not certain; the message names a file with both lists side by side.
    """
    expected = body.state_dict()
    tensors, notes = _without_tables(checkpoint.tensors, expected)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    needed = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    head = classifier_names(body)
    try:
        alignment, dropped = match(shapes, needed, head, ordered=checkpoint.ordered)
    except Misaligned as error:
        data = error.both.encode("utf-8", "backslashreplace")
        lists = cache_dir() / "sources" / f"unaligned-{sha256(data)[:12]}.txt"
        write_atomic(lists, data)
        raise SourceError(
            f"{where} must fit the architecture tensor by tensor", error, f"{NAME_ANOTHER}; both lists are in {lists}"
        ) from error
    state = {name: tensors[source].to(expected[name].dtype) for name, source in alignment.pairs.items()}
    check_finite({checkpoint.prefix + alignment.pairs[name]: tensor for name, tensor in state.items()}, where=where)
    for name, tensor in state.items():
        if role(name) == "variance" and (tensor < 0).any():
            culprit = f"one in {checkpoint.prefix}{alignment.pairs[name]}, matched by {alignment.method}"
            raise SourceError(f"{where} must hold no variance below zero", culprit, NAME_ANOTHER)
    missing, unexpected = body.load_state_dict(state, strict=False)
    left = [name for name in missing if name not in head and not name.endswith(COUNTER)]
    if left or unexpected:
        raise SourceError(f"{where} must hold every weight of the body", f"none for {list_some(left)}", NAME_ANOTHER)
    body.eval()
    whole = head <= alignment.pairs.keys()
    if not whole:
        notes = (*notes, _head_note(dropped, shapes, needed, head))
    return Loaded(whole and bool(head), (*checkpoint.notes, *alignment.notes, *notes))


def match(
    checkpoint: Mapping[str, Shape], expected: Mapping[str, Shape], head: frozenset[str], *, ordered: bool
) -> tuple[Alignment, tuple[str, ...]]:
    """Return the match, and which tensors of the checkpoint are a classifier left out; Misaligned without a proof."""
    try:
        return align(checkpoint, expected, ordered=ordered), ()
    except Misaligned as error:
        first = whole = error
    body = {name: shape for name, shape in expected.items() if name not in head}
    for dropped in _heads(checkpoint, expected, head) if head else ():
        remaining = {name: shape for name, shape in checkpoint.items() if name not in dropped}
        try:
            return align(remaining, body, ordered=ordered), dropped
        except Misaligned as error:
            first = error if dropped and first is whole else first  # the likeliest classifier is tried first
    raise first


def _heads(
    checkpoint: Mapping[str, Shape], expected: Mapping[str, Shape], head: frozenset[str]
) -> Iterator[tuple[str, ...]]:
    """Yield what may be the checkpoint's classifier: what is named so, the last tensors that look like one, nothing."""
    named = tuple(was for name, was in strip_prefixes(checkpoint, expected).items() if name in head)
    if named:
        yield named
    features = {shape[1] for name, shape in expected.items() if name in head and len(shape) > 1}
    names = [name for name in checkpoint if not name.endswith(COUNTER)]
    for position, name in enumerate(names):
        shape = checkpoint[name]
        if len(shape) not in (2, 4) or shape[1] not in features or any(side != 1 for side in shape[2:]):
            continue
        beside = next(
            (near for near in names[max(position - 1, 0) : position + 2] if checkpoint[near] == shape[:1]), None
        )
        classifier = (name,) if beside is None else (name, beside)
        if classifier != named:
            yield classifier
    yield ()


def classifier_names(body: nn.Module) -> frozenset[str]:
    """Return the names of the tensors of a network's own classifier: timm's `get_classifier`, or `classifier`."""
    network: Any = body
    named = network.get_classifier() if hasattr(network, "get_classifier") else getattr(network, "classifier", None)
    parts = named if isinstance(named, (tuple, list)) else (named,)
    own = {id(tensor) for part in parts if isinstance(part, nn.Module) for tensor in part.parameters()}
    return frozenset(name for name, tensor in body.named_parameters(remove_duplicate=False) if id(tensor) in own)


def _without_tables(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors without counters and tables of whole numbers that the architecture makes itself."""
    ours = strip_prefixes(tensors, expected)
    whole = {was for name, was in ours.items() if not tensors[was].is_floating_point() and name not in expected}
    tables = [name for name in whole if tensors[name].ndim]
    remaining = {name: tensor for name, tensor in tensors.items() if name not in whole}
    notes = (f"{len(tables)} tables of whole numbers left out, such as {min(tables)}",) if tables else ()
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in remaining.values() if tensor.is_floating_point()}
    if odd := sorted(kinds - {"float32"}):
        notes = (*notes, f"weights stored as {', '.join(odd)}")
    return remaining, notes


def _head_note(
    dropped: tuple[str, ...], checkpoint: Mapping[str, Shape], expected: Mapping[str, Shape], head: frozenset[str]
) -> str:
    classes = next(expected[name][0] for name in sorted(head))
    if not dropped:
        return f"the checkpoint has no classifier (the architecture's has {classes:,} classes): features only"
    theirs = checkpoint[dropped[0]][0]
    return f"its classifier was left out ({theirs:,} classes where the architecture has {classes:,}): features only"


def load_in_order(body: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Load `state` into `body` by position: the same tensors under other names, in the same order.

    SourceError: the count, a shape or a kind of number differs, or a number is not finite.
    """
    expected = body.state_dict()
    if len(state) != len(expected):
        raise SourceError(
            f"{where} must hold the {len(expected)} tensors of the architecture",
            f"{len(state)} tensors",
            NAME_ANOTHER,
        )
    paired = dict(zip(expected, state.values(), strict=True))
    check_shapes(expected, paired, where=where)
    check_finite(state, where=where)
    body.load_state_dict(paired, strict=True)


def check_shapes(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Raise SourceError, listing the first three, where a tensor differs in shape or kind from what is wanted."""
    wrong = [
        f"{name} {_shown(tensors[name])} for {_shown(tensor)}"
        for name, tensor in expected.items()
        if tensors[name].shape != tensor.shape or tensors[name].is_floating_point() != tensor.is_floating_point()
    ]
    if wrong:
        raise SourceError(
            f"{where} must fit the architecture tensor by tensor",
            f"{len(wrong)} that do not: {list_some(wrong)}",
            NAME_ANOTHER,
        )


def _shown(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {tensor.dtype}".replace("torch.", "")
    return f"({', '.join(map(str, tensor.shape))}){kind}"
