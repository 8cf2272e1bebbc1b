"""timm's networks by timm's names; what an architecture looks like is remembered, so that a warm run needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from headstart.base.checks import did_you_mean
from headstart.base.config import offline
from headstart.base.errors import SourceError
from headstart.base.hashing import sha256_file
from headstart.data.images import Preprocessing
from headstart.engines.manners import wait_politely
from headstart.sources.anatomy import Anatomy, remembered
from headstart.sources.from_torch import Identity, TorchSource, as_random
from headstart.sources.spec import Spec

if TYPE_CHECKING:
    from torch import nn

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
WEIGHTS = "model.safetensors"
LITE_STAGES = ("stage2", "stage4", "stage5", "stage6")  # best over 11 small photo sets, see from_packaged
LITE_MAXED = ("stage4", "stage6")
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)


def open_named(spec: Spec, *, weights: str, seed: int) -> TorchSource:
    """Return timm's network `spec.name`, with its weights from the Hugging Face hub or random ones.

    Raises:
        SourceError: timm knows no such name, it has no weights, or they cannot be had.
    """
    anatomy = anatomy_of(spec.name)
    identity = Identity(
        uri=spec.uri,
        architecture=spec.name,
        parameters=anatomy.parameters,
        classes=anatomy.classes,
        licence=anatomy.licence or "not stated",
        revision="",
        sha256="",
        trained_on=f"timm tag {anatomy.tag or 'none'} (https://huggingface.co/{anatomy.hub})",
    )
    if weights == "none":
        identity = as_random(identity, seed, library="timm")
        return TorchSource(
            identity, anatomy.preprocessing, anatomy.taps, lambda: build_random(spec.name, seed), more=anatomy.more
        )
    path = fetch(spec, anatomy)
    identity = Identity(**{**asdict(identity), "revision": path.parent.name, "sha256": sha256_file(path)})
    return TorchSource(identity, anatomy.preprocessing, anatomy.taps, lambda: build(spec.name, path), more=anatomy.more)


def fetch(spec: Spec, anatomy: Anatomy) -> Path:
    """Return the weights file in the Hugging Face cache, downloaded unless it is there already.

    Raises:
        SourceError: there is none, or it cannot be had.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    remedy = f"get it where there is a network (huggingface-cli download {anatomy.hub}), or use weights none"
    if not anatomy.hub:
        raise SourceError(
            f"{spec.uri} must have pretrained weights", "timm lists none", "use weights none, or another name"
        )

    def get(*, local: bool) -> Path:
        return Path(hf_hub_download(anatomy.hub, WEIGHTS, revision=spec.revision, local_files_only=local))

    try:
        return get(local=True)
    except LocalEntryNotFoundError as error:
        if offline():
            raise SourceError(f"{spec.uri} needs {WEIGHTS} of {anatomy.hub}", "offline", remedy) from error
    try:
        return get(local=False)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise SourceError(f"{spec.uri} needs {WEIGHTS} of {anatomy.hub}", first, remedy) from error


def build(name: str, path: Path) -> nn.Module:
    """Return the network with the weights in `path`, in inference mode; timm adapts names that have changed."""
    from safetensors.torch import load_file

    from headstart.sources.weights import check_finite

    check_finite(load_file(path), where=str(path))
    return _created(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})


def build_random(name: str, seed: int) -> nn.Module:
    """Return the network with random weights drawn from `seed`, in inference mode; torch's own state is untouched."""
    wait_politely()
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _created(name)


def _created(name: str, **how: Any) -> nn.Module:
    import timm

    if not timm.is_model(name.partition(".")[0]):
        known = timm.list_models()
        raise SourceError(
            f"timm must know the name ({len(known):,} names, see https://huggingface.co/timm)",
            repr(name),
            f"choose another{did_you_mean(name.partition('.')[0], known)}",
        )
    try:
        body: nn.Module = timm.create_model(name, **how)
    except RuntimeError as error:
        raise SourceError(
            f"timm must be able to build {name!r}", str(error).partition("\n")[0], "choose another name"
        ) from error
    return body.eval()


def anatomy_of(name: str) -> Anatomy:
    """Return what the architecture looks like, from the cache or, once, from the network itself."""
    key = {"library": "timm", "name": name, "version": version("timm")}
    return remembered(key, lambda: look(build_random(name, seed=0)))


def look(body: nn.Module) -> Anatomy:
    """Return the anatomy of a timm network, found by running it once on a blank picture."""
    import torch

    from headstart.sources.stages import look_for_taps

    given: Any = body
    config = given.pretrained_cfg
    classifier = given.get_classifier() if hasattr(given, "get_classifier") else None
    unused = sum(weight.numel() for weight in classifier.parameters()) if isinstance(classifier, torch.nn.Module) else 0
    lite = "efficientnet_lite" in config.get("architecture", "")
    how = {"late": LITE_STAGES, "max_pooled": LITE_MAXED} if lite else {}
    taps, more = look_for_taps(given, torch.zeros(1, *config["input_size"]), _stages(given, lite), **how)
    return Anatomy(
        parameters=sum(weight.numel() for weight in body.parameters()) - unused,
        classes=int(given.num_classes),
        preprocessing=_preprocessing(config),
        taps=taps,
        more=more,
        hub=config.get("hf_hub_id") or "",
        licence=config.get("license") or "",
        tag=config.get("tag") or "",
    )


def _preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    _, height, width = config["input_size"]
    squash = config.get("crop_mode") == "squash"
    known: dict[str, Interpolation] = {name: name for name in INTERPOLATIONS}
    return Preprocessing(
        size=(height, width),
        resize=None if squash else int(min(height, width) / config["crop_pct"]),
        interpolation=known.get(config["interpolation"], "bicubic"),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _stages(body: Any, lite: bool) -> list[str]:
    """Return the module of each stage, as the network's own `feature_info` lists them."""
    if lite:
        return [f"blocks.{at}" for at in range(len(body.blocks))]
    listed = getattr(body, "feature_info", None) or []
    entries = listed if isinstance(listed, list) else listed.info
    modules = dict(body.named_modules())
    return [entry["module"] for entry in entries if entry.get("module") in modules]
