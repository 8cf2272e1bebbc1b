"""Sizes of the networks that are built in two ways: as torch modules, and for OpenVINO straight from their arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LITE_STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
"""Kernel, stride and expansion of each stage of an EfficientNet-Lite."""
LITE_EPSILON = 1e-3
"""Of its normalisation: what the released weights were trained with."""
LITE_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
"""What the torch module of a normalisation holds, in order; the last counts batches, and changes no feature."""
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


def lite_layers(expansion: int) -> tuple[str, ...]:
    """Return the names of a block's convolutions, in order: the blocks of the first stage do not expand."""
    return ("conv_dw", "conv_pw") if expansion == 1 else ("conv_pw", "conv_dw", "conv_pwl")


def lite_names(repeats: Sequence[int]) -> Iterator[str]:
    """Yield the names of an EfficientNet-Lite's tensors as its torch module has them, in order.

    `repeats` are the blocks of each of its seven stages.
    """
    layers = [("conv_stem", "bn1")]
    for stage, ((_, _, expansion), count) in enumerate(zip(LITE_STAGES, repeats, strict=True)):
        for block in range(count):
            for number, name in enumerate(lite_layers(expansion), start=1):
                layers.append((f"blocks.{stage}.{block}.{name}", f"blocks.{stage}.{block}.bn{number}"))
    for conv, norm in (*layers, ("conv_head", "bn2")):
        yield f"{conv}.weight"
        yield from (f"{norm}.{part}" for part in LITE_NORM)
    yield from ("classifier.weight", "classifier.bias")
