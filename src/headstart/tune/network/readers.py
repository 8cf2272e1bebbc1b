"""Readers: a source's body as what learns, for examples of one kind; from a batch to the blocks of a layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.networks.bert import mean_of_tokens
from headstart.sources.networks.tapped import Normalised, reduced, seen
from headstart.sources.taps import Tap

Given = tuple[Tensor, ...]
"""What a network is given: a row of each tensor an example."""
STEP = 8  # tokens by which a probe is longer


class Reader(nn.Module, ABC):
    """A body and the taps of one layer.

    Attributes:
        body: the network, which tuning changes.
        taps: where the blocks of the layer are taken, in the order of the head's rows.
    """

    body: nn.Module
    taps: tuple[Tap, ...]

    @abstractmethod
    def blocks(self, given: Given, known: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the blocks of the layer, each of shape (n, width); those that are `known`, by name, as they are."""

    @abstractmethod
    def block(self, tap: Tap, said: Tensor, given: Given) -> Tensor:
        """Return the block that `tap` makes of what its module said."""

    @abstractmethod
    def run(self, given: Given) -> None:
        """Run the body, for what its modules say on the way."""

    @abstractmethod
    def probes(self, given: Given) -> tuple[Given, ...]:
        """Return inputs whose outputs tell what grows with what: one example, two, and two longer ones.

        Args:
            given: two examples.
        """

    @abstractmethod
    def stand_in(self, kept: Tensor, rest: Given, *, empty: bool) -> Given:
        """Return inputs of the right form and no meaning, for a pass that begins behind the boundary.

        Args:
            kept: what the boundary said, a row an example.
            rest: what `rest` returned for them.
            empty: whether there may be no example in them, which costs nothing.
        """

    @staticmethod
    @abstractmethod
    def rest(given: Given) -> Given:
        """Return what of the inputs is needed behind the boundary too."""


class PictureReader(Reader, Normalised):
    """Reads prepared pictures, uint8 of shape (n, h, w, channels).

    Args:
        body: has timm's two steps, `forward_features` and `forward_head(…, pre_logits=True)`.
        how: how it wants its pictures.
        taps: the blocks of the layer.
    """

    def __init__(self, body: nn.Module, how: Preprocessing, taps: Sequence[Tap]) -> None:
        Normalised.__init__(self, body, how)
        self.taps = tuple(taps)
        self._shape = (*how.size, 1 if how.channels == "grey" else 3)

    def blocks(self, given: Given, known: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the blocks of the layer; see `Reader.blocks`."""
        body: Any = self.body
        wanted = [tap for tap in self.taps if tap.name not in known]
        with seen(self.body, sorted({tap.module for tap in wanted if tap.module})) as outputs:
            final = body.forward_features(self.normalised(given[0]))
        outputs[""] = final
        made = {
            tap.name: (
                body.forward_head(final, pre_logits=True).flatten(1)
                if tap.reduce == "pool"
                else reduced(outputs[tap.module], tap.reduce, tap.channels_last)
            )
            for tap in wanted
        }
        return tuple(known[tap.name] if tap.name in known else made[tap.name] for tap in self.taps)

    def block(self, tap: Tap, said: Tensor, given: Given) -> Tensor:
        """Return the block of a tap."""
        return reduced(said, tap.reduce, tap.channels_last)

    def run(self, given: Given) -> None:
        """Run the body."""
        body: Any = self.body
        body.forward_features(self.normalised(given[0]))

    def probes(self, given: Given) -> tuple[Given, ...]:
        """Return one picture, and two."""
        return (given[0][:1],), given

    def stand_in(self, kept: Tensor, rest: Given, *, empty: bool) -> Given:
        """Return blank pictures."""
        count = 0 if empty else len(kept)
        return (torch.zeros(1, dtype=torch.uint8, device=kept.device).expand(count, *self._shape),)

    @staticmethod
    def rest(given: Given) -> Given:
        """Return nothing: no picture is needed twice."""
        return ()


class TextReader(Reader):
    """Reads tokens: ids and mask, int64 of shape (n, length); or (n, pieces, length), where texts are cut into pieces.

    The features of a text in pieces are the mean over them, as `engines.texts.over_pieces` has it; a piece without a
    token is none.

    Args:
        body: takes ids and mask and returns a block for each of `all_taps`.
        all_taps: every tap of the body, in its order.
        taps: the blocks of the layer.
    """

    def __init__(self, body: nn.Module, all_taps: Sequence[Tap], taps: Sequence[Tap]) -> None:
        super().__init__()
        self.body, self.taps = body, tuple(taps)
        self._place = {tap.name: at for at, tap in enumerate(all_taps)}

    def blocks(self, given: Given, known: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the blocks of the layer; see `Reader.blocks`."""
        ids, mask = given
        if ids.ndim == 2:
            said = self.body(ids, mask)
            return tuple(known.get(tap.name, said[self._place[tap.name]]) for tap in self.taps)
        there = mask.any(2)
        said = self.body(ids[there], mask[there])
        return tuple(_over_pieces(said[self._place[tap.name]], there) for tap in self.taps)

    def block(self, tap: Tap, said: Tensor, given: Given) -> Tensor:
        """Return the block of a tap: the mean over tokens, of unit length."""
        return nn.functional.normalize(mean_of_tokens(said, given[1]), dim=1)

    def run(self, given: Given) -> None:
        """Run the body."""
        self.body(*given)

    def probes(self, given: Given) -> tuple[Given, ...]:
        """Return one text, two, and two that are longer."""
        longer = tuple(torch.cat([part, part[:, :STEP]], 1) for part in given)
        return tuple(part[:1] for part in given), given, longer

    def stand_in(self, kept: Tensor, rest: Given, *, empty: bool) -> Given:
        """Return ids of no meaning beside the mask as it was."""
        (mask,) = rest
        return torch.zeros_like(mask), mask

    @staticmethod
    def rest(given: Given) -> Given:
        """Return the mask, which attention and the mean over tokens need."""
        return (given[1],)


def _over_pieces(rows: Tensor, there: Tensor) -> Tensor:
    """Return the mean of each text's pieces, of shape (n, width); `there` (n, pieces) says which there are."""
    owners = there.nonzero()[:, 0]
    sums = rows.new_zeros(len(there), rows.shape[1]).index_add(0, owners, rows)
    return sums / there.sum(1, keepdim=True)
