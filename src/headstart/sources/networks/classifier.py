"""A network's own classifier: found, and replaced by one of as many classes as wanted.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from headstart.base.errors import SourceError
from headstart.sources.networks.source import build_seeded


def with_classes(body: nn.Module, classes: int, *, seed: int = 0) -> nn.Module:
    """Return `body`, its classifier replaced by a random one of `classes` classes; torch's own state is untouched.

    timm's networks have `reset_classifier`; others a `classifier`, one linear map or 1 x 1 convolution, or SourceError.
    """
    training = body.training
    build_seeded(lambda: _replace_classifier(body, classes), seed)
    return body.train(training)


def _replace_classifier(body: Any, classes: int) -> None:
    if hasattr(body, "reset_classifier"):
        body.reset_classifier(classes)
        return
    new = _like(getattr(body, "classifier", None), classes)
    if hasattr(body, "set_classifier"):
        body.set_classifier(new)
    else:
        body.classifier = new


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
