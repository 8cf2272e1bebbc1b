"""keras.applications by Keras's own names, run as plain torch: Keras is asked once what each network is made of.

Features agree with Keras's own on its torch backend to float rounding (`keras_graph.py`), so that a Keras source runs,
tunes and ships like any other torch network. `pool` is what `include_top=False, pooling="avg"` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.base.checks import did_you_mean
from headstart.base.errors import SourceError, UsageError, list_some
from headstart.base.hashing import sha256_file, sha256_json
from headstart.sources.base import Identity
from headstart.sources.keras.blueprint import Blueprint, began_as_released, blueprint_of
from headstart.sources.keras.library import check_installed
from headstart.sources.keras.table import APPLICATIONS
from headstart.sources.keras.weights import fetch
from headstart.sources.networks.source import TorchSource
from headstart.sources.uri import Spec, refuse_revision

if TYPE_CHECKING:
    from torch import nn

    from headstart.sources.keras.arrays import Array, Assigned

TRAINED_ON = "ImageNet-1k classification (1.28 million photos, 1,000 classes)"
NOT_STATED = "not stated"


def open_named(spec: Spec, *, weights: str, seed: int, size: int | None = None) -> TorchSource:
    """Return the application `spec.name`, with Keras's released weights or random ones.

    At the size that it was trained for, the released weights come with their classifier (`include_top=True`); at
    another size they have none, and random weights never have one.

    Args:
        spec: `keras:NAME`.
        weights: `pretrained` or `none`.
        seed: of random weights, which Keras's own initialisers draw.
        size: side of the input in pixels; None for the one that it was trained for.

    Raises:
        SourceError: Keras has no such name or cannot build it at that size, or its weights cannot be had.
        MissingExtra: Keras is not installed.
        UsageError: a size below the least that the network takes.
    """
    check_name(spec)
    refuse_revision(spec, "Keras releases the weights of an application once")
    check_installed(spec.uri)
    name = spec.name
    side = check_size(name, size)
    if weights == "none":
        blueprint = blueprint_of(name, size=side, top=False, trained=False)
        identity = identify(spec.uri, blueprint).as_random(seed, library="keras")
        return as_source(identity, blueprint, side, lambda: _random(blueprint, side, seed))
    top = side == APPLICATIONS[name].size
    path = fetch(name, top=top)
    blueprint = blueprint_of(name, size=side, top=top, trained=True)
    identity = replace(identify(spec.uri, blueprint), sha256=sha256_file(path), revision=path.name)
    return as_source(identity, blueprint, side, lambda: build_arrays(blueprint, read(blueprint, path).arrays, path))


def open_file(path: Path, uri: str, arch: str, *, size: int | None = None) -> TorchSource:
    """Return an application with the weights of a Keras file; what else the file holds is left out, and said.

    Weights of an EfficientNet that began as the released ones are told by their constants, and get the step that Keras
    adds for those.

    Args:
        path: `.keras`, `.weights.h5` or `.h5`.
        uri: of the source.
        arch: `keras:NAME`.
        size: side of the input in pixels; None for the one that the architecture was trained for.

    Raises:
        SourceError: no such architecture, or a file that is unsound or does not fit it.
        MissingExtra: Keras is not installed.
    """
    spec = Spec("keras", arch.removeprefix("keras:"))
    check_name(spec)
    check_installed(arch)
    side = check_size(spec.name, size)
    blueprint = blueprint_of(spec.name, size=side, top=False, trained=False)
    digest = sha256_file(path)
    assigned = read(blueprint, path)
    if began_as_released(blueprint, assigned.arrays):
        blueprint = blueprint_of(spec.name, size=side, top=False, trained=True)
    left = assigned.left
    notes = (f"{len(left)} arrays of the file are left out: {list_some(left)}",) if left else ()
    identity = replace(
        identify(uri, blueprint),
        sha256=digest,
        trained_on=f"not stated (weights in {path.name})",
        arch=arch,
        notes=notes,
    )
    return as_source(identity, blueprint, side, lambda: build_arrays(blueprint, assigned.arrays, path))


def check_name(spec: Spec) -> None:
    """Raise SourceError unless keras.applications has the name, in that spelling."""
    if spec.name in APPLICATIONS:
        return
    if spec.name.startswith("NASNet"):
        raise SourceError(
            f"{spec.uri} must run on torch", "Keras does not offer NASNet there", "take timm:nasnetalarge instead"
        )
    same = next((name for name in APPLICATIONS if name.lower() == spec.name.lower()), None)
    hint = f", did you mean {same!r}?" if same else did_you_mean(spec.name, APPLICATIONS)
    raise SourceError(
        f"keras.applications must have the name ({len(APPLICATIONS)} names, from ConvNeXtBase to Xception)",
        repr(spec.name),
        f"choose another{hint}",
    )


def check_size(name: str, size: int | None) -> int:
    """Return the side of the input in pixels, that of the application where `size` is None.

    Raises:
        UsageError: less than the network takes.
    """
    known = APPLICATIONS[name]
    side = known.size if size is None else size
    if side < known.least:
        raise UsageError(f"the size for keras:{name} must be at least {known.least} pixels", size, "give a larger one")
    return side


def identify(uri: str, blueprint: Blueprint) -> Identity:
    """Return the identity of a network of keras.applications, but for its weights."""
    return Identity(
        uri=uri,
        architecture=f"keras {blueprint.graph['name']} {sha256_json(blueprint.graph)}",
        parameters=blueprint.parameters,
        classes=blueprint.classes,
        licence=NOT_STATED,
        revision="",
        sha256="",
        trained_on=TRAINED_ON,
    )


def as_source(identity: Identity, blueprint: Blueprint, side: int, build: Callable[[], nn.Module]) -> TorchSource:
    """Return the source of a blueprint."""
    preprocessing = APPLICATIONS[blueprint.graph["name"]].preprocessing(side)
    return TorchSource(identity, preprocessing, blueprint.taps, build, more=blueprint.more)


def read(blueprint: Blueprint, path: Path) -> Assigned:
    """Return the arrays of a Keras file in the order of a blueprint's slots.

    Raises:
        SourceError: the file is unsound, or its arrays do not fit.
    """
    from headstart.sources.keras.arrays import assign
    from headstart.sources.keras.file import read_arrays

    return assign(blueprint, read_arrays(path), where=str(path))


def build_arrays(blueprint: Blueprint, arrays: Sequence[Array], where: Path | str) -> nn.Module:
    """Return the network of a blueprint with Keras's arrays in it, in inference mode.

    Raises:
        SourceError: a number is not finite.
    """
    import torch

    from headstart.sources.keras.arrays import to_tensors
    from headstart.sources.keras.graph import build

    tensors = {name: torch.from_numpy(value) for name, value in to_tensors(blueprint, arrays).items()}
    return build(blueprint.graph, tensors, where=str(where))


def _random(blueprint: Blueprint, side: int, seed: int) -> nn.Module:
    from headstart.sources.keras.library import random_arrays

    name = blueprint.graph["name"]
    return build_arrays(blueprint, random_arrays(name, size=side, seed=seed), f"keras:{name}")
