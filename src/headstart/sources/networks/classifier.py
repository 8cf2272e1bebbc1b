"""A network's own classifier: found, and replaced by one of as many classes as wanted.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from headstart.base.errors import SourceError


def with_classes(body: nn.Module, classes: int, *, seed: int = 0) -> nn.Module:
    """Return `body`, its classifier replaced by a random one of `classes` classes; torch's own state is untouched.

    Args:
        body: timm's networks have `reset_classifier`; others a `classifier`, one linear map or 1 x 1 convolution.
        classes: at least 1.
        seed: of the weights.

    Raises:
        SourceError: the network has no such classifier.
    """
    given: Any = body
    training = body.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hasattr(given, "reset_classifier"):
            given.reset_classifier(classes)
        else:
            new = _like(getattr(given, "classifier", None), classes)
            if hasattr(given, "set_classifier"):
                given.set_classifier(new)
            else:
                given.classifier = new
    return body.train(training)


def _like(old: Any, classes: int) -> nn.Module:
    """Return a classifier like `old` of another number of classes."""
    biased = getattr(old, "bias", None) is not None
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, classes, bias=biased)
    if isinstance(old, nn.Conv2d) and old.kernel_size == (1, 1):
        return nn.Conv2d(old.in_channels, classes, 1, bias=biased)
    raise SourceError(
        "an architecture that is trained anew must end in one linear map",
        type(old).__name__,
        "name another one, such as timm:resnet18",
    )
