"""Texts to learn from: cut into tokens once, and batched by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.base.progress import Progress
from headstart.data.text import Tokens
from headstart.engines.token_batches import STEP, packs, padded, padded_length
from headstart.sources.base import Source, Weights
from headstart.tune.class_names import named
from headstart.tune.inputs.base import ActivationCache, DecodedCache, InputPipeline
from headstart.tune.inputs.row_store import Ragged, Rows
from headstart.tune.network.readers import Given, TextReader
from headstart.tune.problem import TuningProblem
from headstart.tune.settings import ALL
from headstart.tune.trial_config import TrialConfig

WINDOW = 8  # batches among whose texts those of one length find each other
FEW = 32  # texts of a class on average, up to which pairs are worth a try
TRIED = 2 * STEP  # tokens of the texts that a network is tried on


class Texts:
    """Tokens as examples of the training loop.

    Args:
        tokens: of each text.
        y: class ids, int64 of shape (n,).
    """

    def __init__(self, tokens: Sequence[Tokens], y: NDArray[np.int64]) -> None:
        self.y = y
        self._pieces = [text.pieces for text in tokens]
        self.lengths = np.array([max(map(len, text)) for text in self._pieces], dtype=np.int64)
        self.whole = all(len(text) == 1 for text in self._pieces)

    def order(self, epoch: int, *, batch: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch; texts of nearly one length stand together."""
        return bucketed(self.lengths, epoch=epoch, batch=batch, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> Given:
        """Return ids and mask of `rows`: int64 of shape (n, length), or (n, pieces, length) with pieces."""
        texts = [self._pieces[row] for row in rows]
        ids, mask = padded([piece for text in texts for piece in text])
        if all(len(text) == 1 for text in texts):
            return torch.from_numpy(ids), torch.from_numpy(mask)
        counts = np.array([len(text) for text in texts])
        there = np.arange(counts.max()) < counts[:, None]
        spread = [np.zeros((*there.shape, ids.shape[1]), np.int64) for _ in range(2)]
        for whole, flat in zip(spread, (ids, mask), strict=True):
            whole[there] = flat
        return torch.from_numpy(spread[0]), torch.from_numpy(spread[1])


class TextActivationCache(ActivationCache):
    """What the frozen prefix says of each token of each text, without the padding.

    Args:
        shapes: of what is kept of one text; the first is that of its tokens.
        examples: the texts.
        turns: rows that are computed together.
        folder: where the file lies; None keeps everything in memory.
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        examples: Texts,
        turns: Sequence[NDArray[np.intp]],
        *,
        folder: Path | None,
    ) -> None:
        self.lengths = examples.lengths
        super().__init__(shapes, examples.y, turns, views=1, folder=folder)

    def _part(self, at: int, shape: tuple[int, ...], folder: Path | None) -> Any:
        return Rows(len(self.y), shape, np.float32, folder) if at else Ragged(self.lengths, shape[-1], folder)

    def order(self, epoch: int, *, batch: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""
        return bucketed(self.lengths, epoch=epoch, batch=batch, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> Given:
        """Return what was kept of `rows`, and the mask, 1 where there is a token."""
        width = padded_length(int(self.lengths[rows].max(initial=1)))
        mask = (np.arange(width) < self.lengths[rows, None]).astype(np.int64)
        tokens, *blocks = self.parts
        found = (tokens.take(rows, width), *(part.take(rows) for part in blocks), mask)
        return tuple(torch.from_numpy(part) for part in found)


class TextPipeline(InputPipeline):
    """Texts: there are no views of them, and none is of another size."""

    kind = "text"
    rates: ClassVar[Mapping[str, float]] = {
        "norm": 1e-3,
        "lora": 5e-4,
        "last": 5e-5,
        "all": 5e-5,
        "pairs": 9e-5,
        "scratch": 1e-4,
    }

    def __init__(
        self, ground: TuningProblem, way: TrialConfig, *, decoded_cache: DecodedCache, progress: Progress
    ) -> None:
        super().__init__(ground, way, decoded_cache=decoded_cache, progress=progress)
        tokens = decoded_cache.setdefault("tokens", {})
        learn, y = self._read(ground.learn, tokens), ground.y_learn
        if way.named:
            learn, y = [*learn, *named(ground)], np.concatenate([y, np.arange(ground.c)])
        self._texts = Texts(learn, y), Texts(self._read(ground.judge, tokens), ground.y_judge)
        self.own = not ground.source.new_words

    def _read(self, positions: Sequence[int], known: dict[int, Tokens]) -> list[Tokens]:
        dataset, source = self.ground.dataset, self.ground.source
        for at in positions:
            if at not in known:
                tokens = dataset.reread(at, source.prepare)
                assert isinstance(tokens, Tokens)
                known[at] = tokens
        return [known[at] for at in positions]

    @classmethod
    def ways(cls, ground: TuningProblem) -> tuple[tuple[str, bool], ...]:
        """Return the modes that `auto` tries: with few texts a class, also those by pairs."""
        if not ground.stages:
            return ((ALL, False),)
        few = len(ground.learn) <= FEW * ground.c
        plain = (("last:2", False), (ALL, False), ("last:1", False))
        return (("last:3", True), ("last:2", False)) if few else plain

    def reader(self, body: nn.Module) -> TextReader:
        """Return what reads tokens."""
        return TextReader(body, self.ground.source.all_taps, self.ground.taps)

    def blank(self) -> Given:
        """Return the beginning of a text, and half of it."""
        first = self._texts[0].inputs(np.array([0]), epoch=0)[0].reshape(-1)[:TRIED].numpy()
        ids, mask = padded([first.astype(np.int32), first[: max(1, len(first) // 2)].astype(np.int32)])
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def examples(self, *, plain: bool = False) -> tuple[Texts, Texts]:
        """Return the texts to learn from, and those that judge."""
        return self._texts

    def turns(self) -> tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]]:
        """Return the rows of texts of nearly one length, longest first."""
        learn, judge = (list(packs(texts.lengths)) for texts in self._texts)
        return learn, judge

    def kept(self, shapes: Sequence[Sequence[int]], folder: Path | None) -> tuple[ActivationCache, ActivationCache]:
        """Return room for what is kept."""
        learn, judge = (
            TextActivationCache(shapes, texts, turns, folder=folder)
            for texts, turns in zip(self._texts, self.turns(), strict=True)
        )
        return learn, judge

    def tuned(self, weights: Weights) -> Source:
        """Return the tuned source of texts."""
        return self.ground.source.with_weights(weights)

    def size(self, shapes: Sequence[Sequence[int]]) -> int:
        """Return the bytes that keeping takes; 0 where texts are in pieces."""
        if not all(texts.whole for texts in self._texts):
            return 0
        tokens = sum(int(texts.lengths.sum()) for texts in self._texts)
        texts = sum(len(texts.y) for texts in self._texts)
        return 4 * (tokens * shapes[0][-1] + texts * sum(int(np.prod(shape)) for shape in shapes[1:]))


def bucketed(lengths: NDArray[np.int64], *, epoch: int, batch: int, seed: int) -> list[NDArray[np.intp]]:
    """Return rows in batches of nearly one length, all of it in an order of this epoch.

    The first batch is one of middling length: by it the loop judges how long an epoch takes.

    Args:
        lengths: of the n texts, int64 of shape (n,).
        epoch: its number.
        batch: texts in a batch.
        seed: of the order.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths)).astype(np.intp)
    found: list[NDArray[np.intp]] = []
    for window in np.split(order, range(WINDOW * batch, len(order), WINDOW * batch)):
        rows = window[np.argsort(lengths[window], kind="stable")]
        found += np.split(rows, range(batch, len(rows), batch))
    shuffled = [found[at] for at in rng.permutation(len(found))]
    longest = [int(lengths[rows].max(initial=0)) for rows in shuffled]
    middle = int(np.argsort(longest, kind="stable")[len(longest) // 2])
    return [shuffled[middle], *shuffled[:middle], *shuffled[middle + 1 :]]
