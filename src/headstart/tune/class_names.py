"""Names of classes as examples: `card_arrival` says what it is about, `B2` does not, and the frozen source tells."""

from __future__ import annotations

import copy
import re
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.text import Tokens
from headstart.engines.token_batches import padded
from headstart.heads.calibration import fit_temperature, log_losses
from headstart.heads.folds import assign_folds, content_groups
from headstart.heads.select import refit
from headstart.tune.network.classifier import joined_blocks
from headstart.tune.network.readers import TextReader
from headstart.tune.problem import TuningProblem
from headstart.tune.training.task import precision

FOLDS = 4
BETWEEN = re.compile(r"[_\W]+|(?<=[a-z])(?=[A-Z])")


def phrase(name: str) -> str:
    """Return the name of a class as words: `card_arrival`, `card-arrival` and `CardArrival` are `card arrival`."""
    return " ".join(BETWEEN.sub(" ", name).lower().split())


def named(ground: TuningProblem) -> list[Tokens]:
    """Return the tokens of the name of each class, in the order of the classes."""
    source = ground.source
    tokens = [source.prepare((phrase(name) or name).encode()) for name in ground.dataset.classes]
    assert all(isinstance(one, Tokens) for one in tokens)
    return cast(list[Tokens], tokens)


def names_tell(ground: TuningProblem, device: torch.device, *, seed: int) -> bool:
    """Return whether the head of the frozen source does better with one more example of each class: its name.

    Every example is judged by a head that was fitted without it; the mean log loss must fall by more than one standard
    error of the paired difference.

    Args:
        ground: what tuning stands on.
        device: where to compute.
        seed: of the folds.
    """
    if ground.dataset.kind != "text":
        return False
    whole = ground.whole()
    x, y, c = whole.x, whole.y_learn, whole.c
    more, classes = _features(ground, device), np.arange(c)
    groups, keys = content_groups(x, None)
    folds = assign_folds(y, groups, keys, folds=FOLDS, seed=seed)
    judged = np.flatnonzero(folds >= 0)
    losses = []
    for known, labels in ((x[:0], classes[:0]), (more, classes)):
        scores = np.zeros((len(y), c), np.float32)
        for fold in range(FOLDS):
            learn, out = folds != fold, folds == fold
            if out.any():
                given = np.concatenate([x[learn], known]), np.concatenate([y[learn], labels])
                scores[out] = refit(*given, c, like=whole.head).scores(x[out])
        told, truth = scores[judged], y[judged]
        losses.append(log_losses(told, truth, fit_temperature(told, truth, np.ones(len(truth)))))
    gains = losses[0] - losses[1]
    return bool(len(gains) and gains.mean() > gains.std() / np.sqrt(len(gains)))


def _features(ground: TuningProblem, device: torch.device) -> NDArray[np.float32]:
    """Return the features of the names, float32 of shape (c, d)."""
    source = ground.source
    reader = TextReader(copy.deepcopy(source.module()).eval(), source.all_taps, ground.taps).to(device)
    given = tuple(torch.from_numpy(part).to(device) for part in padded([one.pieces[0] for one in named(ground)]))
    with torch.inference_mode(), precision(device):
        said = reader.blocks(given, {})
        found: NDArray[np.float32] = joined_blocks([block.float() for block in said]).cpu().numpy()
    return found
