"""A network in parts: safetensors or PyTorch files beside an index (`model.safetensors.index.json`) of what lies where.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.base.errors import SourceError
from headstart.sources.checkpoints.index import AGAIN, INDEX, files_of, read_index
from headstart.sources.checkpoints.pickled import Stored
from headstart.sources.checkpoints.read import Contents, read_file

if TYPE_CHECKING:
    from torch import Tensor


def read_contents(path: Path) -> Contents:
    """Return what a checkpoint holds, or all that the index of its parts names; nothing in it is run.

    SourceError: another format, a damaged file, or code in it; a part is missing, or a tensor is in another one.
    """
    return _read_parts(path) if path.name.endswith(INDEX) else read_file(path)


def _read_parts(path: Path) -> Contents:
    places, parts = read_index(path), [(part, read_file(part)) for part in files_of(path)[1:]]
    tree: dict[str, Stored] = {}
    for part, contents in parts:
        tensors = contents.tree if isinstance(contents.tree, dict) else {}
        listed = {name for name, own in places.items() if own == part.name}
        if wrong := sorted(listed ^ {name for name, value in tensors.items() if isinstance(value, Stored)}):
            holds = "holds it" if wrong[0] in tensors else "does not hold it"
            names = f"{len(wrong)} that differ; the first, {wrong[0]}, belongs in {places.get(wrong[0], 'none')}"
            raise SourceError(f"{part} must hold what {path.name} says", f"{names}, and this one {holds}", AGAIN)
        tree |= {name: replace(tensors[name], place=(part, tensors[name])) for name in tensors if name in listed}

    def fetch(stored: Mapping[str, Stored]) -> dict[str, Tensor]:
        read = {
            name: tensor
            for part, contents in parts
            for name, tensor in contents.fetch(
                {name: entry.place[1] for name, entry in stored.items() if entry.place[0] == part}
            ).items()
        }
        return {name: read[name] for name in stored}

    return Contents(tree, fetch, ordered=False)
