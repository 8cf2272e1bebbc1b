"""Class names as training examples: `card_arrival` describes its texts, `B2` does not; the frozen source can tell."""

from __future__ import annotations

import copy
import re
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.text import Tokens
from headstart.engines.base import padded
from headstart.heads.folds import assign_folds, content_groups
from headstart.heads.linear import fit_temperature, log_losses
from headstart.heads.select import refit
from headstart.tune.network.classifier import joined_blocks
from headstart.tune.network.readers import TextReader
from headstart.tune.problem import TuningProblem
from headstart.tune.training.task import precision

FOLDS = 4
WORD_BOUNDARY = re.compile(r"[_\W]+|(?<=[a-z])(?=[A-Z])")


def phrase(name: str) -> str:
    """Return the name of a class as words: `card_arrival`, `card-arrival` and `CardArrival` are `card arrival`."""
    return " ".join(WORD_BOUNDARY.sub(" ", name).lower().split())


def class_name_tokens(problem: TuningProblem) -> list[Tokens]:
    """Return the tokens of the name of each class, in the order of the classes."""
    source = problem.source
    tokens = [source.prepare((phrase(name) or name).encode()) for name in problem.dataset.classes]
    assert all(isinstance(of_class, Tokens) for of_class in tokens)
    return cast(list[Tokens], tokens)


def class_names_help(problem: TuningProblem, device: torch.device, *, seed: int) -> bool:
    """Return whether the head of the frozen source does better with one more example of each class: its name.

    Every example is scored by a head that was fitted without it; the mean log loss must fall by more than one standard
    error of the paired difference. `seed` is that of the folds.
    """
    if problem.dataset.kind != "text":
        return False
    everything = problem.without_validation()
    x, y, c = everything.x_train, everything.y_train, everything.c
    names, classes = _name_features(problem, device), np.arange(c)
    groups, keys = content_groups(x, None)
    folds = assign_folds(y, groups, keys, folds=FOLDS, seed=seed)
    rows = np.flatnonzero(folds >= 0)
    losses = []
    for extra_x, extra_y in ((names[:0], classes[:0]), (names, classes)):
        scores = np.zeros((len(y), c), np.float32)
        for fold in range(FOLDS):
            held_out = folds == fold
            if held_out.any():
                examples = np.concatenate([x[~held_out], extra_x]), np.concatenate([y[~held_out], extra_y])
                scores[held_out] = refit(*examples, c, like=everything.head).scores(x[held_out])
        scored, truth = scores[rows], y[rows]
        losses.append(log_losses(scored, truth, fit_temperature(scored, truth, np.ones(len(truth)))))
    gains = losses[0] - losses[1]
    return bool(len(gains) and gains.mean() > gains.std() / np.sqrt(len(gains)))


def _name_features(problem: TuningProblem, device: torch.device) -> NDArray[np.float32]:
    """Return the features of the class names, float32 of shape (c, d)."""
    source = problem.source
    reader = TextReader(copy.deepcopy(source.module()).eval(), source.all_taps, problem.taps).to(device)
    ids_and_mask = padded([tokens.pieces[0] for tokens in class_name_tokens(problem)])
    with torch.inference_mode(), precision(device):
        blocks = reader.blocks(tuple(torch.from_numpy(part).to(device) for part in ids_and_mask), {})
        features: NDArray[np.float32] = joined_blocks([block.float() for block in blocks]).cpu().numpy()
    return features
