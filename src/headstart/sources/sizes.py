"""Sizes of the networks that are built in two ways: as torch modules, and for OpenVINO straight from their arrays."""

from __future__ import annotations

from dataclasses import dataclass

LITE_STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
"""Kernel, stride and expansion of each stage of an EfficientNet-Lite."""
LITE_EPSILON = 1e-3
"""Of its normalisation: what the released weights were trained with."""
BERT_EPSILON = 1e-12


@dataclass(frozen=True)
class BertSizes:
    """How large a BERT is: tokens, width of their vectors and inside a block, heads, blocks, tokens of a piece."""

    words: int
    width: int
    inner: int
    heads: int
    layers: int
    positions: int
