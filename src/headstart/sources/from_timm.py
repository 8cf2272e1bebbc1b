"""timm's networks by timm's names; what an architecture looks like is remembered, so that a warm run needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from headstart.base.checks import did_you_mean
from headstart.base.config import cache_dir, offline
from headstart.base.errors import SourceError
from headstart.base.files import write_atomic
from headstart.base.hashing import canonical_json, sha256_file, sha256_json
from headstart.data.images import Preprocessing
from headstart.engines.manners import wait_politely
from headstart.sources.from_torch import RECIPE, Identity, TorchSource, as_random
from headstart.sources.recipe import Stage, Tap, taps
from headstart.sources.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
WEIGHTS = "model.safetensors"
LATE_STAGES = 4
LITE_STAGES = (2, 4, 5, 6)  # of EfficientNet-Lite: best over 11 small photo sets, see from_packaged
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)


@dataclass(frozen=True)
class Anatomy:
    """What an architecture is, whatever its weights: remembered under the cache.

    Attributes:
        parameters: number of weights, without the classifier.
        classes: how many classes its own classifier has.
        preprocessing: how it wants its pictures.
        taps: where its blocks are taken.
        hub: the repository of its weights on the Hugging Face hub; empty for none.
        licence: of those weights, as timm states it.
        tag: which of its trained weights the name stands for.
    """

    parameters: int
    classes: int
    preprocessing: Preprocessing
    taps: tuple[Tap, ...]
    hub: str
    licence: str
    tag: str


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
        return TorchSource(identity, anatomy.preprocessing, anatomy.taps, lambda: build_random(spec.name, seed))
    path = fetch(spec, anatomy)
    identity = Identity(**{**asdict(identity), "revision": path.parent.name, "sha256": sha256_file(path)})
    return TorchSource(identity, anatomy.preprocessing, anatomy.taps, lambda: build(spec.name, path))


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
    key = sha256_json({"name": name, "timm": version("timm"), "recipe": RECIPE})
    path = cache_dir() / "sources" / f"{key}.json"
    try:
        held = json.loads(path.read_bytes())
        if held["sha256"] == sha256_json(held["anatomy"]):
            return _from_json(held["anatomy"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent or damaged: looked at afresh, which gives the same
    anatomy = look(build_random(name, seed=0))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, canonical_json({"anatomy": asdict(anatomy), "sha256": sha256_json(asdict(anatomy))}))
    return anatomy


def _from_json(held: Mapping[str, Any]) -> Anatomy:
    how: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in held["preprocessing"].items()
    }
    found = {**held, "preprocessing": Preprocessing(**how), "taps": tuple(Tap(**tap) for tap in held["taps"])}
    return Anatomy(**found)


def look(body: nn.Module) -> Anatomy:
    """Return the anatomy of a timm network, found by running it once on a blank picture."""
    import torch

    given: Any = body
    config = given.pretrained_cfg
    _, height, width = config["input_size"]
    preprocessing = _preprocessing(config)
    classifier = given.get_classifier() if hasattr(given, "get_classifier") else None
    unused = sum(weight.numel() for weight in classifier.parameters()) if isinstance(classifier, torch.nn.Module) else 0
    with torch.inference_mode():
        channels = config["input_size"][0]
        found = _taps(given, torch.zeros(1, channels, height, width))
    return Anatomy(
        parameters=sum(weight.numel() for weight in body.parameters()) - unused,
        classes=int(given.num_classes),
        preprocessing=preprocessing,
        taps=found,
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


def _taps(body: Any, blank: Tensor) -> tuple[Tap, ...]:
    """Run the network once and return the taps that its outputs allow; only `pool` where it has no maps."""
    named = _stages(body)
    seen: dict[str, Any] = {}
    hooks = [
        body.get_submodule(module).register_forward_hook(
            lambda _module, _given, said, module=module: seen.update({module: said})
        )
        for _, module, _ in named
    ]
    final = body.forward_features(blank)
    pool = body.forward_head(final, pre_logits=True).flatten(1).shape[1]
    for hook in hooks:
        hook.remove()
    stages = [stage for name, module, width in named if (stage := _stage(name, module, width, seen.get(module)))]
    # A network whose last stage is its final map would give the same block twice.
    again = any(said is final for said in seen.values())
    last = None if again else _stage("final", "", body.num_features, final)
    return taps(pool, stages[-LATE_STAGES:], last, max_pooled=_maxed(stages))


def _maxed(stages: list[Stage]) -> list[str] | None:
    lite = tuple(stage.name for stage in stages) == tuple(f"stage{at}" for at in LITE_STAGES)
    return ["stage4", "stage6"] if lite else None


def _stages(body: Any) -> list[tuple[str, str, int]]:
    """Return name, module and width of each stage, as the network's own `feature_info` lists them."""
    architecture = body.pretrained_cfg.get("architecture", "")
    if "efficientnet_lite" in architecture:
        return [(f"stage{at}", f"blocks.{at}", body.blocks[at][-1].bn3.num_features) for at in LITE_STAGES]
    listed = getattr(body, "feature_info", None) or []
    entries = listed if isinstance(listed, list) else listed.info
    modules = dict(body.named_modules())
    return [
        (f"stage{at}", entry["module"], entry["num_chs"])
        for at, entry in enumerate(entries)
        if entry.get("module") in modules
    ]


def _stage(name: str, module: str, width: int, said: Any) -> Stage | None:
    """Return the stage, or None where its output is no map of `width` channels."""
    shape: tuple[int, ...] = tuple(getattr(said, "shape", ()))
    if len(shape) == 3 and shape[2] == width:
        return Stage(name, module, width, channels_last=True)
    if len(shape) == 4 and width in (shape[1], shape[3]):
        return Stage(name, module, width, channels_last=shape[1] != width)
    return None
