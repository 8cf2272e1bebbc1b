"""Encoders of recordings of transformers: their feature extractors, and their networks as blocks.

Imports torch and transformers: only `providers.huggingface_sounds` imports this file, and only when it hears something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from headstart.sources.networks.image_processor import library_processor
from headstart.sources.networks.transformers_networks import Family, build_network

FAMILIES = {
    "wav2vec2": Family("Wav2Vec2Model"),
    "hubert": Family("HubertModel"),
    "wavlm": Family("WavLMModel"),
    "audio-spectrogram-transformer": Family("ASTModel"),
    "whisper": Family("WhisperModel"),
}
UNUSED_BY_SOUNDS = (
    "lm_head.", "quantizer.", "project_q.", "project_hid.", "projector.", "classifier.", "proj_out.", "layer_weights",
    "masked_spec_embed", "dropout_features.", "tdnn.", "feature_extractor.", "objective.", "encoder.layer_weights",
)  # fmt: skip
"""How tensors are named, once their prefix is off, that no features of recordings need."""


class SoundBlocks(nn.Module):
    """The blocks of an encoder of recordings, of what `packed` makes of the numbers of its feature extractor.

    `pool` is the mean of the last layer over the frames that hold sound (of AST what it pools itself), then come the
    means of further layers, and the last layer in `parts` stretches of time, in order.
    """

    def __init__(self, model: Any, family: str, layers: Sequence[int], parts: int) -> None:
        super().__init__()
        self.model, self.family, self.layers, self.parts = model, family, tuple(layers), parts

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the blocks, float32 of shape (n, width) each, for uint8 of shape (n, rows, columns, 4)."""
        sign, high, middle, low = pictures.float().unbind(-1)
        absent = (sign >= 2).float()
        values = (1 - 2 * (sign - 2 * absent)) * (high + middle / 256 + low / 65536)
        if self.family == "whisper":
            outputs = self.model(values.transpose(1, 2), output_hidden_states=True)
        else:
            shaped = values if self.family == "audio-spectrogram-transformer" else values.squeeze(2)
            outputs = self.model(shaped, output_hidden_states=True)
        present = 1 - absent[:, :, 0]
        pooled = outputs.pooler_output if self.family == "audio-spectrogram-transformer" else None
        frames = self._over_time(outputs.last_hidden_state)
        means = [self._mean(self._over_time(outputs.hidden_states[at + 1]), present) for at in self.layers]
        stretches = F.adaptive_avg_pool1d(frames.transpose(1, 2), self.parts).transpose(1, 2).flatten(1)
        return (self._mean(frames, present) if pooled is None else pooled, *means, stretches)

    def _over_time(self, states: Tensor) -> Tensor:
        """Return states by time, (n, frames, width): of AST's patches, the mean over each column."""
        if self.family != "audio-spectrogram-transformer":
            return states
        config = self.model.config
        high = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        return states[:, 2:].reshape(len(states), high, -1, states.shape[2]).mean(1)

    @staticmethod
    def _mean(frames: Tensor, present: Tensor) -> Tensor:
        rows, count = present.shape[1], frames.shape[1]
        weights = present[:, torch.arange(count) * rows // count][:, :, None]
        return (frames * weights).sum(1) / weights.sum(1).clamp(min=1)


def build_sound_network(
    settings: Mapping[str, Any], layers: Sequence[int], parts: int, state: dict[str, Tensor] | None, *, where: str
) -> tuple[SoundBlocks, tuple[str, ...]]:
    """Return the encoder in inference mode, and what must be told of it; see `build_classifier`."""
    name = settings["model_type"]
    # What is masked while it learns is no part of the network here, and may not be in the file.
    bare = {**settings, "architectures": None, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    model, notes = build_network(FAMILIES[name], bare, state, where=where, unused=UNUSED_BY_SOUNDS, attention="eager")
    return SoundBlocks(model.encoder if name == "whisper" else model, name, layers, parts).eval(), notes


def library_extractor(settings: Mapping[str, Any], model_type: str) -> Callable[..., Any]:
    """Return transformers' own feature extractor; no code but that library's runs."""
    extractor: Callable[..., Any] = library_processor(settings, model_type, "AutoFeatureExtractor")
    return extractor
