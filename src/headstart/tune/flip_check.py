"""Whether a mirrored picture keeps its label: asked of the frozen source, for no view may change what is shown."""

from __future__ import annotations

import copy

import numpy as np
import torch

from headstart.base.progress import Progress
from headstart.data.images.preprocessing import Preprocessing
from headstart.heads.select import refit
from headstart.tune.inputs.images import decoded
from headstart.tune.network.classifier import Classifier
from headstart.tune.network.readers import PictureReader
from headstart.tune.problem import TuningProblem
from headstart.tune.training.task import precision

MOST = 64  # examples that are asked about
COST = 0.03  # accuracy that mirroring may cost
KNOWN = 0.6  # accuracy below which the source has no say
BATCH = 16


def mirror_keeps_labels(ground: TuningProblem, device: torch.device) -> bool:
    """Return whether the frozen source names mirrored pictures as well as plain ones: digits and letters it does not.

    Of what is no picture there is no mirrored one.

    Args:
        ground: what tuning stands on.
        device: where to compute.
    """
    if ground.dataset.kind != "image":
        return False
    asked = ground.judge[:: max(1, len(ground.judge) // MOST)][:MOST]
    at = np.searchsorted(ground.judge, asked)
    how = ground.source.preprocessing
    assert isinstance(how, Preprocessing)
    rows = decoded(ground.dataset, asked, how, cache=ground.cache, progress=Progress())
    head = refit(ground.x, ground.y_learn, ground.c, like=ground.head)
    body = copy.deepcopy(ground.source.module()).eval()
    classifier = (
        Classifier(PictureReader(body, how, ground.taps), head, ground.x)
        .to(device)
        .to(memory_format=torch.channels_last)
    )
    found = []
    with torch.inference_mode(), precision(device):
        for start in range(0, len(asked), BATCH):
            pictures = rows.take(np.arange(start, min(start + BATCH, len(asked))))
            mirrored = torch.from_numpy(np.ascontiguousarray(pictures[:, :, ::-1])).to(device)
            found.append(classifier(mirrored).argmax(dim=1).cpu().numpy())
    y = ground.y_judge[at]
    plain = head.scores(ground.x_judge[at]).argmax(axis=1)
    straight, turned = (plain == y).mean(), (np.concatenate(found) == y).mean()
    return bool(straight >= KNOWN and turned >= straight - COST)
