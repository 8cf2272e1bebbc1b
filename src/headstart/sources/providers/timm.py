"""timm's networks by timm's names; what an architecture looks like is remembered, so that a warm run needs no torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.errors import SourceError, UsageError, did_you_mean
from headstart.data.audio.spectrogram import preprocessing_from
from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.base import Architecture, Identity, remembered
from headstart.sources.hub.repository import Repository
from headstart.sources.networks.source import TorchSource, build_seeded, look_without_numbers, source_of
from headstart.sources.uri import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "model.safetensors"
LITE_STAGES = ("stage2", "stage4", "stage5", "stage6")  # best over 11 small photo sets, see `packaged`
LITE_MAX_POOLED = ("stage4", "stage6")
LOADING_ARGUMENTS = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}
LOADING_ARGUMENTS |= {"scriptable", "exportable"}
"""Arguments of timm's `create_model` that name files or ways of loading."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


def open_named(spec: Spec, *, weights: str, seed: int) -> TorchSource:
    """Return timm's network `spec.name`, with its weights from the Hugging Face hub or random ones.

    SourceError: timm knows no such name, it has no weights, or they cannot be had.
    """
    architecture = architecture_of(spec.name)
    identity = Identity(
        uri=spec.uri,
        architecture=spec.name,
        licence=architecture.licence or "not stated",
        trained_on=f"timm tag {architecture.tag or 'none'} (https://huggingface.co/{architecture.hub})",
    )
    if weights == "none":
        identity = identity.as_random(seed, library="timm")
        return source_of(identity, architecture, lambda: build_random(spec.name, seed))
    if not architecture.hub:
        raise SourceError(
            f"{spec.uri} must have pretrained weights", "timm lists none", "use weights none, or another name"
        )
    file = Repository(architecture.hub, spec.revision, uri=spec.uri).get(WEIGHTS)
    identity = replace(identity, revision=file.commit, sha256=file.sha256, notes=file.notes)
    return source_of(identity, architecture, lambda: _build_pretrained(spec.name, file.path))


def _build_pretrained(name: str, path: Path) -> nn.Module:
    """Return the network with the weights in `path`, in inference mode; timm adapts names that have changed."""
    from headstart.sources.checkpoints.read import read_repository

    read_repository([path])  # sound, and of finite numbers
    return _create(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})


def build_random(name: str, seed: int) -> nn.Module:
    """Return the network with random weights drawn from `seed`, in inference mode; torch's own state is untouched."""
    return build_seeded(lambda: _create(name), seed)


def _create(name: str, **options: Any) -> nn.Module:
    import timm

    if not timm.is_model(name.partition(".")[0]):
        names = timm.list_models()
        raise SourceError(
            f"timm must know the name ({len(names):,} names, see https://huggingface.co/timm)",
            repr(name),
            f"choose another{did_you_mean(name.partition('.')[0], names)}",
        )
    try:
        body: nn.Module = timm.create_model(name, **options)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise SourceError(
            f"timm must be able to build {name!r}", " ".join(str(error).split()), "choose another name"
        ) from error
    return body.eval()


def build_configured(
    settings: Mapping[str, Any], state: dict[str, Tensor] | None, *, where: str
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network that a `config.json` of timm describes, in inference mode, and what must be told of it.

    `settings` hold `architecture`, and perhaps `num_classes`, `pretrained_cfg` and `model_args`; `state` its weights,
    which lie in the file `where`, or None for torch's next random ones. SourceError: timm knows no such architecture,
    or the weights do not fit it.
    """
    from headstart.sources.checkpoints.load import load_checkpoint
    from headstart.sources.checkpoints.read import CheckpointTensors

    arguments, pretrained = (settings.get(name) or {} for name in ("model_args", "pretrained_cfg"))
    if not isinstance(arguments, dict) or not isinstance(pretrained, dict):
        raise SourceError(
            "model_args and pretrained_cfg of config.json must be settings by name",
            "others",
            "write them as {name: value}, or fetch it again",
        )
    if odd := sorted(arguments.keys() & LOADING_ARGUMENTS):
        raise SourceError(
            f"model_args of {where or 'config.json'} must shape the network only", odd[0], "do not use it"
        )
    if "num_classes" in settings:
        arguments = {**arguments, "num_classes": settings["num_classes"]}
    body = _create(str(settings["architecture"]), pretrained_cfg=pretrained or None, **arguments)
    if state is None:
        return body, ()
    # Its own file renames the weights to the names that timm gives them today.
    rename = getattr(sys.modules[type(body).__module__], "checkpoint_filter_fn", None)
    renamed = dict(rename(state, body)) if rename is not None else state
    return body, load_checkpoint(body, CheckpointTensors(renamed, ordered=False), where=where).notes


def architecture_of(name: str) -> Architecture:
    """Return what the architecture looks like, from the cache or, once, from the network itself."""
    key = {"library": "timm", "name": name, "version": version("timm")}
    return remembered(key, lambda: look_without_numbers(lambda: inspect_timm(_create(name))))


def inspect_timm(body: nn.Module) -> Architecture:
    """Return the architecture of a timm network, found by running it once on a blank picture."""
    import torch

    from headstart.sources.networks.stages import look_for_architecture

    network: Any = body
    config = network.pretrained_cfg
    classifier = network.get_classifier() if hasattr(network, "get_classifier") else None
    lite = "efficientnet_lite" in config.get("architecture", "")
    architecture = look_for_architecture(
        network,
        torch.zeros(1, *config["input_size"]),
        _preprocessing(config),
        classes=int(network.num_classes),
        classifier=classifier if isinstance(classifier, torch.nn.Module) else None,
        modules=_stages(network, lite),
        late=LITE_STAGES if lite else None,
        max_pooled=LITE_MAX_POOLED if lite else None,
    )
    return replace(
        architecture,
        hub=config.get("hf_hub_id") or "",
        licence=config.get("license") or "",
        tag=config.get("tag") or "",
    )


def _preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    _, height, width = config["input_size"]
    squash = config.get("crop_mode") == "squash"
    preprocessing = Preprocessing(
        size=(height, width),
        resize=None if squash else int(min(height, width) / config["crop_pct"]),
        interpolation=config["interpolation"] if config["interpolation"] in INTERPOLATIONS else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
    try:
        return preprocessing_from(asdict(preprocessing))
    except UsageError as error:
        raise SourceError(error.must, error.received, "name another source") from error


def _stages(body: Any, lite: bool) -> list[str]:
    """Return the module of each stage, as the network's own `feature_info` lists them."""
    if lite:
        return [f"blocks.{at}" for at in range(len(body.blocks))]
    listed = getattr(body, "feature_info", None) or []
    entries = listed if isinstance(listed, list) else listed.info
    modules = dict(body.named_modules())
    return [entry["module"] for entry in entries if entry.get("module") in modules]
