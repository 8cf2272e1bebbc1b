"""Low-rank adapters through peft: small matrices learn beside the weights, and are added into them at the end."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from headstart.base.errors import UsageError
from headstart.base.extras import require

RANK = 8
PLAIN = (nn.Linear, nn.Conv2d)
"""What is adapted: these types themselves, whose forward is known, and nothing derived from them."""


def adapt(body: nn.Module, used: Collection[str], *, seed: int, rank: int = RANK) -> tuple[str, ...]:
    """Put adapters of one rank beside the matrices and kernels of `body` (LoRA, Hu et al. 2022); return their names.

    At first they add nothing. Depthwise convolutions have none. `used` are the weights that the features depend on.

    Raises:
        MissingExtra: peft is not installed.
        UsageError: the network has nothing that an adapter could stand beside.
    """
    require("--tune lora", "peft")
    names = [
        name
        for name, module in body.named_modules()
        if f"{name}.weight" in used and type(module) in PLAIN and getattr(module, "groups", 1) == 1
    ]
    if not names:
        raise UsageError("--tune lora needs linear layers or convolutions", "none that learn", "use --tune all")
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="|".join(map(re.escape, names)),
        init_lora_weights=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, body)
    return tuple(names)


def merge(body: nn.Module, names: Collection[str]) -> None:
    """Add the adapters of the parts `names` into their weights, and take them out of `body`, in place."""
    for name in names:
        layer: Any = body.get_submodule(name)
        layer.merge()
        parent, _, own = name.rpartition(".")
        setattr(body.get_submodule(parent) if parent else body, own, layer.get_base_layer())
