"""Texts to learn from: cut into tokens once, and batched by length."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.base.progress import Progress
from headstart.data.text import Tokens
from headstart.engines.base import STEP, packs, padded, padded_length
from headstart.tune.inputs.base import ActivationCache, DecodedCache, InputPipeline
from headstart.tune.inputs.row_store import RaggedRows, Rows
from headstart.tune.network.readers import Inputs, TextReader
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.settings import ALL

WINDOW = 8  # batches among whose texts those of one length find each other
MAX_TEXTS_FOR_PAIRS = 32  # of a class, on average
BLANK_TOKENS = 2 * STEP  # of the texts that a network is tried on
WORD_BOUNDARY = re.compile(r"[_\W]+|(?<=[a-z])(?=[A-Z])")


class Texts:
    """Tokens as examples of the training loop; `y` are their class ids, int64 of shape (n,)."""

    def __init__(self, tokens: Sequence[Tokens], y: NDArray[np.int64]) -> None:
        self.y = y
        self._pieces = [text.pieces for text in tokens]
        self.lengths = np.array([max(map(len, text)) for text in self._pieces], dtype=np.int64)
        self.whole = all(len(text) == 1 for text in self._pieces)

    def order(self, epoch: int, *, batch_size: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch; texts of nearly one length stand together."""
        return bucketed(self.lengths, epoch=epoch, batch_size=batch_size, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> Inputs:
        """Return ids and mask of `rows`: int64 of shape (n, length), or (n, pieces, length) with pieces."""
        texts = [self._pieces[row] for row in rows]
        ids, mask = padded([piece for text in texts for piece in text])
        if all(len(text) == 1 for text in texts):
            return torch.from_numpy(ids), torch.from_numpy(mask)
        counts = np.array([len(text) for text in texts])
        present = np.arange(counts.max()) < counts[:, None]
        by_text = [np.zeros((*present.shape, ids.shape[1]), np.int64) for _ in range(2)]
        for nested, flat in zip(by_text, (ids, mask), strict=True):
            nested[present] = flat
        return torch.from_numpy(by_text[0]), torch.from_numpy(by_text[1])


class TextActivationCache(ActivationCache):
    """The activations of the frozen prefix for each token of each text, without the padding.

    The first of the shapes is that of a text's tokens.
    """

    def _part(self, number: int, shape: tuple[int, ...], folder: Path | None) -> Any:
        if number:
            return Rows(len(self.firsts), shape, np.float32, folder)
        return RaggedRows(self.lengths[self.firsts], shape[-1], folder)

    def row(self, row: int) -> list[NDArray[np.float32]]:
        """Return what is stored of one text."""
        tokens, *blocks = self.parts
        rows = np.array([row])
        return [tokens.take(rows, int(tokens.lengths[row]))[0], *(part.take(rows)[0] for part in blocks)]

    def order(self, epoch: int, *, batch_size: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""
        return bucketed(self.lengths, epoch=epoch, batch_size=batch_size, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> Inputs:
        """Return the activations of `rows`, and the mask, 1 where there is a token."""
        width = padded_length(int(self.lengths[rows].max(initial=1)))
        mask = (np.arange(width) < self.lengths[rows, None]).astype(np.int64)
        tokens, *blocks = self.parts
        contents = self._rows(rows, view=0)
        arrays = (tokens.take(contents, width), *(part.take(contents) for part in blocks), mask)
        return tuple(torch.from_numpy(array) for array in arrays)


class TextPipeline(InputPipeline):
    """Texts: they are not augmented, and none is of another size."""

    learning_rates: ClassVar[Mapping[str, float]] = {
        "norm": 1e-3,
        "lora": 5e-4,
        "last": 5e-5,
        "all": 5e-5,
        "pairs": 9e-5,
        "scratch": 1e-4,
    }
    cache = TextActivationCache

    def __init__(
        self, problem: TuningProblem, config: TrialConfig, *, decoded_cache: DecodedCache, progress: Progress
    ) -> None:
        super().__init__(problem, config, decoded_cache=decoded_cache, progress=progress)
        cached = decoded_cache.setdefault("tokens", {})
        train, y = self._read(problem.train_positions, cached), problem.y_train
        if config.class_names:
            names = np.arange(len(train), len(train) + problem.c)
            self.first_of = np.concatenate([self.first_of[0], names]), self.first_of[1]
            train, y = [*train, *class_name_tokens(problem)], np.concatenate([y, np.arange(problem.c)])
            if self.train_counts is not None:
                self.train_counts = np.concatenate([self.train_counts, np.ones(problem.c)])
        validation = Texts(self._read(problem.validation_positions, cached), problem.y_validation)
        self._texts = Texts(train, y), validation
        self.has_own_size = not problem.source.new_words

    def _read(self, positions: Sequence[int], cached: dict[str, Tokens]) -> list[Tokens]:
        dataset, source, keys = self.problem.dataset, self.problem.source, self.problem.keys
        for position in positions:
            if keys[position] not in cached:
                tokens = dataset.reread(position, source.prepare)
                assert isinstance(tokens, Tokens)
                cached[keys[position]] = tokens
        return [cached[keys[position]] for position in positions]

    @classmethod
    def auto_modes(cls, problem: TuningProblem) -> tuple[tuple[str, bool], ...]:
        """Return the modes that `auto` tries: with few texts a class, also those by pairs."""
        if not problem.source.stages:
            return ((ALL, False),)
        few = len(problem.y_train) <= MAX_TEXTS_FOR_PAIRS * problem.c
        plain = (("last:2", False), ("last:1", False), (ALL, False))
        return (("last:3", True), ("last:2", False)) if few else plain

    def reader(self, body: nn.Module) -> TextReader:
        """Return the module that reads tokens."""
        return TextReader(body, self.problem.source.all_taps, self.problem.taps)

    def blank(self) -> Inputs:
        """Return the beginning of a text, and half of it."""
        first = self._texts[0].inputs(np.array([0]), epoch=0)[0].reshape(-1)[:BLANK_TOKENS].numpy()
        ids, mask = padded([first.astype(np.int32), first[: max(1, len(first) // 2)].astype(np.int32)])
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def examples(self, *, plain: bool = False) -> tuple[Texts, Texts]:
        """Return the training texts and the validation texts."""
        return self._texts

    def batches(self) -> tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]]:
        """Return the rows of texts of nearly one length, longest first."""
        train, validation = (
            [rows[pack] for pack in packs(texts.lengths[rows])]
            for texts, rows in zip(self._texts, map(np.unique, self.first_of), strict=True)
        )
        return train, validation

    def cache_size(self, shapes: Sequence[Sequence[int]]) -> int:
        """Return the bytes that cached activations take; 0 where texts are in pieces."""
        if not all(texts.whole for texts in self._texts):
            return 0
        lengths = [texts.lengths[np.unique(of)] for texts, of in zip(self._texts, self.first_of, strict=True)]
        tokens, count = sum(int(each.sum()) for each in lengths), sum(map(len, lengths))
        return 4 * (tokens * shapes[0][-1] + count * sum(int(np.prod(shape)) for shape in shapes[1:]))


def bucketed(lengths: NDArray[np.int64], *, epoch: int, batch_size: int, seed: int) -> list[NDArray[np.intp]]:
    """Return rows in batches of nearly one length, all of it in an order of this epoch.

    The first batch is one of middling length: by it the loop estimates how long an epoch takes.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths)).astype(np.intp)
    batches: list[NDArray[np.intp]] = []
    for window in np.split(order, range(WINDOW * batch_size, len(order), WINDOW * batch_size)):
        rows = window[np.argsort(lengths[window], kind="stable")]
        batches += np.split(rows, range(batch_size, len(rows), batch_size))
    shuffled = [batches[number] for number in rng.permutation(len(batches))]
    longest = [int(lengths[rows].max(initial=0)) for rows in shuffled]
    middle = int(np.argsort(longest, kind="stable")[len(longest) // 2])
    return [shuffled[middle], *shuffled[:middle], *shuffled[middle + 1 :]]


def phrase(name: str) -> str:
    """Return the name of a class as words: `card_arrival`, `card-arrival` and `CardArrival` are `card arrival`."""
    return " ".join(WORD_BOUNDARY.sub(" ", name).lower().split())


def class_name_tokens(problem: TuningProblem) -> list[Tokens]:
    """Return the tokens of the name of each class, in the order of the classes."""
    source = problem.source
    tokens = [source.prepare((phrase(name) or name).encode()) for name in problem.dataset.classes]
    assert all(isinstance(of_class, Tokens) for of_class in tokens)
    return cast(list[Tokens], tokens)
