"""Whether a horizontally flipped picture keeps its label: measured on the frozen source, before any view is flipped."""

from __future__ import annotations

import copy

import numpy as np
import torch

from headstart.base.progress import Progress
from headstart.data.images.preprocessing import Preprocessing
from headstart.heads.select import refit
from headstart.tune.inputs.images import decode_rows
from headstart.tune.network.classifier import Classifier
from headstart.tune.network.readers import PictureReader
from headstart.tune.problem import TuningProblem
from headstart.tune.training.task import precision

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
    preprocessing = problem.source.preprocessing
    assert isinstance(preprocessing, Preprocessing)
    pictures = decode_rows(problem.dataset, positions, preprocessing, cache=problem.cache, progress=Progress())
    head = refit(problem.x_train, problem.y_train, problem.c, like=problem.head)
    body = copy.deepcopy(problem.source.module()).eval()
    classifier = (
        Classifier(PictureReader(body, preprocessing, problem.taps), head, problem.x_train)
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
    accuracy = (head.scores(problem.x_validation[rows]).argmax(axis=1) == y).mean()
    flipped_accuracy = (np.concatenate(predicted) == y).mean()
    return bool(accuracy >= MIN_FROZEN_ACCURACY and flipped_accuracy >= accuracy - MAX_ACCURACY_LOSS)
