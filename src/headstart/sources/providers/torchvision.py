"""torchvision's classifiers by torchvision's names; each is cut in two by `two_step.Split`, whatever its family."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.config import offline
from headstart.base.errors import SourceError, did_you_mean
from headstart.base.hashing import sha256_file
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import Architecture, Identity, remembered
from headstart.sources.networks.source import TorchSource, build_seeded, look_without_numbers, source_of
from headstart.sources.uri import Spec

if TYPE_CHECKING:
    from torch import nn

    from headstart.sources.networks.two_step import Split

LICENCE = "not stated (torchvision's code is BSD-3-Clause)"
DEFAULT_PIXELS = 224


def open_named(spec: Spec, *, weights: str, seed: int) -> TorchSource:
    """Return torchvision's classifier `spec.name`, with its trained weights or random ones.

    The revision is the name of one set of trained weights, such as `IMAGENET1K_V2`; torchvision's default without.
    Preprocessing is that of those weights, for random ones too. SourceError: torchvision knows no such name or
    weights, or they cannot be had.
    """
    key = {"library": "torchvision", "name": spec.name, "weights": spec.revision, "version": version("torchvision")}
    architecture = remembered(key, lambda: look_without_numbers(lambda: _inspect(spec)))
    identity = Identity(
        uri=spec.uri,
        architecture=f"torchvision {spec.name}",
        licence=architecture.licence or LICENCE,
        revision=architecture.tag,
        trained_on=f"ImageNet-1k classification ({architecture.tag} of torchvision)",
    )
    preprocessing = architecture.preprocessing
    if weights == "none":
        identity = identity.as_random(seed, library="torchvision")
        return source_of(identity, architecture, lambda: build_random(spec, preprocessing, seed))
    path = _fetch(spec, architecture)
    identity = replace(identity, sha256=sha256_file(path))
    return source_of(identity, architecture, lambda: _build(spec, preprocessing, path))


def _inspect(spec: Spec) -> Architecture:
    """Return what the architecture is, found by running it once on a blank picture."""
    import torch

    from headstart.sources.networks.stages import look_for_architecture

    released = _known_weights(spec)
    preprocessing = _preprocessing(released)
    body: Any = _build(spec, preprocessing)
    classes, blank = len(body.classifier.weight), torch.zeros(1, 3, *preprocessing.size)
    return replace(
        look_for_architecture(body, blank, preprocessing, classes=classes, classifier=body.classifier),
        hub=released.url if released is not None else "",
        licence=released.meta.get("license", "") if released is not None else "",
        tag=released.name if released is not None else "",
    )


def build_random(spec: Spec, preprocessing: Preprocessing, seed: int) -> nn.Module:
    """Return the network with random weights drawn from `seed`; torch's own state is untouched."""
    return build_seeded(lambda: _build(spec, preprocessing), seed)


def _build(spec: Spec, preprocessing: Preprocessing, path: Path | None = None) -> Split:
    """Return the network in two steps, in inference mode, with torch's next random weights, or all of those in `path`.

    The classifiers that only training uses are taken off.
    """
    import torch
    from torchvision import models

    from headstart.sources.checkpoints.read import read_repository
    from headstart.sources.networks.two_step import Split

    state = read_repository([path]) if path is not None else {}
    options: dict[str, Any] = {}
    if spec.name in ("googlenet", "inception_v3"):
        auxiliary = any(name.startswith(("aux", "AuxLogits")) for name in state)
        options = {"aux_logits": auxiliary, "init_weights": False, "transform_input": True}
    if spec.name.startswith("vit_"):
        options = {"image_size": preprocessing.size[0]}
    body: Any = models.get_model(spec.name, weights=None, **options)
    if path is not None:
        try:
            body.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise SourceError(
                f"{path} must hold the weights of {spec.uri}",
                " ".join(str(error).split()),
                "delete the file, and try again",
            ) from error
    for name in ("aux1", "aux2", "AuxLogits"):
        if getattr(body, name, None) is not None:
            setattr(body, name, None)
            body.aux_logits = False
    return Split(body, torch.zeros(1, 3, *preprocessing.size)).eval()


def _fetch(spec: Spec, architecture: Architecture) -> Path:
    """Return the weights file in torch.hub's own cache, downloaded unless it is there already.

    SourceError: there is none, or it cannot be had, or it is not the one that was released.
    """
    if not architecture.hub:
        raise SourceError(f"{spec.uri} must have trained weights", "torchvision lists none", "use weights none")
    path = hub_folder() / "checkpoints" / architecture.hub.rpartition("/")[2]
    remedy = f"get {architecture.hub} where there is a network and put it at {path}, or use weights none"
    digest = _digest(path)
    if path.is_file():
        if not (received := sha256_file(path)).startswith(digest):
            raise SourceError(f"the sha256 of {path} must begin with {digest}", received, f"delete it, then {remedy}")
        return path
    if offline():
        raise SourceError(f"{spec.uri} needs {path.name}", "offline, and it is not in torch's cache", remedy)
    set_passive_omp_wait()
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(architecture.hub, str(path), hash_prefix=digest, progress=False)
    except (OSError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise SourceError(f"{spec.uri} needs {path.name}", first, remedy) from error
    return path


def _digest(path: Path) -> str:
    """Return the first digits of the sha256 that torchvision writes at the end of a file's name."""
    return path.stem.rpartition("-")[2]


def hub_folder() -> Path:
    """Return torch.hub's folder, as torch finds it, without importing torch."""
    if "torch" in sys.modules:
        import torch

        return Path(torch.hub.get_dir())
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{home}/torch")).expanduser() / "hub"


def _known_weights(spec: Spec) -> Any:
    """Return torchvision's record of the weights; None where an architecture has none."""
    set_passive_omp_wait()
    from torchvision import models

    names = models.list_models(module=models)
    if spec.name not in names:
        raise SourceError(
            f"torchvision must know the classifier ({len(names)} names, see https://docs.pytorch.org/vision/stable/models)",
            repr(spec.name),
            f"choose another{did_you_mean(spec.name, names)}",
        )
    listed = models.get_model_weights(spec.name)
    if spec.revision is None:
        return getattr(listed, "DEFAULT", None)
    by_name = {weights.name: weights for weights in listed}
    if spec.revision not in by_name:
        raise SourceError(
            f"the revision of torchvision:{spec.name} must be one of {', '.join(by_name) or 'none'}",
            repr(spec.revision),
            f"choose one{did_you_mean(spec.revision, by_name)}",
        )
    return by_name[spec.revision]


def _preprocessing(released: Any) -> Preprocessing:
    if released is None:
        return Preprocessing(size=(DEFAULT_PIXELS, DEFAULT_PIXELS), resize=256, interpolation="bilinear")
    preset = released.transforms()
    (side,), (resize,) = preset.crop_size, preset.resize_size
    return Preprocessing(
        size=(side, side),
        resize=resize,
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
