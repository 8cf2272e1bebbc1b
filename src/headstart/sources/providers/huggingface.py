"""Networks of the Hugging Face hub: timm's and transformers' image models, and encoders of texts and recordings.

They are built here, and no code of a repository runs. Tokenizer, pooling and prefix of an encoder are those that the
repository's own files state.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from headstart.base.errors import HeadstartError, SourceError, did_you_mean, one_line
from headstart.base.extras import require
from headstart.base.hashing import sha256_json
from headstart.engines.base import STEP
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import Architecture, Identity, Source, TextPreprocessing, remembered
from headstart.sources.hub.repository import SMALL, HubFile, Repository
from headstart.sources.layers import POOLINGS, Pooling
from headstart.sources.networks.source import Built, TorchSource, build_seeded, source_of
from headstart.sources.providers.huggingface_sounds import FAMILIES as SOUND_FAMILIES
from headstart.sources.providers.huggingface_sounds import open_sounds
from headstart.sources.text.source import TextSource, Tokenizer, layer_taps, middle_layers
from headstart.sources.uri import Spec, refuse_long_texts

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG, PROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"
WEIGHTS, INDEX, PICKLED = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
CODE = ("auto_map", "trust_remote_code", "custom_pipelines")
FAMILIES = (
    "vit", "deit", "dinov2", "dinov2_with_registers", "beit", "swin", "swinv2", "convnext", "convnextv2", "resnet",
    "regnet", "mobilenet_v2", "clip", "clip_vision_model", "siglip", "siglip_vision_model",
)  # fmt: skip
"""What `transformers_networks` knows how to pool."""
OTHER_KINDS = {
    "text": ("vocab_size", "text_config", "n_vocab", "d_ff"),
    "sound": ("num_mel_bins", "conv_kernel", "feat_extract_norm"),
}
"""Keys by which the settings of a network for another kind of data are told."""
TEXT_FAMILIES = (
    "bert", "distilbert", "roberta", "xlm-roberta", "camembert", "mpnet", "modernbert", "electra", "albert",
)  # fmt: skip
"""The encoders of texts that it knows how to build."""
TOKENIZER, MODULES, LIMITS, PROMPTS = (
    "tokenizer.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json",
)  # fmt: skip
OLD_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}
"""The flags by which older files of sentence-transformers name a pooling."""
LAYERS = {"distilbert": "model.transformer.layer", "modernbert": "model.layers", "albert": ""}
"""Where the layers of a family are in its network, unless in `model.encoder.layer`; ALBERT's are all one."""
RESERVED = 2
"""Positions that the RoBERTa family keeps for padding."""


def open_named(
    spec: Spec, *, weights: str, seed: int, long: Literal["cut", "chunks"] = "cut", window: float | None = None
) -> Source:
    """Return the network `ORG/NAME` of the hub, for pictures, texts or recordings, with its weights or random ones.

    Its weights are fetched and checked here; the branch is resolved to a commit, which `info.revision` states.
    SourceError: no such name or revision, it cannot be had, it needs code of its own, it is no network for pictures or
    texts, its settings describe none, or its weights do not fit it. MissingExtra: transformers is not installed.
    """
    try:
        return _opened(spec, weights=weights, seed=seed, long=long, window=window)
    except HeadstartError:
        raise
    except Exception as error:  # what libraries raise of settings that anyone may have written can be anything
        raise SourceError(
            f"the settings of {spec.uri} must describe a network that its library builds",
            one_line(f"{type(error).__name__}: {error}", 200),
            "name another source",
        ) from error


