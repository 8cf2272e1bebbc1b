"""Text encoders of transformers, built from their settings, with their weights loaded strictly.

Imports torch and transformers: only `providers.huggingface` imports this file, and only when it builds a network.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from headstart.sources.networks.bert import mean_of_tokens
from headstart.sources.networks.transformers_image import Family, build_network
from headstart.sources.taps import Pooling

TEXT_FAMILIES = {
    "bert": Family("BertModel", dense=True),
    "distilbert": Family("DistilBertModel"),
    "roberta": Family("RobertaModel", dense=True),
    "xlm-roberta": Family("XLMRobertaModel", dense=True),
    "camembert": Family("CamembertModel", dense=True),
    "mpnet": Family("MPNetModel", dense=True),
    "modernbert": Family("ModernBertModel"),
    "electra": Family("ElectraModel"),
    "albert": Family("AlbertModel", dense=True),
}
UNUSED_BY_TEXTS = (
    "cls.", "pooler.", "classifier.", "pre_classifier.", "lm_head.", "qa_outputs.", "vocab_", "predictions.",
    "sop_classifier.", "discriminator_predictions.", "generator_", "head.", "decoder.",
)  # fmt: skip
"""How tensors are named, once their prefix is off, that no features of texts need."""


class Encoder(nn.Module):
    """The blocks of an encoder: its own pooled vector, and the mean over tokens of further layers."""

    def __init__(self, model: Any, pooling: Pooling) -> None:
        super().__init__()
        self.model, self.pooling = model, pooling

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Return the blocks, float32 of shape (n, width) each, for ids and mask of shape (n, length)."""
        outputs = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        pooled = self._pooled(outputs.last_hidden_state, mask)
        if self.pooling.normalise:
            pooled = F.normalize(pooled, dim=1)
        layers = (mean_of_tokens(outputs.hidden_states[at + 1], mask) for at in self.pooling.layers)
        return (pooled, *(F.normalize(layer, dim=1) for layer in layers))

    def _pooled(self, values: Tensor, mask: Tensor) -> Tensor:
        if self.pooling.operation == "cls":
            return values[:, 0]
        if self.pooling.operation == "max":
            return values.masked_fill(mask[:, :, None] == 0, -1e9).amax(1)
        mean = mean_of_tokens(values, mask)
        if self.pooling.operation == "mean":
            return mean
        return mean * mask.sum(1, keepdim=True).to(values.dtype).sqrt()


def build_encoder(
    settings: dict[str, Any], pooling: Pooling, state: dict[str, Tensor] | None, *, where: str
) -> Encoder:
    """Return the encoder in inference mode; arguments and errors are those of `transformers_image.build_classifier`."""
    family = TEXT_FAMILIES[settings["model_type"]]
    bare = {**settings, "architectures": None}
    # Eager attention can be traced for batches of any size.
    model, _ = build_network(family, bare, state, where=where, unused=UNUSED_BY_TEXTS, attention="eager")
    return Encoder(model, pooling).eval()
