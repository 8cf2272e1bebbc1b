"""Weights files of a repository as tensors by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.sources.hub.repository import HubFile

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = "pytorch_model.bin"


def read_state(files: Sequence[HubFile]) -> dict[str, Tensor]:
    """Return the tensors of all files by name.

    Raises:
        SourceError: a file is damaged, or holds anything but named tensors; nothing in it is run.
    """
    from headstart.sources.checkpoints import pth
    from headstart.sources.checkpoints.read import unwrapped
    from headstart.sources.checkpoints.safetensors import read_safetensors

    if files[0].path.name == PICKLED:
        return unwrapped(pth.read(files[0].path), where=str(files[0].path)).tensors
    return {name: tensor for file in files for name, tensor in read_safetensors(file.path).items()}
