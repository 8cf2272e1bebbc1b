"""The network of a source with random weights: what scratch begins with."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from headstart.base.errors import SourceError
from headstart.data.images.preprocessing import Preprocessing
from headstart.run.prepare import PreparedData, as_network
from headstart.sources.base import Source
from headstart.sources.registry import open_source

STATISTICS_BATCH, STATISTICS_PICTURES = 32, 512
"""The pictures of a batch over which BatchNorm's first statistics are taken, and at most so many in all."""


def random_network(prepared: PreparedData, *, seed: int) -> Source:
    """Return the network of the data's source with random weights.

    Raises:
        SourceError: it is no network that could learn, or its architecture is not known.
    """
    source = prepared.source
    own = source.anew(seed)
    if own is not None:
        return as_network(prepared, "training", own)
    if source.opened is None:
        raise SourceError(
            "scratch needs a source that was opened by its URI", source.info.uri, "give the URI, or leave scratch out"
        )
    return as_network(prepared, "scratch", open_source(**{**source.opened, "weights": "none", "seed": seed}))


def with_batchnorm_statistics(source: Source, prepared: PreparedData) -> Source:
    """Return a network whose BatchNorm has the statistics of the labelled pictures; no weight has learned.

    Random weights have no statistics: in training mode the network gives other features than those that a head was
    fitted on in inference mode.
    """
    import torch

    from headstart.sources.networks.tapped import Tapped
    from headstart.tune.network.param_groups import has_statistics, statistics_of

    preprocessing = source.preprocessing
    if not isinstance(preprocessing, Preprocessing):
        return source
    body = copy.deepcopy(source.module())
    norms: Any = {name: module for name, module in body.named_modules() if has_statistics(module)}
    if not norms:
        return source
    for module in norms.values():
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
        module.training = True
    network = Tapped(body, preprocessing, source.taps[:1])
    dataset, train = prepared.scan.dataset, prepared.parts.train
    positions = train[:: -(-len(train) // STATISTICS_PICTURES)]
    with torch.inference_mode():
        for start in range(0, len(positions), STATISTICS_BATCH):
            batch = [dataset.read(position) for position in positions[start : start + STATISTICS_BATCH]]
            network(torch.from_numpy(np.asarray(source.prepare_all(batch))))
    statistics = statistics_of(body, list(norms))
    return source.with_weights({name.removeprefix("body."): tensor.numpy() for name, tensor in statistics.items()})