def _opened(spec: Spec, *, weights: str, seed: int, long: Literal["cut", "chunks"], window: float | None) -> Source:
    repository = Repository(spec.name, spec.revision, uri=spec.uri)
    made_of = read_model(repository)
    config, library = made_of["config"], made_of["library"]
    name = config.get("architecture") if library == "timm" else config["model_type"]
    identity = Identity(spec.uri, f"{name} {sha256_json(made_of)[:16]}")
    text = config.get("model_type") in TEXT_FAMILIES
    if not text:
        refuse_long_texts(spec, long)
    if weights == "none":
        files, identity = [], identity.as_random(seed, library=library)
    else:
        files = find_weights(repository)
        digests = [file.sha256 for file in files]
        licence, trained_on = read_card(repository)
        identity = replace(
            identity,
            licence=licence,
            trained_on=trained_on,
            revision=repository.commit,
            sha256=digests[0] if len(digests) == 1 else sha256_json(digests),
            notes=tuple(repository.notes),
        )
    if text:
        return _open_text(config, repository, files, identity, seed=seed, long=long)
    if config.get("model_type") in SOUND_FAMILIES:
        return _sound_source(made_of, identity, files, seed=seed, window=window)
    return _image_source(made_of, identity, files, seed=seed)


def read_model(repository: Repository) -> dict[str, Any]:
    """Return what an architecture in a repository depends on: its settings, and the library that gives them meaning.

    SourceError: the settings are damaged, need code of the repository, or are of no known family. MissingExtra: that
    library is not installed.
    """
    config, processor, library = read_settings(repository, CONFIG), {}, "timm"
    if "architecture" not in config or "model_type" in config:
        check_family(config, repository.uri)
        library = "transformers"
        if config["model_type"] not in TEXT_FAMILIES:
            processor = read_settings(repository, PROCESSOR)
    require(repository.uri, library)  # before anything large is fetched
    return {"library": library, "version": version(library), "config": config, "processor": processor}


def read_settings(repository: Repository, name: str) -> dict[str, Any]:
    """Return a JSON file of settings; SourceError where it is damaged, or names code of the repository."""
    file = repository.get(name, limit=SMALL)
    settings = file.json()
    if not isinstance(settings, dict):
        raise SourceError(f"{file.path} must hold settings by name", type(settings).__name__, "name another source")
    if code := next((name for name in CODE if settings.get(name)), None):
        raise SourceError(
            f"{repository.uri} must be built without code of its own, which is never run",
            f"{code} in {name}",
            "name a network of a family that transformers or timm carries itself",
        )
    return settings


def check_family(config: Mapping[str, Any], uri: str) -> None:
    """Raise SourceError unless the settings are of a family that is known here, for pictures or texts."""
    family = config.get("model_type")
    if family in (*FAMILIES, *TEXT_FAMILIES, *SOUND_FAMILIES):
        if config.get("quantization_config"):
            raise SourceError(f"{uri} must have plain weights", "quantised ones", "name the network they are of")
        return
    shown = f"{family!r} ({', '.join(map(str, config.get('architectures') or ['no architecture named']))})"
    for kind, keys in OTHER_KINDS.items():
        if any(key in config for key in keys):
            raise SourceError(
                f"{uri} must be a source for images, for texts among {', '.join(TEXT_FAMILIES)}, or for recordings "
                f"among {', '.join(SOUND_FAMILIES)}",
                f"one for {kind}, {shown}",
                "name another",
            )
    raise SourceError(
        f"{uri} must be of timm or of a family among {', '.join(FAMILIES)}",
        shown,
        f"name another{did_you_mean(str(family), FAMILIES)}",
    )


def find_weights(repository: Repository) -> list[HubFile]:
    """Return the weights files: safetensors, whole or in parts; a pickle only where there are none.

    SourceError: there are neither, or the list of parts is damaged or leads out of the repository.
    """
    if whole := repository.find(WEIGHTS, needed=False):
        return [whole]
    if index := repository.find(INDEX, limit=SMALL, needed=False):
        parts = read_settings(repository, INDEX).get("weight_map")
        if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
            raise SourceError(
                f"{index.path} must list the parts of the weights", "no weight_map", "name another source"
            )
        return [repository.get(part) for part in sorted(set(parts.values()))]
    if pickled := repository.find(PICKLED, needed=False):
        return [pickled]
    if missing := repository.find(WEIGHTS):  # offline, with none of them in the cache, this says what to fetch
        return [missing]
    raise SourceError(
        f"{repository.uri} must hold {WEIGHTS}, its parts or {PICKLED}", "none of them", "use weights none"
    )


