"""Stages: the parts of a torch network whose outputs can be features, found by running it once on a blank picture.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.base import Architecture
from headstart.sources.layers import Stage, Tap, more_taps, taps
from headstart.sources.networks.tapped import seen

LATE_STAGES = 4
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def look_for_architecture(
    body: Any,
    blank: Tensor,
    preprocessing: Preprocessing,
    *,
    classes: int,
    classifier: nn.Module | None,
    **where: Sequence[str] | None,
) -> Architecture:
    """Return what a network is, found by running it once on a blank picture; `where` are arguments of `look_for_taps`.

    The weights of `classifier` are not counted; `classes` is 0 without one.
    """
    standard, more = look_for_taps(body, blank, **where)
    unused = sum(weight.numel() for weight in classifier.parameters()) if classifier is not None else 0
    return Architecture(
        parameters=sum(weight.numel() for weight in body.parameters()) - unused,
        classes=classes,
        preprocessing=preprocessing,
        taps=standard,
        more=more,
    )


def look_for_taps(
    body: Any,
    blank: Tensor,
    modules: Sequence[str] | None = None,
    *,
    late: Sequence[str] | None = None,
    max_pooled: Sequence[str] | None = None,
) -> tuple[tuple[Tap, ...], tuple[Tap, ...]]:
    """Return the standard taps of a network, and those that are taken only when asked for.

    The standard ones are the network's own pooled features, its four last stages averaged, the last two of them
    max-pooled too, and its final map max-pooled.

    Args:
        body: has timm's two steps, `forward_features` and `forward_head(…, pre_logits=True)`.
        blank: float32 of shape (1, c, h, w), of the size that the network wants.
        modules: its stages, first to last, where its library lists them; None looks for them.
        late: names of the stages to average; the last four by default.
        max_pooled: names of the stages to max-pool as well; the last two by default.
    """
    names = [name for name, _ in body.named_modules() if name] if modules is None else modules
    with torch.inference_mode(), seen(body, names) as outputs:
        final = body.forward_features(blank)
        pool = body.forward_head(final, pre_logits=True).flatten(1).shape[1]
    if modules is None:
        modules = list(find_stages(body, outputs, final))
    stages = [
        stage
        for at, name in enumerate(modules)
        if (stage := as_stage(f"stage{at}", name, outputs.get(name))) is not None
    ]
    # A network whose last stage is its final map would give the same block twice.
    again = bool(stages) and outputs[stages[-1].module] is final
    last = None if again else as_stage("final", "", final)
    chosen = stages[-LATE_STAGES:] if late is None else [stage for stage in stages if stage.name in late]
    standard = taps(pool, chosen, last, max_pooled=max_pooled)
    return standard, more_taps(standard, stages, last)


def as_stage(name: str, module: str, output: Any) -> Stage | None:
    """Return the stage of an output, or None where that is no map of features.

    A map is (n, tokens, c), or of four axes, of which the two that are equal run over positions.
    """
    shape: tuple[int, ...] = tuple(getattr(output, "shape", ()))
    if len(shape) == 3:
        return Stage(name, module, shape[2], channels_last=True, positions=shape[1])
    if len(shape) != 4:
        return None
    last = shape[1] == shape[2] != shape[3]
    return Stage(name, module, shape[3] if last else shape[1], last, shape[1 + (not last)] * shape[2 + (not last)])


def find_stages(body: nn.Module, outputs: dict[str, Any], final: Tensor) -> Iterator[str]:
    """Yield the modules that end a stage: the last one of each resolution, or each block of a transformer.

    Where the final map is a step of its own (a last 1 x 1 convolution, a normalisation), what stands before it at its
    resolution and has another width is a stage too. `outputs` are those of the modules, in the order of their ends.
    """
    if final.ndim == 3:
        yield from _transformer_blocks(body, outputs, final)
        return
    ends: dict[int, str] = {}
    last = as_stage("final", "", final)
    for name in _parts(body, outputs):
        stage = as_stage(name, name, outputs.get(name))
        if stage is None or last is None or stage.positions == 1:
            continue
        if (stage.positions, stage.width) != (last.positions, last.width):
            ends[stage.positions] = name
    yield from ends.values()


def _parts(module: nn.Module, outputs: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the parts of a network in order; a container is one part where all in it has one resolution."""
    for name, child in module.named_children():
        full = f"{prefix}{name}"
        inside = [
            stage.positions
            for inner, _ in child.named_children()
            if (stage := as_stage("", "", outputs.get(f"{full}.{inner}"))) is not None
        ]
        whole = type(child) in CONTAINERS and full in outputs and len(set(inside)) == 1
        if (not prefix and full not in outputs) or (type(child) in CONTAINERS and not whole):
            yield from _parts(child, outputs, f"{full}.")
        else:
            yield full


def _transformer_blocks(body: nn.Module, outputs: dict[str, Any], final: Tensor) -> Iterator[str]:
    """Yield the items of the longest list of blocks that each give tokens as wide as the final ones."""
    lists = [
        [
            f"{name}.{item}"
            for item, _ in module.named_children()
            if _width(outputs.get(f"{name}.{item}")) == final.shape[2]
        ]
        for name, module in body.named_modules()
        if name and type(module) in CONTAINERS
    ]
    yield from max(lists, key=len, default=[])


def _width(output: Any) -> int:
    stage = as_stage("", "", output)
    return stage.width if stage is not None and stage.channels_last else 0
