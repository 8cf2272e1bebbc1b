"""BERT as an encoder of sentences, so that the default source of texts needs torch and nothing else.

The parts have the names that released weights give them, so that these load by name. The design is that of Devlin et
al., "BERT", NAACL 2019; the mean over tokens that of Reimers & Gurevych, "Sentence-BERT", EMNLP 2019. Imports torch:
only the files that build a network import this one.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from headstart.sources.sizes import BERT_EPSILON, BertSizes


class Bert(nn.Module):
    """The encoder: the output of every layer, for ids and mask of shape (n, length)."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))

    def forward(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the tokens' vectors after each layer, of shape (n, length, width)."""
        values = self.embeddings(ids)
        seen = (mask > 0)[:, None, None, :]
        outputs = []
        for layer in self.encoder.layer:  # type: ignore[union-attr]
            values = layer(values, seen)
            outputs.append(values)
        return outputs


class Embeddings(nn.Module):
    """Words, positions and the first of two kinds of segments, added and normalised."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.words, sizes.width)
        self.position_embeddings = nn.Embedding(sizes.positions, sizes.width)
        self.token_type_embeddings = nn.Embedding(2, sizes.width)
        self.LayerNorm = nn.LayerNorm(sizes.width, eps=BERT_EPSILON)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of tokens, of shape (n, length, width)."""
        positions = self.position_embeddings.weight[: ids.shape[1]]
        vectors: Tensor = self.LayerNorm(self.word_embeddings(ids) + positions + self.token_type_embeddings.weight[0])
        return vectors


class Layer(nn.Module):
    """Attention, then two linear maps; each added to its input and normalised."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.attention = nn.Module()
        self.attention.self = Attention(sizes)
        self.attention.output = Output(sizes.width, sizes.width)
        self.intermediate = nn.Module()
        self.intermediate.dense = nn.Linear(sizes.width, sizes.inner)
        self.output = Output(sizes.inner, sizes.width)

    def forward(self, values: Tensor, seen: Tensor) -> Tensor:
        """Return the layer's output, of the shape of its input."""
        attention, inner = cast(Any, self.attention), cast(Any, self.intermediate)
        values = attention.output(attention.self(values, seen), values)
        output: Tensor = self.output(F.gelu(inner.dense(values)), values)
        return output


class Attention(nn.Module):
    """Every token looks at every other, in several heads."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.query = nn.Linear(sizes.width, sizes.width)
        self.key = nn.Linear(sizes.width, sizes.width)
        self.value = nn.Linear(sizes.width, sizes.width)
        self.heads = sizes.heads

    def forward(self, values: Tensor, seen: Tensor) -> Tensor:
        """Return what each token gathers, of the shape of `values`; `seen` of shape (n, 1, 1, length)."""
        shape = (values.shape[0], values.shape[1], self.heads, -1)
        query, key, value = (part(values).reshape(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        return F.scaled_dot_product_attention(query, key, value, attn_mask=seen).transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A linear map, added to what is carried past it and normalised."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width_in, width_out)
        self.LayerNorm = nn.LayerNorm(width_out, eps=BERT_EPSILON)

    def forward(self, values: Tensor, carried: Tensor) -> Tensor:
        """Return values of the shape of `carried`."""
        output: Tensor = self.LayerNorm(self.dense(values) + carried)
        return output


class SentenceBlocks(nn.Module):
    """Blocks of an encoder: the mean over tokens, of unit length, of the last layer and of those in `more`."""

    def __init__(self, body: Bert, more: tuple[int, ...]) -> None:
        super().__init__()
        self.body, self.more = body, more

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Return the blocks, float32 of shape (n, width) each."""
        layers = self.body(ids, mask)
        return tuple(F.normalize(mean_of_tokens(layers[at], mask), dim=1) for at in (-1, *self.more))


def mean_of_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `values` (n, length, width) where `mask` (n, length) is 1, of shape (n, width)."""
    weights = mask.to(values.dtype)[:, :, None]
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)


def build_bert(sizes: BertSizes) -> Bert:
    """Return the encoder with torch's next random weights, drawn as its authors do, in inference mode."""
    body = Bert(sizes).eval()
    for part in body.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
    return body