def read_card(repository: Repository) -> tuple[str, str]:
    """Return the licence and the training data that the model card states, each in one phrase."""
    card = repository.find(CARD, limit=SMALL, needed=False)
    text = card.path.read_text("utf-8", "replace") if card else ""
    front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    head = front[1] if front else ""
    licence = re.search(r"^license:\s*['\"]?([\w.-]+)", head, re.MULTILINE)
    listed = re.search(r"^datasets:[ \t]*((?:\n[ \t]*- .+)+)", head, re.MULTILINE)
    data = ", ".join(line.strip(" -\t'\"") for line in listed[1].strip().splitlines()) if listed else "not stated"
    return licence[1] if licence else "not stated", f"{data} ({repository.page})"


def _sound_source(
    made_of: dict[str, Any], identity: Identity, files: Sequence[HubFile], *, seed: int, window: float | None
) -> Source:
    """Return an encoder of recordings; see `_image_source`."""

    def building(layers: tuple[int, ...], parts: int) -> Callable[[], nn.Module]:
        def network(state: dict[str, Tensor] | None, where: str) -> tuple[nn.Module, tuple[str, ...]]:
            from headstart.sources.networks.sound_networks import build_sound_network

            return build_sound_network(made_of["config"], layers, parts, state, where=where)

        return cache(lambda: _build(files, seed, network)[0])

    return open_sounds(made_of, replace(identity, parameters=_count(files)), building, window)


def _image_source(made_of: dict[str, Any], identity: Identity, files: Sequence[HubFile], *, seed: int) -> TorchSource:
    """Return the source; what its network looks like is found once, by building it. `files` are of weights, if any."""
    build = cache(lambda: _build(files, seed, partial(_image_network, made_of)))
    key = {**made_of, "weights": identity.sha256 if files else None}
    architecture = remembered(key, lambda: _inspect(made_of, identity.uri, *build()))
    identity = replace(identity, notes=(*identity.notes, *architecture.notes))
    return source_of(identity, architecture, lambda: build()[0])


def _inspect(made_of: Mapping[str, Any], uri: str, body: nn.Module, notes: tuple[str, ...]) -> Architecture:
    if made_of["library"] == "timm":
        from headstart.sources.providers.timm import inspect_timm

        architecture = inspect_timm(body)
        classes = 0 if any("features only" in note for note in notes) else architecture.classes
        return replace(architecture, classes=classes, notes=notes)
    from headstart.sources.networks.transformers_networks import inspect_transformers

    return replace(inspect_transformers(body, made_of["processor"], uri), notes=notes)


def _image_network(
    made_of: Mapping[str, Any], state: dict[str, Tensor] | None, where: str
) -> tuple[nn.Module, tuple[str, ...]]:
    if made_of["library"] == "timm":
        from headstart.sources.providers.timm import build_configured

        return build_configured(made_of["config"], state, where=where)
    from headstart.sources.networks.transformers_networks import build_classifier

    return build_classifier(made_of["config"], state, where=where)


def _open_text(
    config: dict[str, Any],
    repository: Repository,
    weights: Sequence[HubFile],
    identity: Identity,
    *,
    seed: int,
    long: Literal["cut", "chunks"] = "cut",
) -> TextSource:
    """Return a text encoder of the hub; `weights` are its files, none for random ones.

    `config` is of a family among `TEXT_FAMILIES`; the identity lacks the number of weights alone. SourceError: a file
    is missing or damaged, or states a pooling that headstart does not have.
    """
    tokenizer = repository.get(TOKENIZER)
    stated = _read_sentence_settings(repository)
    reading = TextPreprocessing(
        tokenizer=tokenizer.sha256,
        limit=_limit(config, stated),
        long=long,
        prefix=stated["prefix"],
        lower=bool(stated.get("do_lower_case")),
    )
    width = int(config.get("hidden_size") or config["dim"])
    layers = int(config.get("num_hidden_layers") or config.get("n_layers") or 0)
    pooling = Pooling(stated["pooling"], stated["normalise"], middle_layers(layers))
    key = sha256_json({"config": config, "pooling": [pooling.operation, pooling.normalise, *pooling.layers]})
    architecture = f"{identity.architecture} {key[:16]} transformers {version('transformers')}"

    def network(state: dict[str, Tensor] | None, where: str) -> nn.Module:
        from headstart.sources.networks.transformers_networks import build_encoder

        return build_encoder(config, pooling, state, where=where)

    build = cache(lambda: _build(weights, seed, network))
    parameters = _count(weights) if weights else sum(weight.numel() for weight in build().parameters())
    identity = replace(identity, architecture=architecture, parameters=parameters)
    where = LAYERS.get(config["model_type"], "model.encoder.layer")
    stages = tuple(f"{where}.{at}" for at in range(layers)) if where else ()
    taps = layer_taps(width, pooling.layers, stages)
    return TextSource(identity, reading, taps, lambda: Tokenizer(tokenizer.path, reading), stages=stages, build=build)


