"""Tuned sources: networks whose weights have learned on the user's own data, over the sources that they began as."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256, sha256_json
from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.base import Source
from headstart.sources.networks.source import Identity, TorchSource
from headstart.sources.text.source import TextSource
from headstart.sources.text.word_network import TunedWords, WordNetwork

if TYPE_CHECKING:
    from torch import nn

Tunable = TorchSource | TextSource | WordNetwork
"""A source whose weights can learn; of texts, one that is a torch network, or word vectors for certain texts."""
Weights = Mapping[str, NDArray[np.float32]]
"""What has changed: float32 arrays by the name of the weight or statistic in the module of the source."""


class Tuned:
    """What tuned sources share.

    Attributes:
        base: the source that it began as.
        weights: what has changed.
    """

    base: TorchSource | TextSource
    weights: dict[str, NDArray[np.float32]]

    def _tuned(self, base: TorchSource | TextSource, weights: Weights) -> Identity:
        """Take base and weights, and return the identity of what comes of them."""
        self.base = base
        # Weights that computed fastest lie in another order in memory; a file holds the plain one.
        self.weights = {name: np.asarray(array, dtype=np.float32, order="C") for name, array in weights.items()}
        parts = [(name, array.shape, sha256(array.data)) for name, array in sorted(self.weights.items())]
        return replace(
            base.identity,
            sha256=sha256_json({"base": base.identity.sha256, "tuned": parts}),
            trained_on=f"{base.identity.trained_on}; then tuned",
        )

    def _changed(self) -> nn.Module:
        import torch

        body = copy.deepcopy(self.base.module())
        held = body.state_dict()
        for name, array in self.weights.items():
            if name not in held or tuple(held[name].shape) != array.shape:
                raise SourceError(
                    f"the tuned weight {name} must be one of {self.base.info.uri}, of its shape",
                    f"shape {array.shape}",
                    "tune the source again",
                )
            with torch.no_grad():
                held[name].copy_(torch.from_numpy(np.asarray(array)))
        return body


class TunedSource(Tuned, TorchSource):
    """A torch source with some of its weights changed, and perhaps another size of its input.

    Args:
        base: the source that it began as.
        weights: what has changed.
        preprocessing: how it was tuned to want its pictures.
    """

    def __init__(self, base: TorchSource, weights: Weights, preprocessing: Preprocessing) -> None:
        identity = self._tuned(base, weights)
        same = preprocessing.size == base.preprocessing.size
        more = [tap for tap in base.more if same or tap.reduce != "flatten"]
        super().__init__(identity, preprocessing, base.taps, self._changed, more=more)
        self.layer = base.layer


class TunedText(Tuned, TextSource):
    """An encoder of texts with some of its weights changed.

    Args:
        base: the source that it began as.
        weights: what has changed.
    """

    def __init__(self, base: TextSource, weights: Weights) -> None:
        identity = self._tuned(base, weights)
        tokenizer = base.tokenizer
        super().__init__(identity, base.preprocessing, base.taps, tokenizer, stages=base.stages, build=self._changed)
        self.layer = base.layer


AnyTuned = TunedSource | TunedText | TunedWords


def is_tuned(source: Source) -> TypeGuard[AnyTuned]:
    """Return whether a source has learned on the user's own data: `base` is what it was, `weights` what has changed."""
    return isinstance(source, (Tuned, TunedWords))
