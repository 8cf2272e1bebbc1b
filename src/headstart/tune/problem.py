"""What a trial of tuning works on: examples, a source, the head chosen on its frozen features; and how it tunes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Dataset
from headstart.data.images.preprocessing import Preprocessing
from headstart.heads.folds import distinct_pairs, visits_of
from headstart.heads.linear import LinearHead
from headstart.heads.select import refit
from headstart.sources.base import Source
from headstart.sources.layers import Tap, stages_of
from headstart.tune.network.param_groups import LAYER_DECAY
from headstart.tune.training.task import Recipe


@dataclass(frozen=True)
class TuningProblem:
    """The data, the source, and the head that tuning starts from and has to beat."""

    dataset: Dataset
    keys: tuple[str, ...]  # the content hash of each example of `dataset`
    train_positions: tuple[int, ...]  # of the n examples to learn from
    validation_positions: tuple[int, ...]  # of the m examples that tuning is evaluated on
    y_train: NDArray[np.int64]  # class ids, of shape (n,)
    y_validation: NDArray[np.int64]  # of shape (m,)
    source: Source
    layer: str  # the layer that the features are taken at
    head: LinearHead  # the kind, penalty and temperature that were chosen
    x: NDArray[np.float32]  # features of shape (k, d), at the source's own input size, one row for each content
    row_of: NDArray[np.intp]  # the row of each example of `dataset`; -1 for one that neither learns nor evaluates
    c: int  # number of classes
    cache: Path  # folder for arrays that do not fit into memory
    held_out: bool = False  # whether validation is of the training part, so that the final model may learn from it
    train_counts: NDArray[np.float64] | None = None  # of `visited`: how many examples each stands for, of shape (n,)

    def without_validation(self) -> TuningProblem:
        """Return the problem in which every example is a training example."""
        return replace(
            self,
            train_positions=(*self.train_positions, *self.validation_positions),
            validation_positions=(),
            y_train=np.concatenate([self.y_train, self.y_validation]),
            y_validation=self.y_validation[:0],
        )

    def tested_on(self, positions: Sequence[int], y: NDArray[np.int64]) -> TuningProblem:
        """Return the problem that learns from the same, and is evaluated on examples at `positions`, of classes `y`."""
        return replace(self, validation_positions=tuple(positions), y_validation=y)

    def with_validation(self, positions: Sequence[int]) -> TuningProblem:
        """Return the problem that is evaluated on the examples at `positions` and learned from all the others."""
        everything, validation = self.without_validation(), set(positions)
        rows = np.array([position in validation for position in everything.train_positions])
        return replace(
            everything,
            train_positions=tuple(position for position in everything.train_positions if position not in validation),
            validation_positions=tuple(position for position in everything.train_positions if position in validation),
            y_train=everything.y_train[~rows],
            y_validation=everything.y_train[rows],
        )

    def features(self, positions: Sequence[int]) -> NDArray[np.float32]:
        """Return the features of some examples, float32 of shape (len(positions), d)."""
        return self.x[self.row_of[np.asarray(positions, dtype=np.intp)]]

    def distinct_train(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        """Return the distinct pairs of features and class id to learn from, and how many examples each stands for."""
        first, _, counts = distinct_pairs(self.row_of[np.array(self.train_positions)], self.y_train, self.c)
        return self.features([self.train_positions[at] for at in first]), self.y_train[first], counts

    def visited(self) -> TuningProblem:
        """Return the problem of an epoch, see `folds.visits_of`: the problem itself where no content repeats massively.

        It is learned from and not divided: each of its training examples stands for as many as `train_counts` says.
        """
        rows = self.row_of[np.array(self.train_positions, np.intp)]
        _, pair_of, counts = distinct_pairs(rows, self.y_train, self.c)
        visits = visits_of(counts)
        if visits is counts:
            return self
        order = np.argsort(pair_of, kind="stable")
        copy_of = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = np.sort(order[copy_of < np.repeat(visits, counts)])
        return replace(
            self,
            train_positions=tuple(self.train_positions[row] for row in kept),
            y_train=self.y_train[kept],
            train_counts=(counts / visits)[pair_of[kept]],
        )

    def refitted(self) -> LinearHead:
        """Return the head with its kind, penalty and temperature, fitted on the examples to learn from."""
        x, y, counts = self.distinct_train()
        return refit(x, y, self.c, like=self.head, counts=counts)

    def validation_scores(self, head: LinearHead) -> NDArray[np.float32]:
        """Return the scores that a head on the frozen features gives the validation examples, of shape (m, c)."""
        rows, back = np.unique(self.row_of[np.array(self.validation_positions, np.intp)], return_inverse=True)
        return head.scores(self.x[rows])[back]

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The taps of the layer, in the order of the head's rows."""
        taps = {tap.name: tap for tap in self.source.all_taps}
        return tuple(taps[name] for name in stages_of(self.layer, [tap.name for tap in self.source.taps]))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the source's input in pixels; zeros where the examples are no pictures."""
        preprocessing = self.source.preprocessing
        return preprocessing.size if isinstance(preprocessing, Preprocessing) else (0, 0)


@dataclass(frozen=True)
class TrialConfig:
    """How a trial tunes."""

    mode: str  # `norm`, `lora`, `last:N` or `all`
    size: int = 0  # side of the network's input, in pixels; 0 for the source's own
    augment: str = "light"
    horizontal_flip: bool = False  # whether a horizontally flipped picture keeps its label
    augmented_views: int = 4  # augmented views of each example, where activations are cached
    train_batchnorm: bool = False  # whether the BatchNorm layers that learn run in training mode
    contrastive: bool = False  # whether the body learns from pairs before a head is fitted (`inputs.contrastive`)
    class_names: bool = False  # whether the name of each class is one more example of it (`frozen_checks`)
    cache_activations: bool = True  # whether the activations of the frozen layers may be cached at all
    cached_at: str | None = None  # the mode at whose boundary they are cached, to be shared; None for `mode`
    layer_decay: float = LAYER_DECAY  # rate of a stage, as a share of that above it; 1 for random weights
    other_rate: bool = False  # whether the learning rate is another one than that of the mode
    recipe: Recipe = field(default_factory=Recipe)

    def at_rate(self, factor: float) -> TrialConfig:
        """Return the same at another learning rate, `factor` times its own."""
        recipe = replace(self.recipe, learning_rate=factor * self.recipe.learning_rate)
        return replace(self, recipe=recipe, other_rate=True)

    @property
    def name(self) -> str:
        """The name of the trial in reports and progress lines."""
        return f"{self.way} at rate {self.recipe.learning_rate:.2g}" if self.other_rate else self.way

    @property
    def way(self) -> str:
        """The name without the learning rate, on which the time of an epoch does not depend."""
        name = f"{self.mode} by pairs" if self.contrastive else self.mode
        name += " and names" if self.class_names else ""
        return f"{name} at {self.size} px" if self.size else name
