"""Parameter groups: which weights of a source learn, at what rate, and which parts stay in inference mode."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from headstart.base.errors import UsageError
from headstart.sources.networks.tapped import Span
from headstart.tune.settings import ALL, LAST, LORA, NORM

LAYER_DECAY = 0.75
"""The rate of a stage, as a share of that of the stage above it (layer-wise decay, Howard & Ruder 2018)."""


@dataclass(frozen=True)
class Groups:
    """What learns in a body."""

    lr_scales: Mapping[str, float]  # learning rate of each weight that learns, as a share, 0..1, of the body's
    boundary: str  # the module after whose output everything that learns comes; empty where that is the whole body
    training: frozenset[str]  # modules in training mode, so that dropout drops; BatchNorm only where asked


def choose_groups(
    body: nn.Module,
    mode: str,
    *,
    ends: Iterable[str],
    ran: Mapping[str, Span],
    used: Collection[str],
    train_batchnorm: bool = False,
    layer_decay: float = LAYER_DECAY,
    cached_at: str | None = None,
) -> Groups:
    """Return what learns under `mode`.

    Weights that no pass uses, such as those of the source's own classifier, never learn. Weights that stand beside the
    stages and not in one (position embeddings) learn under `all` alone.

    Args:
        ends: the modules that end the stages of the body, in any order; one that does not run ends none.
        used: names of the weights that its features depend on.
        train_batchnorm: whether BatchNorm of what learns runs in training mode, and its running statistics move.
        layer_decay: the rate of a stage, as a share of that of the stage above it.
        cached_at: the mode after whose frozen stages activations are cached, of as many stages that learn or more; None
            for `mode` itself.

    Raises:
        UsageError: `last:N` with N beyond the stages, or nothing that could learn.
    """
    stages = sorted({name for name in ends if name in ran}, key=lambda name: ran[name].last)
    boundary = _boundary(mode, stages)
    after = -1 if not boundary else ran[boundary].last
    active = {name for name, span in ran.items() if span.first > after}
    owners = {name: _runner(name, ran) for name in used}
    scales = {
        name: layer_decay ** (len(stages) - _depth(owners[name], stages, ran))
        for name, _ in body.named_parameters()
        if name in used and (owners[name] in active or mode == ALL)
    }
    if mode == NORM:
        scales = {name: scale for name, scale in scales.items() if is_norm(body.get_submodule(name.rpartition(".")[0]))}
    if mode == LORA:
        scales = {}
    elif not scales:
        raise UsageError(
            f"--tune {mode} must leave something that learns", "a network without such weights", "use --tune all"
        )
    training = {name for name in active if train_batchnorm or not has_statistics(body.get_submodule(name))}
    return Groups(scales, boundary if cached_at is None else _boundary(cached_at, stages), frozenset(training))


def _boundary(mode: str, stages: Sequence[str]) -> str:
    match = LAST.fullmatch(mode)
    if match is None:
        return ""
    number = int(match[1])
    if not 1 <= number < len(stages):
        most = f"last:1 to last:{len(stages) - 1}" if len(stages) > 1 else "all, for it has no stages to part"
        raise UsageError(
            f"--tune of a source with {len(stages)} stages must be {most}", repr(mode), "choose one, or --tune all"
        )
    return stages[len(stages) - 1 - number]


def _depth(owner: str, stages: Sequence[str], ran: Mapping[str, Span]) -> int:
    """Return how many stages end before a module begins; 0 for what stands beside them."""
    begins = ran[owner].first if owner in ran else -1
    return sum(ran[stage].last < begins for stage in stages)


def _runner(weight: str, ran: Mapping[str, Span]) -> str:
    """Return the innermost module that runs and holds a weight: some modules use those of their parts themselves."""
    owner = weight.rpartition(".")[0]
    while owner and owner not in ran:
        owner = owner.rpartition(".")[0]
    return owner


def used_weights(body: nn.Module, features: Callable[[], Sequence[Tensor]]) -> frozenset[str]:
    """Return the names of the weights that the features of a picture depend on: those that a gradient reaches."""
    weights = dict(body.named_parameters())
    with torch.enable_grad():
        total = torch.stack([block.float().sum() for block in features()]).sum()
        slopes = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    return frozenset(name for name, slope in zip(weights, slopes, strict=True) if slope is not None)


def is_norm(module: nn.Module) -> bool:
    """Return whether a module normalises and has a scale or a bias of its own."""
    named = isinstance(module, (_NormBase, nn.LayerNorm, nn.GroupNorm)) or "Norm" in type(module).__name__
    return named and any(True for _ in module.parameters(recurse=False))


def has_statistics(module: nn.Module) -> bool:
    """Return whether a module keeps running statistics, as BatchNorm does."""
    return getattr(module, "running_mean", None) is not None


def statistics_of(body: nn.Module, names: Collection[str]) -> dict[str, Tensor]:
    """Return the running statistics of those modules of a body that keep some, by `body.` and their name."""
    return {
        f"body.{name}.{kind}": getattr(module, kind)
        for name, module in body.named_modules()
        if name in names and has_statistics(module)
        for kind in ("running_mean", "running_var")
    }


def set_modes(body: nn.Module, groups: Groups) -> None:
    """Put what learns in training mode and everything else in inference mode."""
    body.eval()
    for name in groups.training:
        module: Any = body.get_submodule(name)
        module.training = True
