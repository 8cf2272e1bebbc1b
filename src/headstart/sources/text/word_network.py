"""The network of word vectors: a table, of which the blocks of a text are means.

Imports torch: only `word_source` imports this file, and only when it builds the network.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.sources.networks.bert import mean_of_tokens


class WordMeans(nn.Module):
    """The blocks of texts that `WordSource` has.

    Args:
        places: of the words in the index of the file, ascending, int32 of shape (words,).
        vectors: float32 of shape (words, width).
        rare: how much each word counts in `sif`, float32 of shape (words,).
        common: the direction that is removed from `sif`, float32 of shape (width,).
    """

    places: Tensor
    rare: Tensor
    common: Tensor

    def __init__(
        self,
        places: NDArray[np.int32],
        vectors: NDArray[np.float32],
        rare: NDArray[np.float32],
        common: NDArray[np.float32],
    ) -> None:
        super().__init__()
        words, width = vectors.shape
        self.vectors = nn.Embedding(words, width, _weight=torch.from_numpy(vectors.copy()))
        self.register_buffer("places", torch.from_numpy(places.astype(np.int64)), persistent=False)
        self.register_buffer("rare", torch.from_numpy(rare.copy()), persistent=False)
        self.register_buffer("common", torch.from_numpy(common.copy()), persistent=False)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the blocks, float32 of shape (n, width), for places and mask, int64 of shape (n, length).

        A text without a word that stands in the table is zeros.
        """
        if not len(self.places):
            nothing = self.rare.new_zeros(len(ids), self.vectors.embedding_dim)
            return nothing, nothing, nothing
        rows = torch.searchsorted(self.places, ids).clamp(max=len(self.places) - 1)
        vectors = self.vectors(rows)
        plain = mean_of_tokens(vectors, mask)
        weighted = mean_of_tokens(vectors * self.rare[rows][:, :, None], mask)
        present = mask.bool()[:, :, None]
        greatest = vectors.masked_fill(~present, -torch.inf).amax(1).where(present.any(1), 0.0)
        return plain, weighted - torch.outer(weighted @ self.common, self.common), greatest
