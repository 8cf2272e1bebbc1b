"""What an engine runs and how: a network, examples in batches, and one protocol for every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.spectrogram import Windows
from headstart.data.text import Tokens

if TYPE_CHECKING:
    import openvino
    import torch

BUDGET = 1024
"""Tokens of a batch, padding included: enough to fill the matrix products, few enough to stay in a core's cache."""
STEP = 8  # batches are padded to a multiple of so many tokens, so that a network meets few shapes
LOOKUP = "numpy-f32"
WINDOWS = 4  # batches of windows of long recordings that are run at once

Padded = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Ids, 0 where there is none, and the mask, 1 where there is one; int64 of shape (n, length)."""


@dataclass(frozen=True)
class Block:
    """One output of a network: its name ("pool", "stage4.avg") and its width."""

    name: str
    width: int


@dataclass(frozen=True)
class Network:
    """A frozen network as an engine sees it: prepared examples in, blocks of features out."""

    fingerprint: str  # sha256 over weights, architecture and normalisation; names what is cached of it
    # (height, width, channels) of one prepared picture, uint8; the normalisation is inside the network. Empty for a
    # network of texts, which takes token ids of any length
    input_shape: tuple[int, ...]
    blocks: tuple[Block, ...]  # the outputs in order; each is float32 of shape (n, width)
    # builds the torch module that takes uint8 (n, height, width, channels) and returns a tuple of blocks. Calling it
    # imports torch; an engine that has a compiled copy never does. Where there is only a graph, it raises SourceError
    module: Callable[[], torch.nn.Module]
    # gives the network as a graph of OpenVINO without torch, with the same input and outputs as `module` and a batch of
    # any size; None where it must be converted from the torch module
    graph: Callable[[], openvino.Model] | None = None
    runs_on_torch: bool = True  # whether there is a torch module: not of what comes as a graph (ONNX, SavedModel)
    # gives what turns examples straight into features, float32 of shape (n, width), where the network is but a table of
    # vectors, or none; None elsewhere. No engine has anything to speed up there
    lookup: Callable[[], Lookup] | None = None


PreparedExample = NDArray[np.uint8] | Tokens | Windows
"""One example, ready for a network: a picture, uint8 of shape (h, w, channels), the tokens of a text, or the windows of
a long recording."""
Batch = NDArray[np.uint8] | Sequence[Tokens] | Sequence[NDArray[np.uint8] | Windows]
"""Several of them: pictures as one array (n, h, w, channels), texts, and recordings that may be long, as they are."""
Lookup = Callable[[Sequence[Tokens]], NDArray[np.float32]]


def stacked(examples: Sequence[PreparedExample]) -> Batch:
    """Return prepared examples of one kind as a batch."""
    if examples and isinstance(examples[0], Tokens):
        return cast(Sequence[Tokens], examples)
    if any(isinstance(example, Windows) for example in examples):
        return cast(Sequence[NDArray[np.uint8] | Windows], examples)
    return np.stack(cast(Sequence[NDArray[np.uint8]], examples))


def sample_of(batch: Batch, count: int) -> Batch:
    """Return the first examples of a batch, of long recordings the first window alone."""
    first = [one.pictures_of(0, 1)[0] if isinstance(one, Windows) else one for one in batch[:count]]
    return batch[:count] if isinstance(batch, np.ndarray) else stacked(first)


def over_windows(
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]], batch: Batch, size: int
) -> NDArray[np.float32]:
    """Return the features of recordings, the mean over their windows, float32 of shape (n, width), `size` at a time."""
    recordings = [one if isinstance(one, Windows) else one[None] for one in batch if not isinstance(one, Tokens)]
    counts = [len(recording) for recording in recordings]
    owners, places = np.repeat(np.arange(len(counts)), counts), np.concatenate([np.arange(count) for count in counts])
    sums: NDArray[np.float64] | None = None
    for start in range(0, len(owners), size):
        some = owners[start : start + size]
        parts = []
        for owner in range(some[0], some[-1] + 1):
            own, begin = recordings[owner], int(places[start : start + size][some == owner][0])
            stop = begin + int((some == owner).sum())
            parts.append(own.pictures_of(begin, stop) if isinstance(own, Windows) else own[begin:stop])
        rows = run(np.concatenate(parts))
        sums = np.zeros((len(counts), rows.shape[1])) if sums is None else sums
        np.add.at(sums, some, rows)
    assert sums is not None
    return np.asarray(sums / np.array(counts)[:, None], dtype=np.float32)


def as_tokens(batch: Batch) -> Sequence[Tokens]:
    """Return a batch that holds texts as what it is."""
    return cast(Sequence[Tokens], batch)


class Engine(Protocol):
    """Something that runs a network on this machine."""

    name: str  # engine and precision, such as `torch-f32` or `openvino-bf16`; part of the key of cached features
    batch: int  # how many examples it likes to be given at a time

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Return the blocks side by side, float32 of shape (n, sum of widths)."""


def packs(lengths: NDArray[np.int64], budget: int = BUDGET) -> Iterator[NDArray[np.intp]]:
    """Yield the positions of each batch: longest first, of like lengths, within `budget` tokens, or one piece alone."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = padded_length(int(lengths[order[start]]))
        count = max(1, budget // longest)
        yield order[start : start + count]
        start += count


def padded_length(length: int) -> int:
    """Return `length` rounded up to a multiple of STEP, at least one of them."""
    return max(STEP, -(-length // STEP) * STEP)


def padded(pieces: Sequence[NDArray[np.int32]]) -> Padded:
    """Return pieces side by side, each filled up to the longest."""
    lengths = np.array([len(piece) for piece in pieces])
    width = padded_length(int(lengths.max(initial=1)))
    ids = np.zeros((len(pieces), width), dtype=np.int64)
    mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
    ids[mask.astype(bool)] = np.concatenate(pieces) if len(pieces) else []
    return ids, mask


def over_pieces(
    run: Callable[[list[Padded]], list[NDArray[np.float32]]],
    texts: Sequence[Tokens],
    width: int,
    *,
    budget: int = BUDGET,
) -> NDArray[np.float32]:
    """Return the features of each text, the mean over its pieces, float32 of shape (n, width), `run` by batches."""
    pieces = [piece for text in texts for piece in text.pieces]
    vectors = np.empty((len(pieces), width), dtype=np.float32)
    groups = list(packs(np.array([len(piece) for piece in pieces], dtype=np.int64), budget))
    for group, rows in zip(groups, run([padded([pieces[at] for at in group]) for group in groups]), strict=True):
        vectors[group] = rows
    counts = np.array([len(text.pieces) for text in texts])
    if (counts == 1).all():
        return vectors
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(vectors, starts, axis=0)
    return np.asarray(sums / counts[:, None], dtype=np.float32)


class LookupEngine:
    """Looks vectors up and averages them: all there is to run of a table of vectors."""

    def __init__(self, lookup: Lookup) -> None:
        self.name, self.batch = LOOKUP, 256
        self._lookup = lookup

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Return the features, float32 of shape (n, width)."""
        return self._lookup(as_tokens(batch))
