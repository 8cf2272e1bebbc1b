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

from headstart.tune.network import Classifier
from headstart.tune.order import Span, watching

CLOSE = 1e-3
"""How far scores from the kept activations may differ from those of the whole network, relative to their spread."""


class Prefix:
    """Everything of a classifier up to the output of one module, and the passes that begin there.

    Args:
        network: the classifier.
        boundary: the module whose output is kept.
        ran: when the body's modules run.
        blank: two prepared pictures, uint8 of shape (2, h, w, channels).
    """

    def __init__(self, network: Classifier, boundary: str, ran: Mapping[str, Span], blank: Tensor) -> None:
        self.network, self.boundary = network, boundary
        end = ran[boundary].last
        before = {name for name, span in ran.items() if span.last <= end} - {boundary}
        self._silent = [name for name in before if not any(_inside(name, other) for other in (*before, boundary))]
        self.frozen = tuple(tap for tap in network.taps if tap.module and ran[tap.module].last < end)
        self._size = blank.shape[1:3]
        said = self._watch(blank)
        self._whole = said.pop(boundary)[0]
        self._said = said
        self._empty = True
        with torch.no_grad():
            self.shapes = tuple(tuple(part.shape[1:]) for part in self.keep(blank))

    def _watch(self, blank: Tensor) -> dict[str, tuple[Any, Any]]:
        """Return what each module says for one picture and for two, which tells what grows with their number."""
        names = [*self._silent, self.boundary]
        one, two = self._said_of(blank[:1]), self._said_of(blank)
        return {name: (one[name], two[name]) for name in names}

    def _said_of(self, pictures: Tensor) -> dict[str, Any]:
        said: dict[str, Any] = {}
        with torch.no_grad(), watching(self.network.body, lambda name: None, said.__setitem__):
            self.network.features(pictures)
        return said

    def keep(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the boundary's output for prepared pictures, and the blocks of the layer that lie before it."""
        kept: dict[str, Tensor] = {}

        def stop(_: nn.Module, given: Any, said: Any) -> None:
            kept[""] = said[0] if isinstance(said, tuple) else said
            raise _Reached

        module = self.network.body.get_submodule(self.boundary)
        hook = module.register_forward_hook(stop)
        try:
            blocks = self._frozen_blocks(pictures)
        finally:
            hook.remove()
        return (kept[""], *blocks)

    def _frozen_blocks(self, pictures: Tensor) -> list[Tensor]:
        from headstart.sources.taps import reduced, seen

        network: Any = self.network
        with seen(network.body, sorted({tap.module for tap in self.frozen})) as outputs, suppress(_Reached):
            network.body.forward_features(network.normalised(pictures))
        return [reduced(outputs[tap.module], tap.reduce, tap.channels_last) for tap in self.frozen]

    def scores(self, kept: Sequence[Tensor]) -> Tensor:
        """Return the class scores, running only what comes after the boundary.

        Args:
            kept: what `keep` returned, rows of any number of pictures.
        """
        known = {tap.name: block for tap, block in zip(self.frozen, kept[1:], strict=True)}
        count = 0 if self._empty else len(kept[0])
        blank = kept[0].new_zeros(1).expand(count, self.network.scale.shape[1], *self._size)
        with self._silenced(kept[0], count):
            return self.network.scored(self.network.blocks_of(blank, known))

    def agrees(self, pictures: Tensor) -> bool:
        """Return whether a pass from the boundary gives what the whole network gives.

        What the silent modules hand out is empty, which costs nothing, or where a network will not have that, of the
        right shape.
        """
        with torch.no_grad():
            plain = self.network(pictures)
            for self._empty in (True, False):
                try:
                    short = self.scores(self.keep(pictures))
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
            name: _hand_out(_resized(*said, count=count, like=given)) for name, said in self._said.items()
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


def _resized(one: Any, two: Any, *, count: int, like: Tensor) -> Any:
    """Return tensors of the right shape for `count` examples, at no cost and of no meaning; the rest as it is."""
    if isinstance(one, Tensor):
        if one.shape == two.shape:
            return one  # the same for any number of examples
        return like.new_zeros(1).expand([count * a if a != b else a for a, b in zip(one.shape, two.shape, strict=True)])
    if isinstance(one, (tuple, list)):
        return type(one)(_resized(a, b, count=count, like=like) for a, b in zip(one, two, strict=True))
    return one
