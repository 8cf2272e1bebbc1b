"""Converting a Keras source into a folder of safetensors that says what it is: `headstart sources convert`.

The folder holds `weights.safetensors`, the tensors by name in torch's layout, and `source.json` with `"graph": "keras"`
(`checkpoints/source_folder.py`). Keras builds the network of `arch` again when the folder is opened; nothing of Keras's
own cache is needed.
"""

from __future__ import annotations

from pathlib import Path

from headstart.base.disk import write_folder
from headstart.base.errors import SourceError
from headstart.base.hashing import sha256
from headstart.sources.base import SourceInfo
from headstart.sources.checkpoints.source_folder import DESCRIPTION, KERAS, SourceDescription, to_json
from headstart.sources.networks.source import TorchSource
from headstart.sources.registry import open_source
from headstart.sources.uri import parse

WEIGHTS = "weights.safetensors"


def convert(uri: str, folder: Path, *, weights: str = "pretrained", seed: int = 0) -> SourceInfo:
    """Write a Keras source as a folder that `file:FOLDER` opens, and return what that source is, of the same features.

    Args:
        uri: `keras:NAME`.
        folder: absent, empty, or one that this function wrote, which is replaced.
        weights: `pretrained`, `none`, or the path of a Keras file with weights of this architecture.
        seed: of random weights.

    Raises:
        SourceError: no Keras source, or its weights cannot be had.
        UsageError: the folder holds something else, or the disk cannot be written.
    """
    if parse(uri).provider != "keras":
        raise SourceError("only keras: sources are converted", repr(uri), "name one, such as keras:Xception")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if (folder.exists() and not folder.is_dir()) or names not in ([], [DESCRIPTION, WEIGHTS]):
        raise SourceError(f"{folder} must be absent, empty or a converted source", "another", "name another folder")
    source = open_source(uri, weights=weights, seed=seed)
    assert isinstance(source, TorchSource)  # as every keras: source is
    from safetensors.torch import save

    state = source.module().state_dict()
    data = save({name: value.contiguous() for name, value in state.items() if value.is_floating_point()})
    description = SourceDescription(
        graph=KERAS,
        arch=uri,
        origin=uri,
        weights=WEIGHTS,
        licence=source.identity.licence,
        trained_on=source.identity.trained_on,
        members={WEIGHTS: sha256(data)},
        preprocessing=source.preprocessing,
        settings={"top": source.identity.classes > 0},
    )
    write_folder(folder, {WEIGHTS: data, DESCRIPTION: to_json(description)})
    return open_source(f"file:{folder}").info
