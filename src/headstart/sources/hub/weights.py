"""Weights files of a repository as tensors by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.sources.hub.repository import HubFile

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = "pytorch_model.bin"


def read_state(files: Sequence[HubFile]) -> dict[str, Tensor]:
    """Return the tensors of all files by name, every number of them finite.

    Raises:
        SourceError: a file is damaged, or holds anything but named tensors of finite numbers; nothing in it is run.
    """
    from headstart.sources.checkpoints import pth
    from headstart.sources.checkpoints.checks import check_finite
    from headstart.sources.checkpoints.read import unwrap
    from headstart.sources.checkpoints.safetensors import read_safetensors

    first = files[0].path
    if first.name == PICKLED:
        state = unwrap(pth.read(first), where=str(first)).tensors
    else:
        state = {name: tensor for file in files for name, tensor in read_safetensors(file.path).items()}
    check_finite(state, where=str(first))
    return state
