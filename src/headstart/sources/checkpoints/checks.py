"""Weights: the bytes of a file, checked tensor by tensor before they become a network.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from headstart.base.errors import SourceError, list_some
from headstart.sources.checkpoints import pth


def read_pth(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a PyTorch checkpoint that holds nothing else; nothing in the file is run.

    Raises:
        SourceError: the file is damaged, or holds anything but named tensors.
    """
    state = pth.read(path)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise SourceError(
            f"{path} must hold named tensors and nothing else",
            type(state).__name__,
            "install the package again, or name another source",
        )
    return dict(state)


def load_in_order(body: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Load `state` into `body` by position: the same tensors under other names, in the same order.

    Raises:
        SourceError: the count, a shape or a kind of number differs, or a number is not finite.
    """
    expected = body.state_dict()
    if len(state) != len(expected):
        raise SourceError(
            f"{where} must hold the {len(expected)} tensors of the architecture",
            f"{len(state)} tensors",
            "name the architecture that the weights belong to",
        )
    paired = dict(zip(expected, state.values(), strict=True))
    check_shapes(expected, paired, where=where)
    check_finite(state, where=where)
    body.load_state_dict(paired, strict=True)


def check_shapes(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Raise SourceError, listing the first three, where a tensor differs in shape or kind from what is wanted."""
    wrong = [
        f"{name} {_shown(tensors[name])} for {_shown(tensor)}"
        for name, tensor in expected.items()
        if tensors[name].shape != tensor.shape or tensors[name].is_floating_point() != tensor.is_floating_point()
    ]
    if wrong:
        raise SourceError(
            f"{where} must fit the architecture tensor by tensor",
            f"{len(wrong)} that do not: {list_some(wrong)}",
            "name the architecture that the weights belong to",
        )


def check_finite(state: Mapping[str, Tensor], *, where: str) -> None:
    """Raise SourceError, naming the first three, where a tensor holds NaN or an infinity."""
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise SourceError(
            f"{where} must hold finite numbers only",
            f"NaN or infinity in {list_some(broken)}",
            "get the weights again from where they came from",
        )


def _shown(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {tensor.dtype}".replace("torch.", "")
    return f"({', '.join(map(str, tensor.shape))}){kind}"
