"""Networks that foreign settings describe: none is built that is much larger than its file. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

MOST_PARAMETERS = 3_000_000_000  # of a network that is built with random weights
LEAST_BOUND = 100_000_000  # parameters that a network may have beyond twice those in its file: a classifier of its own
MOST_MODULES = 20_000
LEAST_MODULES = 1_000  # parts that it may have beyond four for each tensor in its file


def check_size(build: Callable[[], torch.nn.Module], state: Mapping[str, Tensor] | None) -> None:
    """Raise ValueError where a network is much larger than its file, before any of it takes memory."""
    most = MOST_PARAMETERS if state is None else LEAST_BOUND + 2 * sum(weight.numel() for weight in state.values())
    most_parts = MOST_MODULES if state is None else LEAST_MODULES + 4 * len(state)
    parameters = modules = 0

    def count(module: torch.nn.Module, name: str, part: Any) -> None:
        nonlocal parameters, modules
        modules += isinstance(part, torch.nn.Module)
        parameters += part.numel() if isinstance(part, Tensor) else 0
        if parameters > most or modules > most_parts:
            raise ValueError(f"a network of more than {most:,} parameters or {most_parts:,} parts")

    register = (register_module_module_registration_hook, register_module_parameter_registration_hook)
    hooks = [hook(count) for hook in register]
    try:
        with torch.device("meta"):
            build()
    finally:
        for hook in hooks:
            hook.remove()