def _read_sentence_settings(repository: Repository) -> dict[str, Any]:
    """Return what the files of sentence-transformers state: pooling, normalisation, limit and prefix."""

    def settings(name: str) -> Any:
        file = repository.find(name, limit=SMALL, needed=False)
        return None if file is None else file.json()

    stated: dict[str, Any] = {"pooling": "mean", "normalise": False, "prefix": ""}
    modules = settings(MODULES) or []
    for module in modules if isinstance(modules, list) else []:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            stated["pooling"] = _pooling(settings(f"{module['path']}/config.json") or {}, repository)
        elif kind == "Normalize":
            stated["normalise"] = True
        elif kind != "Transformer":
            raise SourceError(
                f"{repository.uri} must pool and normalise, and no more",
                f"a module {kind!r} in {MODULES}",
                "name another source",
            )
    stated |= settings(LIMITS) or {}
    prompts = settings(PROMPTS) or {}
    return {**stated, "prefix": _prefix(prompts)}


def _pooling(config: Mapping[str, Any], repository: Repository) -> str:
    named = config.get("pooling_mode")
    flags = [name for name, on in config.items() if name.startswith("pooling_mode_") and on is True]
    chosen = [named] if isinstance(named, str) else [OLD_POOLING_FLAGS.get(flag, flag) for flag in flags] or ["mean"]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise SourceError(
            f"{repository.uri} must pool by one of {', '.join(POOLINGS)}",
            ", ".join(map(str, chosen)),
            "name another source",
        )
    return str(chosen[0])


def _prefix(settings: Mapping[str, Any]) -> str:
    """Return what stands before each text: the default prompt, the one for classification, or one that always must.

    Where every prompt holds something (E5: `query: ` and `passage: `), the network expects one of them always.
    """
    prompts = {str(name).lower(): text for name, text in (settings.get("prompts") or {}).items() if text is not None}
    for name in (str(settings.get("default_prompt_name") or "").lower(), "classification"):
        if name in prompts:
            return str(prompts[name])
    if "query" in prompts and all(prompts.values()) and len(prompts) > 1:
        return str(prompts["query"])
    return ""


def _limit(config: Mapping[str, Any], stated: Mapping[str, Any]) -> int:
    """Return how many tokens are read; batches are padded to whole steps, which must fit the network's positions."""
    positions = int(config.get("max_position_embeddings") or 512)
    if config["model_type"] in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= RESERVED
    most = max(positions // STEP * STEP, STEP)
    limit = stated.get("max_seq_length")
    return min(limit, most) if isinstance(limit, int) and limit > 0 else min(most, 512)


def _count(weights: Sequence[HubFile]) -> int:
    """Return how many numbers the weights files hold, heads and all; 0 for a pickle, which is not opened for that."""
    from safetensors import safe_open

    total = 0
    for file in weights:
        if file.path.suffix != ".safetensors":
            return 0
        with safe_open(file.path, "numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                total += math.prod(opened.get_slice(name).get_shape())
    return total


def _build(files: Sequence[HubFile], seed: int, build: Callable[[dict[str, Tensor] | None, str], Built]) -> Built:
    """Return what `build` makes of the weights in `files`, and the name of the first; of random ones where none is."""
    set_passive_omp_wait()
    from headstart.sources.checkpoints.read import read_repository

    state, where = (read_repository([file.path for file in files]), str(files[0].path)) if files else (None, "")
    return build_seeded(lambda: build(state, where), 0 if files else seed)
