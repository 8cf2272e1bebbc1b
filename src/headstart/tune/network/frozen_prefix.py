"""The frozen prefix: what never learns is computed once, and the passes after it run only what does.

A pass over a network whose frozen modules hand out what they are told to, instead of computing, is a pass over the rest
of it, whatever library the network comes from and however its forward is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from headstart.sources.networks.tapped import seen
from headstart.tune.network.classifier import Classifier
from headstart.tune.network.readers import Given
from headstart.tune.network.trace import Span, watching

CLOSE = 1e-3
"""How far scores from the kept activations may differ from those of the whole network, relative to their spread."""


class Prefix:
    """Everything of a classifier up to the output of one module, and the passes that begin there.

    Args:
        network: the classifier.
        boundary: the module whose output is kept.
        ran: when the body's modules run.
        blank: two examples.
    """

    def __init__(self, network: Classifier, boundary: str, ran: Mapping[str, Span], blank: Given) -> None:
        self.network, self.boundary = network, boundary
        end = ran[boundary].last
        before = {name for name, span in ran.items() if span.last <= end} - {boundary}
        silent = [name for name in before if not any(_inside(name, other) for other in (*before, boundary))]
        reader = network.reader
        self.frozen = tuple(tap for tap in reader.taps if tap.module and ran[tap.module].last < end)
        found = [self._said_of(probe) for probe in reader.probes(blank)]
        self._whole = found[0][boundary]
        said = {name: tuple(one[name] for one in found) for name in silent}
        self._said = {name: probes for name, probes in said.items() if _knows_count(probes)}
        self._empty = True
        with torch.no_grad():
            self.shapes = tuple(tuple(part.shape[1:]) for part in self.keep(blank))

    def _said_of(self, given: Given) -> dict[str, Any]:
        said: dict[str, Any] = {}
        with torch.no_grad(), watching(self.network.body, lambda name: None, said.__setitem__):
            self.network.features(*given)
        return said

    def keep(self, given: Given) -> tuple[Tensor, ...]:
        """Return the boundary's output for some examples, and the blocks of the layer that lie before it."""
        kept: dict[str, Tensor] = {}

        def stop(_: nn.Module, taken: Any, said: Any) -> None:
            kept[""] = said[0] if isinstance(said, tuple) else said
            raise _Reached

        reader = self.network.reader
        hook = reader.body.get_submodule(self.boundary).register_forward_hook(stop)
        try:
            with seen(reader.body, sorted({tap.module for tap in self.frozen})) as outputs, suppress(_Reached):
                reader.run(given)
        finally:
            hook.remove()
        return (kept[""], *(reader.block(tap, outputs[tap.module], given) for tap in self.frozen))

    def features(self, kept: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the blocks of the layer, running only what comes after the boundary.

        Args:
            kept: what `keep` returned, rows of any number of examples, and then what the reader's `rest` did.
        """
        blocks, rest = kept[1 : 1 + len(self.frozen)], tuple(kept[1 + len(self.frozen) :])
        known = {tap.name: block for tap, block in zip(self.frozen, blocks, strict=True)}
        blank = self.network.reader.stand_in(kept[0], rest, empty=self._empty)
        with self._silenced(kept[0], len(blank[0])):
            return self.network.reader.blocks(blank, known)

    def agrees(self, given: Given) -> bool:
        """Return whether a pass from the boundary gives what the whole network gives.

        What the silent modules hand out is empty, which costs nothing, or where a network will not have that, of the
        right shape.
        """
        with torch.no_grad():
            plain = self.network(*given)
            for self._empty in (True, False):
                try:
                    kept = (*self.keep(given), *self.network.reader.rest(given))
                    short = self.network.scored(self.features(kept))
                except (RuntimeError, ValueError, TypeError, AttributeError, KeyError):
                    continue  # a forward that looks at more than what its modules say
                if short.shape == plain.shape and torch.allclose(
                    short, plain, rtol=CLOSE, atol=CLOSE * float(plain.std())
                ):
                    return True
        return False

    @contextmanager
    def _silenced(self, given: Tensor, count: int) -> Iterator[None]:
        body = self.network.body
        hands: dict[str, Callable[..., Any]] = {
            name: _hand_out(_resized(probes, count=count, like=given)) for name, probes in self._said.items()
        }
        whole = self._whole
        hands[self.boundary] = _hand_out((given, *whole[1:]) if isinstance(whole, tuple) else given)
        modules = [(body.get_submodule(name), hand) for name, hand in hands.items()]
        own = [module.__dict__.get("forward") for module, _ in modules]
        for module, hand in modules:
            module.forward = hand
        try:
            yield
        finally:
            for (module, _), before in zip(modules, own, strict=True):
                del module.forward
                if before is not None:
                    module.forward = before


class _Reached(Exception):
    """The boundary has said what it has to say; nothing after it need run."""


def _inside(name: str, other: str) -> bool:
    return name.startswith(f"{other}.")


def _hand_out(said: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: said


def _knows_count(probes: Sequence[Any]) -> bool:
    """Return whether a module can be silent: what it says is always the same, or grows with the number of examples.

    What grows with their length alone (a table of positions) is computed anew: it costs as much as one example.
    """
    one = probes[0]
    if isinstance(one, Tensor):
        same = all(other.shape == one.shape for other in probes)
        return same or one.shape != probes[1].shape
    if isinstance(one, (tuple, list)):
        return all(_knows_count(parts) for parts in zip(*probes, strict=True))
    return True


def _resized(probes: Sequence[Any], *, count: int, like: Tensor) -> Any:
    """Return tensors of the right shape for `count` examples, at no cost and of no meaning; the rest as it is.

    Args:
        probes: what was said of one example, of two, and where examples have a length, of two longer ones.
        count: of examples.
        like: what the boundary says of them; its second axis is their length, where they have one.
    """
    one, two = probes[0], probes[1]
    if isinstance(one, Tensor):
        if all(other.shape == one.shape for other in probes):
            return one  # the same for any examples
        sizes = [
            count if a != b else like.shape[1] if long != b else a
            for a, b, long in zip(one.shape, two.shape, probes[-1].shape, strict=True)
        ]
        return like.new_zeros(1).expand(sizes)
    if isinstance(one, (tuple, list)):
        parts = zip(*probes, strict=True)
        return type(one)(_resized(part, count=count, like=like) for part in parts)
    return one
