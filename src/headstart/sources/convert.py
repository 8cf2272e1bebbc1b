"""Converting a Keras source into a folder that plain torch runs, without Keras: `headstart sources convert`.

The folder holds `weights.safetensors`, the tensors by name in torch's layout, and `source.json` (`folder.py`) with
`"graph": "keras"` and one more key, `network`: the layers as `keras_graph.py` describes them under `graph`, the taps
under `taps` and `more`, `parameters` and `classes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.atomic import write_folder
from headstart.base.errors import SourceError
from headstart.base.hashing import canonical_json, sha256, sha256_json
from headstart.sources.base import Identity, SourceInfo
from headstart.sources.checkpoints.source_folder import DESCRIPTION, KERAS, SCHEMA, Described
from headstart.sources.networks.source import TorchSource
from headstart.sources.registry import open_source
from headstart.sources.taps import Tap
from headstart.sources.uri import parse

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "weights.safetensors"
AGAIN = "convert the source again with this version"


def convert(uri: str, folder: Path, *, weights: str = "pretrained", seed: int = 0) -> SourceInfo:
    """Write a Keras source as a folder that `file:FOLDER` opens, and return what that source is.

    Its features are those of `uri`, and it needs no Keras.

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
    _check_ours(folder)
    source = open_source(uri, weights=weights, seed=seed)
    if not isinstance(source, TorchSource):
        raise SourceError("a source that is converted must be a torch network", repr(uri), "name keras:NAME")
    write_folder(folder, _members(source, uri))
    return open_source(f"file:{folder}").info


def _check_ours(folder: Path) -> None:
    held = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if (folder.exists() and not folder.is_dir()) or (held and sorted(held) != [DESCRIPTION, WEIGHTS]):
        raise SourceError(f"{folder} must be absent, empty or a converted source", "another", "name another folder")


def _members(source: TorchSource, uri: str) -> dict[str, bytes]:
    """Return the files of the folder and their bytes."""
    from safetensors.torch import save

    from headstart.sources.keras.graph import Graph

    body = source.module()
    if not isinstance(body, Graph):
        raise SourceError("only networks of Keras are converted", repr(uri), "name keras:NAME")
    state = body.state_dict()
    data = save({name: value.contiguous() for name, value in state.items() if value.is_floating_point()})
    identity = source.identity
    described = {
        "schema": SCHEMA,
        "graph": KERAS,
        "arch": "",
        "origin": uri,
        "weights": WEIGHTS,
        "preprocessing": asdict(source.preprocessing),
        "classes": [],
        "licence": identity.licence,
        "trained_on": identity.trained_on,
        "members": {WEIGHTS: sha256(data)},
        "network": {
            "graph": body.graph,
            "taps": [asdict(tap) for tap in source.taps],
            "more": [asdict(tap) for tap in source.more],
            "parameters": identity.parameters,
            "classes": identity.classes,
        },
    }
    return {WEIGHTS: data, DESCRIPTION: canonical_json(described)}


def open_converted(folder: Path, described: Described, *, uri: str, weights: str, seed: int) -> TorchSource:
    """Return the source in a folder that `convert` wrote.

    Args:
        folder: the folder.
        described: what its `source.json` says.
        uri: of the source.
        weights: `pretrained` for those of the folder, `none` for random ones of the same network.
        seed: of random weights.

    Raises:
        SourceError: the description or the weights are damaged, or do not fit each other.
    """
    where = folder / DESCRIPTION
    if described.preprocessing is None:
        raise SourceError(f"{where} must state the preprocessing", "none", AGAIN)
    if weights == "none":
        size = described.preprocessing.size[0]
        fresh = open_source(described.origin, weights="none", seed=seed, size=size)
        if not isinstance(fresh, TorchSource):
            raise SourceError(f"{where} must name a Keras source as its origin", repr(described.origin), AGAIN)
        identity = replace(fresh.identity, uri=uri)
        return TorchSource(identity, fresh.preprocessing, fresh.taps, fresh.module, more=fresh.more)
    network = (described.more or {}).get("network", {})
    try:
        identity = Identity(
            uri=uri,
            architecture=f"keras {network['graph']['name']} {sha256_json(network['graph'])}",
            parameters=int(network["parameters"]),
            classes=int(network["classes"]),
            licence=described.licence,
            revision=described.origin,
            sha256=described.members[described.weights],
            trained_on=described.trained_on,
        )
        taps, more = (tuple(Tap(**tap) for tap in network[name]) for name in ("taps", "more"))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SourceError(f"{where} must describe a network", f"{type(error).__name__}: {error}", AGAIN) from error
    path = folder / described.weights
    return TorchSource(identity, described.preprocessing, taps, lambda: _build(network["graph"], path), more=more)


def _build(graph: Mapping[str, Any], path: Path) -> nn.Module:
    from headstart.sources.checkpoints.safetensors import read_safetensors
    from headstart.sources.keras.graph import build

    return build(graph, read_safetensors(path), where=str(path))
