"""keras.applications by Keras's own names: Keras builds each network, and torch runs it (`sources.keras`).

`pool` is what `include_top=False, pooling="avg"` gives.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.base.config import offline
from headstart.base.disk import write_folder
from headstart.base.errors import SourceError, UsageError, list_some
from headstart.base.hashing import sha256, sha256_file
from headstart.base.own_folders import DESCRIPTION
from headstart.sources.base import Architecture, Identity, SourceInfo, remembered
from headstart.sources.checkpoints.source_folder import KERAS, SourceDescription, to_json
from headstart.sources.keras.applications import APPLICATIONS, build_application, import_keras
from headstart.sources.networks.source import TorchSource, source_of
from headstart.sources.registry import open_source
from headstart.sources.uri import Spec, another_name, parse, refuse_revision

if TYPE_CHECKING:
    from torch import nn

    from headstart.sources.checkpoints.load import Loaded
    from headstart.sources.keras.network import KerasNetwork

DEVIATION = (0.229, 0.224, 0.225)
EFFICIENTNET_VARIANCE = "layers/normalization/vars/1"
WEIGHTS = "weights.safetensors"
CONVERT_AGAIN = "convert the source again with this version"
TRAINED_ON = "ImageNet-1k classification (1.28 million photos, 1,000 classes)"


def open_named(spec: Spec, *, weights: str, seed: int, size: int | None = None) -> TorchSource:
    """Return the application `spec.name`, with Keras's released weights or random ones.

    At the size that it was trained for, the released weights come with their classifier (`include_top=True`); at
    another size they have none, and random weights, which Keras's own initialisers draw, never have one. `size` is the
    side of the input in pixels; None for the one that it was trained for. SourceError: Keras has no such name or cannot
    build it at that size, or its weights cannot be had. MissingExtra: Keras is not installed. UsageError: a size below
    the least that the network takes.
    """
    name, side = spec.name, check_application(spec, size)
    refuse_revision(spec, "Keras releases the weights of an application once")
    if weights == "none":
        identity, architecture = identify(spec.uri, name, side, top=False)
        identity = identity.as_random(seed, library="keras")
        return source_of(identity, architecture, lambda: build(name, side, top=False, seed=seed))
    top = side == APPLICATIONS[name].size
    path = fetch(name, top=top)
    identity, architecture = identify(spec.uri, name, side, top=top)
    identity = replace(identity, sha256=sha256_file(path), revision=path.name)
    return source_of(identity, architecture, lambda: load(name, side, path, top=top, released=True)[0])


def check_application(spec: Spec, size: int | None) -> int:
    """Return the side of the input in pixels.

    SourceError: keras.applications has no such name. UsageError: the side is less than the network takes.
    """
    if spec.name.startswith("NASNet"):
        raise SourceError(
            f"{spec.uri} must run on torch", "Keras does not offer NASNet there", "take timm:nasnetalarge instead"
        )
    if spec.name not in APPLICATIONS:
        same = next((name for name in APPLICATIONS if name.lower() == spec.name.lower()), None)
        raise SourceError(
            f"keras.applications must have the name ({len(APPLICATIONS)} names, from ConvNeXtBase to Xception)",
            repr(spec.name),
            f"choose another, did you mean {same!r}?" if same else another_name(spec.name, APPLICATIONS),
        )
    application = APPLICATIONS[spec.name]
    side = application.size if size is None else size
    if side < application.least:
        least = f"the size for keras:{spec.name} must be at least {application.least} pixels"
        raise UsageError(least, size, "give a larger one")
    return side


def identify(uri: str, name: str, side: int, *, top: bool) -> tuple[Identity, Architecture]:
    """Return the identity of the source `uri`, but for its weights, and what its network is.

    Here and below, `name` is an application as keras.applications has it, `side` that of its input in pixels, and `top`
    whether it has its classifier.
    """
    key = {"library": "keras", "name": name, "size": side, "top": top, "version": version("keras")}
    architecture = remembered(key, lambda: inspect(name, side, top=top))
    return Identity(uri, f"keras {name}", trained_on=TRAINED_ON), architecture


def inspect(name: str, side: int, *, top: bool) -> Architecture:
    """Return what an application is, found by running it once on a blank picture, without any numbers."""
    import torch

    from headstart.sources.keras.network import KerasNetwork, find_stages
    from headstart.sources.networks.stages import look_for_taps

    model = build_application(name, size=side, top=top, shape_only=True)
    network = KerasNetwork(model).eval().to("meta")
    taps, more = look_for_taps(network, torch.zeros(1, 3, side, side, device="meta"), find_stages(network))
    names = list(network.layers)
    classifier = [network.layers[name] for name in names[names.index(network.pool or network.final) + 1 :]]
    unused = sum(weight.numel() for module in classifier for weight in module.parameters())
    return Architecture(
        parameters=sum(prod(weight.shape) for weight in model.trainable_weights) - unused,
        classes=network.steps[network.scores].shape[-1] if network.scores else 0,
        preprocessing=APPLICATIONS[name].preprocessing(side),
        taps=taps,
        more=more,
    )


def build(name: str, side: int, *, top: bool, seed: int = 0, shape_only: bool = False) -> KerasNetwork:
    """Return an application with random weights, or without any, in inference mode."""
    from headstart.sources.keras.network import KerasNetwork

    return KerasNetwork(build_application(name, size=side, top=top, seed=seed, shape_only=shape_only)).eval()


def load_file(name: str, side: int, path: Path) -> tuple[nn.Module, Loaded]:
    """Return an application with the weights of a Keras file, and what is left out; SourceError if it does not fit."""
    from headstart.sources.checkpoints.load import Loaded

    body, left = load(name, side, path, top=False)
    notes = (f"{len(left)} arrays of the file are left out: {list_some(left)}",) if left else ()
    return body, Loaded(classifier=False, notes=notes)


def load(name: str, side: int, path: Path, *, top: bool, released: bool = False) -> tuple[nn.Module, tuple[str, ...]]:
    """Return an application with the weights of a file, in inference mode, and the names of arrays that it leaves.

    The released EfficientNets were trained on (x - mean) / variance, where `variance` held deviations; for them
    keras.applications divides by the root of these once more
    (https://github.com/tensorflow/tensorflow/issues/49930). So it is done here, for networks that began as them too:
    they are told by these constants, or by `released`: the file holds the released weights.
    """
    import numpy as np

    from headstart.sources.checkpoints.keras_file import match_arrays, read_arrays
    from headstart.sources.checkpoints.read import check_finite
    from headstart.sources.keras.network import KerasNetwork, weights_of

    model = build_application(name, size=side, top=top)
    arrays, weights = read_arrays(path), weights_of(model)
    shapes = {place: tuple(weight.shape) for place, weight in weights.items()}
    paths = {place: weight.path for place, weight in weights.items()}
    names = match_arrays(arrays, shapes, paths, where=str(path))
    for place, weight in weights.items():
        array = arrays[names[place]].astype(np.float32)
        if place == EFFICIENTNET_VARIANCE and (released or np.allclose(array, DEVIATION, rtol=1e-3)):
            array = array * np.array(DEVIATION, np.float32)
        weight.assign(array)
    network = KerasNetwork(model).eval()
    check_finite(network.state_dict(), where=str(path))
    return network, tuple(name for name in arrays if name not in set(names.values()))


def convert(uri: str, folder: Path, *, weights: str = "pretrained", seed: int = 0) -> SourceInfo:
    """Write a Keras source as a folder that `file:FOLDER` opens, and return what that source is, of the same features.

    `weights` is `pretrained`, `none`, or the path of a Keras file with weights of this architecture; a folder that this
    function wrote is replaced. SourceError: no Keras source, its weights cannot be had, or the folder holds something
    else. UsageError: the disk cannot be written.
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


def open_converted(folder: Path, description: SourceDescription, *, uri: str, weights: str, seed: int) -> TorchSource:
    """Return the source `uri` in a folder that `headstart sources convert` wrote, or its network with random weights.

    SourceError: the description or the weights are damaged, do not fit each other, or are of a version before.
    """
    where = folder / DESCRIPTION
    top = description.settings.get("top")
    if not isinstance(top, bool) or not description.arch.startswith("keras:"):
        received = "one of an earlier version" if "network" in description.settings else repr(description.arch)
        raise SourceError(f"{where} must name a network of Keras under arch", received, CONVERT_AGAIN)
    if description.preprocessing is None:
        raise SourceError(f"{where} must state the preprocessing", "none", CONVERT_AGAIN)
    spec, side = parse(description.arch), description.preprocessing.size[0]
    if weights == "none":
        random = open_named(spec, weights="none", seed=seed, size=side)
        random.identity = replace(random.identity, uri=uri)
        return random
    identity, architecture = identify(uri, spec.name, check_application(spec, side), top=top)
    identity = replace(
        identity,
        licence=description.licence,
        revision=description.origin,
        sha256=description.members[description.weights],
        trained_on=description.trained_on,
    )
    architecture = replace(architecture, preprocessing=description.preprocessing)
    path = folder / description.weights
    return source_of(identity, architecture, lambda: _load_converted(spec.name, side, path, top=top))


def _load_converted(name: str, side: int, path: Path, *, top: bool) -> nn.Module:
    from headstart.sources.checkpoints.load import check_shapes
    from headstart.sources.checkpoints.read import check_finite
    from headstart.sources.checkpoints.safetensors import read_safetensors

    network = build(name, side, top=top, shape_only=True)
    tensors = read_safetensors(path)
    expected = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    if expected.keys() != tensors.keys():
        missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        raise SourceError(
            f"{path} must hold exactly the {len(expected)} tensors of keras:{name}",
            f"{len(missing)} missing {missing[:3]}, {len(extra)} too many {extra[:3]}",
            CONVERT_AGAIN,
        )
    check_shapes(expected, tensors, where=str(path))
    check_finite(tensors, where=str(path))
    network.load_state_dict(tensors, strict=False, assign=True)
    return network


def fetch(name: str, *, top: bool) -> Path:
    """Return the file of released weights in Keras's cache, downloaded by Keras unless it is there already.

    Its hash is checked here: Keras would download a damaged file again, even where nothing may be downloaded.
    SourceError: it cannot be had, or is not the one that was released.
    """
    url, path, digest = APPLICATIONS[name].released(top=top)
    if not path.is_file():
        must = f"keras:{name} needs its weights, {path.name}"
        remedy = f"download {url} where there is a network and put it at {path}, or use weights none"
        if offline():
            raise SourceError(must, "offline", remedy)
        keras, cache = import_keras(), str(path.parents[1])
        try:
            keras.utils.get_file(path.name, url, cache_subdir="models", cache_dir=cache, file_hash=digest or None)
        except Exception as error:  # get_file turns whatever went wrong into a bare Exception
            raise SourceError(must, str(error).partition("\n")[0], remedy) from error
    if digest:
        with path.open("rb") as opened:
            actual = hashlib.file_digest(opened, "md5" if len(digest) == 32 else "sha256").hexdigest()
        if actual != digest:
            raise SourceError(f"{path} must be the file that was released ({digest})", actual, f"remove it: rm {path}")
    return path
