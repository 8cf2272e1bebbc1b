"""Readers: a source's body as what learns, for examples of one kind; from a batch to the blocks of a layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from headstart.sources.layers import Tap
from headstart.sources.networks.bert import mean_of_tokens
from headstart.sources.networks.tapped import Tapped, reduced

Inputs = tuple[Tensor, ...]
"""The inputs of a network: a row of each tensor an example."""
LONGER = 8  # tokens by which a probe is longer


class Reader(nn.Module, ABC):
    """A body, which tuning changes, and the taps of one layer, in the order of the head's rows."""

    body: nn.Module
    taps: tuple[Tap, ...]

    @abstractmethod
    def blocks(self, inputs: Inputs, cached: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the blocks of the layer, each of shape (n, width); those that are `cached`, by name, as they are."""

    @abstractmethod
    def block(self, tap: Tap, output: Tensor, inputs: Inputs) -> Tensor:
        """Return the block that `tap` makes of the output of its module."""

    @abstractmethod
    def probes(self, inputs: Inputs) -> tuple[Inputs, ...]:
        """Return inputs whose outputs tell what grows with what: one example, the two given, and two longer ones."""

    @abstractmethod
    def stand_in(self, activations: Tensor, rest: Inputs, *, empty: bool) -> Inputs:
        """Return inputs of the right form and no meaning, for a pass that begins behind the boundary.

        `activations` are the output of the boundary, and `rest` what `rest` returned; an `empty` pass, which costs
        nothing, has no example in it.
        """

    @staticmethod
    @abstractmethod
    def rest(inputs: Inputs) -> Inputs:
        """Return what of the inputs is needed behind the boundary too."""


class PictureReader(Reader, Tapped):
    """Reads prepared pictures, uint8 of shape (n, h, w, channels).

    The body has timm's two steps, `forward_features` and `forward_head(…, pre_logits=True)`.
    """

    def blocks(self, inputs: Inputs, cached: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the blocks of the layer; see `Reader.blocks`."""
        return self.with_cached(inputs[0], cached)

    def block(self, tap: Tap, output: Tensor, inputs: Inputs) -> Tensor:
        """Return the block of a tap."""
        return reduced(output, tap.reduce, tap.channels_last)

    def probes(self, inputs: Inputs) -> tuple[Inputs, ...]:
        """Return one picture, and two."""
        return (inputs[0][:1],), inputs

    def stand_in(self, activations: Tensor, rest: Inputs, *, empty: bool) -> Inputs:
        """Return blank pictures."""
        count = 0 if empty else len(activations)
        return (torch.zeros(1, dtype=torch.uint8, device=activations.device).expand(count, *self.shape),)

    @staticmethod
    def rest(inputs: Inputs) -> Inputs:
        """Return nothing: no picture is needed twice."""
        return ()


class TextReader(Reader):
    """Reads tokens: ids and mask, int64 of shape (n, length); or (n, pieces, length), where texts are cut into pieces.

    The features of a text in pieces are the mean over them, as `engines.base.over_pieces` has it; a piece without a
    token is none. The body takes ids and mask and returns a block for each of `all_taps`, in their order.
    """

    def __init__(self, body: nn.Module, all_taps: Sequence[Tap], taps: Sequence[Tap]) -> None:
        super().__init__()
        self.body, self.taps = body, tuple(taps)
        self._place = {tap.name: place for place, tap in enumerate(all_taps)}

    def blocks(self, inputs: Inputs, cached: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the blocks of the layer; see `Reader.blocks`."""
        ids, mask = inputs
        if ids.ndim == 2:
            outputs = self.body(ids, mask)
            return tuple(cached.get(tap.name, outputs[self._place[tap.name]]) for tap in self.taps)
        present = mask.any(2)
        outputs = self.body(ids[present], mask[present])
        return tuple(_over_pieces(outputs[self._place[tap.name]], present) for tap in self.taps)

    def block(self, tap: Tap, output: Tensor, inputs: Inputs) -> Tensor:
        """Return the block of a tap: the mean over tokens, of unit length."""
        return nn.functional.normalize(mean_of_tokens(output, inputs[1]), dim=1)

    def probes(self, inputs: Inputs) -> tuple[Inputs, ...]:
        """Return one text, two, and two that are longer."""
        longer = tuple(torch.cat([part, part[:, :LONGER]], 1) for part in inputs)
        return tuple(part[:1] for part in inputs), inputs, longer

    def stand_in(self, activations: Tensor, rest: Inputs, *, empty: bool) -> Inputs:
        """Return ids of no meaning beside the mask as it was."""
        (mask,) = rest
        return torch.zeros_like(mask), mask

    @staticmethod
    def rest(inputs: Inputs) -> Inputs:
        """Return the mask, which attention and the mean over tokens need."""
        return (inputs[1],)


def _over_pieces(rows: Tensor, present: Tensor) -> Tensor:
    """Return the mean of each text's pieces, of shape (n, width); `present` (n, pieces) marks those there are."""
    owners = present.nonzero()[:, 0]
    sums = rows.new_zeros(len(present), rows.shape[1]).index_add(0, owners, rows)
    return sums / present.sum(1, keepdim=True)
