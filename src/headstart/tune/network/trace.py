"""Order: when each part of a network runs, found by running it once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Span:
    """When a module ran: its first beginning and last end, in ticks that count those of all modules."""

    first: int
    last: int


def spans(body: nn.Module, run: Callable[[], Any]) -> dict[str, Span]:
    """Return the span of each module of `body` that `run` calls, by name; those that it passes by are absent."""
    ticks = count()
    first: dict[str, int] = {}
    last: dict[str, int] = {}

    def begin(name: str) -> None:
        first.setdefault(name, next(ticks))

    def end(name: str, output: Any) -> None:
        last[name] = next(ticks)

    with watching(body, begin, end):
        run()
    return {name: Span(first[name], last[name]) for name in last}


@contextmanager
def watching(
    body: nn.Module, begin: Callable[[str], None], end: Callable[[str, Any], None]
) -> Iterator[Mapping[str, nn.Module]]:
    """Call `begin(name)` and `end(name, output)` around every module of `body`, itself apart, inside the block."""
    modules = {name: module for name, module in body.named_modules() if name}
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: begin(name)) for name, module in modules.items()
    ]
    hooks += [
        module.register_forward_hook(lambda _, inputs, output, name=name: end(name, output))
        for name, module in modules.items()
    ]
    try:
        yield modules
    finally:
        for hook in hooks:
            hook.remove()
