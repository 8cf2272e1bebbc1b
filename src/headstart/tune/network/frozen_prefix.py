"""The frozen prefix: what never learns is computed once, and the passes after it run only what does.

A pass over a network whose frozen modules return prepared outputs, instead of computing them, is a pass over the rest
of it, whatever library the network comes from and however its forward is written. With EfficientNet-Lite0 an epoch of
`last:1` runs 6.0 times as fast as through the whole network, one of `last:2` 2.1 times (`bench/tuning.py speed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from headstart.sources.networks.tapped import Span, parts_of, seen, watching
from headstart.tune.network.classifier import Classifier
from headstart.tune.network.readers import Inputs

CLOSE = 1e-3
"""How far scores from the cached activations may differ from those of the whole network, relative to their spread."""


class FrozenPrefix:
    """Everything of a classifier up to the output of one module, and passes from there on; `blank` are two examples."""

    def __init__(self, network: Classifier, boundary: str, ran: Mapping[str, Span], blank: Inputs) -> None:
        self.network, self.boundary = network, boundary
        end = ran[boundary].last
        before = {name for name, span in ran.items() if span.last <= end} - {boundary}
        outermost = [name for name in before if not any(_inside(name, outer) for outer in (*before, boundary))]
        reader = network.reader
        self.frozen = tuple(tap for tap in reader.taps if tap.module and ran[tap.module].last < end)
        outputs = [self._outputs(probe) for probe in reader.probes(blank)]
        self._boundary_output = outputs[0][boundary]
        by_module = {name: tuple(of_probe[name] for of_probe in outputs) for name in outermost}
        self._probes = {name: probes for name, probes in by_module.items() if _can_be_skipped(probes)}
        self._empty = True
        with torch.no_grad():
            self.shapes = tuple(tuple(part.shape[1:]) for part in self.compute(blank))

    def _outputs(self, inputs: Inputs) -> dict[str, Any]:
        """Return the output of every module of the body, by name."""
        outputs: dict[str, Any] = {}
        with torch.no_grad(), watching(parts_of(self.network.body), outputs.__setitem__):
            self.network.features(*inputs)
        return outputs

    def compute(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """Return the boundary's output for some examples, and the blocks of the layer that lie before it."""
        reached: list[Tensor] = []

        def stop(_: nn.Module, __: Any, output: Any) -> None:
            reached.append(output[0] if isinstance(output, tuple) else output)
            raise _Reached

        reader = self.network.reader
        hook = reader.body.get_submodule(self.boundary).register_forward_hook(stop)
        try:
            with seen(reader.body, sorted({tap.module for tap in self.frozen})) as outputs, suppress(_Reached):
                reader.blocks(inputs, {})
        finally:
            hook.remove()
        return (reached[0], *(reader.block(tap, outputs[tap.module], inputs) for tap in self.frozen))

    def features(self, activations: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the blocks of the layer, running only what comes after the boundary.

        `activations` are what `compute` returned, rows of any number of examples, then what the reader's `rest` did.
        """
        blocks, rest = activations[1 : 1 + len(self.frozen)], tuple(activations[1 + len(self.frozen) :])
        cached = {tap.name: block for tap, block in zip(self.frozen, blocks, strict=True)}
        blank = self.network.reader.stand_in(activations[0], rest, empty=self._empty)
        with self._skipping(activations[0], len(blank[0])):
            return self.network.reader.blocks(blank, cached)

    def agrees(self, inputs: Inputs) -> bool:
        """Return whether a pass from the boundary gives what the whole network gives.

        The outputs of the skipped modules are empty, which costs nothing, or where a network refuses that, of the right
        shape.
        """
        with torch.no_grad():
            plain = self.network(*inputs)
            for self._empty in (True, False):
                try:
                    activations = (*self.compute(inputs), *self.network.reader.rest(inputs))
                    short = self.network.scored(self.features(activations))
                except (RuntimeError, ValueError, TypeError, AttributeError, KeyError):
                    continue  # a forward that looks at more than the outputs of its modules
                if short.shape == plain.shape and torch.allclose(
                    short, plain, rtol=CLOSE, atol=CLOSE * float(plain.std())
                ):
                    return True
        return False

    @contextmanager
    def _skipping(self, activations: Tensor, count: int) -> Iterator[None]:
        """Let the boundary return `activations`, and the modules before it nothing of meaning, inside the block."""
        body, whole = self.network.body, self._boundary_output
        outputs = {name: _resized(probes, count=count, like=activations) for name, probes in self._probes.items()}
        outputs[self.boundary] = (activations, *whole[1:]) if isinstance(whole, tuple) else activations
        modules = {name: body.get_submodule(name) for name in outputs}
        own: dict[str, Any] = {name: module.__dict__.get("forward") for name, module in modules.items()}
        for name, module in modules.items():
            module.forward = _returning(outputs[name])
        try:
            yield
        finally:
            for name, module in modules.items():
                del module.forward
                if own[name] is not None:
                    module.forward = own[name]


class _Reached(Exception):
    """The boundary has its output; nothing after it need run."""


def _inside(name: str, outer: str) -> bool:
    return name.startswith(f"{outer}.")


def _returning(output: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: output


def _can_be_skipped(probes: Sequence[Any]) -> bool:
    """Return whether a module need not run: its output is always the same, or grows with the number of examples.

    What grows with their length alone (a table of positions) is computed anew: it costs as much as one example.
    """
    first = probes[0]
    if isinstance(first, Tensor):
        same = all(probe.shape == first.shape for probe in probes)
        return same or first.shape != probes[1].shape
    if isinstance(first, (tuple, list)):
        return all(_can_be_skipped(parts) for parts in zip(*probes, strict=True))
    return True


def _resized(probes: Sequence[Any], *, count: int, like: Tensor) -> Any:
    """Return tensors of the right shape for `count` examples, at no cost and of no meaning; the rest as it is.

    `probes` are the output for one example, for two, and where examples have a length, for two longer ones; `like` is
    the boundary's output for them, whose second axis is their length.
    """
    single, double = probes[0], probes[1]
    if isinstance(single, Tensor):
        if all(probe.shape == single.shape for probe in probes):
            return single  # the same for any examples
        sizes = [
            count if a != b else like.shape[1] if long != b else a
            for a, b, long in zip(single.shape, double.shape, probes[-1].shape, strict=True)
        ]
        return like.new_zeros(1).expand(sizes)
    if isinstance(single, (tuple, list)):
        parts = zip(*probes, strict=True)
        return type(single)(_resized(part, count=count, like=like) for part in parts)
    return single
