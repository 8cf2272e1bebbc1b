"""The classifier as one torch module: a source's body, the layer that its features are taken at, and the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.heads.linear import LinearHead
from headstart.heads.principal_axes import mean_and_deviation
from headstart.sources.layers import FAINT
from headstart.tune.network.readers import Reader

TINY = 1e-12
FLATTEST = 0.03
"""Spread of a feature, as a share of the usual one, that is taken for a lesser one.

Some networks have a feature that says nothing but rounding; its slope must not drown all the others.
"""
STEEP = 1e-3


class Classifier(nn.Module):
    """Class scores, float32 of shape (n, c), of what a reader is given, from a head on.

    The head stands on features of zero mean and unit spread, as of `x` (n, d), which it was fitted on, so that one rate
    suits every source; `head` folds that into the plain linear head again. Rows count as `counts` (n,) says.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self, reader: Reader, head: LinearHead, x: NDArray[np.float32], counts: NDArray[np.int64] | None = None
    ) -> None:
        super().__init__()
        self.reader, self.start = reader, head
        mean, spread = mean_and_deviation(x, counts)
        least = max(FLATTEST * float(np.sqrt(np.square(spread).mean())), TINY)
        spread = np.maximum(spread, least)
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)), persistent=False)
        self.register_buffer("spread", torch.from_numpy(spread.astype(np.float32)), persistent=False)
        self.linear = nn.Linear(*head.weight.shape)
        self.set_head(head)

    @property
    def body(self) -> nn.Module:
        """The network, which tuning changes."""
        return self.reader.body

    def set_head(self, head: LinearHead) -> None:
        """Set the linear map to that of a head on the features that `layers.select` gives."""
        mean, spread = self.mean.double().cpu().numpy(), self.spread.double().cpu().numpy()
        weight = head.weight.astype(np.float64) / head.temperature
        bias = head.bias.astype(np.float64) / head.temperature + mean @ weight
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy((spread[:, None] * weight).T))
            self.linear.bias.copy_(torch.from_numpy(bias))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the class scores, calibrated as the head was that it started from."""
        return self.scored(self.features(*inputs))

    def features(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the blocks of the layer, each of shape (n, width), as the network gives them."""
        return self.reader.blocks(inputs, {})

    def scored(self, blocks: Sequence[Tensor]) -> Tensor:
        """Return the class scores of features, in float32 whatever the body computes in."""
        with torch.autocast(blocks[0].device.type, enabled=False):
            joined = joined_blocks([block.float() for block in blocks])
            scores: Tensor = self.linear((joined - self.mean) / self.spread)
        return scores

    def head(self, *, temperature: float = 1.0) -> LinearHead:
        """Return the linear head as it stands now, for the features that `layers.select` gives."""
        spread = self.spread.double().cpu().numpy()
        weight = self.linear.weight.detach().double().cpu().numpy().T / spread[:, None]
        bias = self.linear.bias.detach().double().cpu().numpy() - self.mean.double().cpu().numpy() @ weight
        return replace(
            self.start, weight=weight.astype(np.float32), bias=bias.astype(np.float32), temperature=temperature
        )


def joined_blocks(blocks: Sequence[Tensor]) -> Tensor:
    """Return the blocks of one layer side by side, as `sources.layers.select` does: the torch twin of that function."""
    if len(blocks) == 1:
        return blocks[0]
    return torch.cat([_unit(block) for block in blocks], dim=1)


def _unit(block: Tensor) -> Tensor:
    # The slope of a square root grows without bound towards 0: values near it pass their root on, but no gradient.
    apart = block.abs() > STEEP
    faint = block.detach().abs() <= FAINT * block.detach().norm(dim=1, keepdim=True)
    rooted = block.sign() * torch.where(apart, torch.where(apart, block, 1.0).abs().sqrt(), block.detach().abs().sqrt())
    rooted = rooted.masked_fill(faint, 0)
    length = rooted.square().sum(dim=1, keepdim=True)
    return torch.where(length > 0, rooted / torch.where(length > 0, length, 1.0).sqrt(), 0.0)
