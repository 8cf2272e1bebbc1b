"""What the frozen source can tell before anything learns: whether a flip keeps labels, whether class names help."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.base.progress import Progress
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.base import padded
from headstart.heads.folds import assign_folds, content_groups, weighted_mean
from headstart.heads.linear import fit_temperature, log_losses
from headstart.heads.select import refit
from headstart.tune.inputs.images import decode_rows
from headstart.tune.inputs.texts import class_name_tokens
from headstart.tune.network.classifier import Classifier, joined_blocks
from headstart.tune.network.readers import PictureReader, TextReader
from headstart.tune.problem import TuningProblem
from headstart.tune.training.task import precision

FOLDS = 4
MAX_FLIPPED = 64  # validation pictures that are flipped
MAX_ACCURACY_LOSS = 0.03
MIN_FROZEN_ACCURACY = 0.6  # below it the source knows too little to tell
BATCH = 16


def flip_keeps_labels(problem: TuningProblem, device: torch.device) -> bool:
    """Return whether the frozen source classifies flipped pictures as well as plain ones: not so digits or letters.

    Examples that are no pictures are never flipped.
    """
    if problem.dataset.kind != "image":
        return False
    validation = problem.validation_positions
    positions = validation[:: max(1, len(validation) // MAX_FLIPPED)][:MAX_FLIPPED]
    rows = np.searchsorted(validation, positions)
    x, y, counts = problem.distinct_train()
    preprocessing = problem.source.preprocessing
    assert isinstance(preprocessing, Preprocessing)
    pictures = decode_rows(problem.dataset, positions, preprocessing, cache=problem.cache, progress=Progress())
    head = refit(x, y, problem.c, like=problem.head, counts=counts)
    body = copy.deepcopy(problem.source.module()).eval()
    classifier = (
        Classifier(PictureReader(body, preprocessing, problem.taps), head, x, counts)
        .to(device)
        .to(memory_format=torch.channels_last)
    )
    predicted = []
    with torch.inference_mode(), precision(device):
        for start in range(0, len(positions), BATCH):
            batch = pictures.take(np.arange(start, min(start + BATCH, len(positions))))
            flipped = torch.from_numpy(np.ascontiguousarray(batch[:, :, ::-1])).to(device)
            predicted.append(classifier(flipped).argmax(dim=1).cpu().numpy())
    y = problem.y_validation[rows]
    accuracy = (head.scores(problem.features(positions)).argmax(axis=1) == y).mean()
    flipped_accuracy = (np.concatenate(predicted) == y).mean()
    return bool(accuracy >= MIN_FROZEN_ACCURACY and flipped_accuracy >= accuracy - MAX_ACCURACY_LOSS)


def class_names_help(problem: TuningProblem, device: torch.device, *, seed: int) -> bool:
    """Return whether the head of the frozen source does better with one more example of each class: its name.

    Every example is scored by a head that was fitted without it; the mean log loss must fall by more than one standard
    error of the paired difference. `seed` is that of the folds.
    """
    if problem.dataset.kind != "text":
        return False
    everything = problem.without_validation()
    (x, y, counts), c = everything.distinct_train(), everything.c
    names, classes = _name_features(problem, device), np.arange(c)
    groups, keys = content_groups(x, None)
    folds = assign_folds(y, groups, keys, folds=FOLDS, seed=seed, counts=counts)
    rows = np.flatnonzero(folds >= 0)
    if not len(rows):
        return False
    weights = counts[rows].astype(np.float64)
    losses = []
    for extra_x, extra_y in ((names[:0], classes[:0]), (names, classes)):
        scores = np.zeros((len(y), c), np.float32)
        for fold in range(FOLDS):
            held_out = folds == fold
            if held_out.any():
                examples = np.concatenate([x[~held_out], extra_x]), np.concatenate([y[~held_out], extra_y])
                standing = np.concatenate([counts[~held_out], np.ones_like(extra_y)])
                head = refit(*examples, c, like=everything.head, counts=standing)
                scores[held_out] = head.scores(x[held_out])
        scored, truth = scores[rows], y[rows]
        losses.append(log_losses(scored, truth, fit_temperature(scored, truth, weights)))
    gain, standard_error = weighted_mean(losses[0] - losses[1], weights)
    return gain > standard_error


def _name_features(problem: TuningProblem, device: torch.device) -> NDArray[np.float32]:
    """Return the features of the class names, float32 of shape (c, d)."""
    source = problem.source
    reader = TextReader(copy.deepcopy(source.module()).eval(), source.all_taps, problem.taps).to(device)
    ids_and_mask = padded([tokens.pieces[0] for tokens in class_name_tokens(problem)])
    with torch.inference_mode(), precision(device):
        blocks = reader.blocks(tuple(torch.from_numpy(part).to(device) for part in ids_and_mask), {})
        features: NDArray[np.float32] = joined_blocks([block.float() for block in blocks]).cpu().numpy()
    return features
