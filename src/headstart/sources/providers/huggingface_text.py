"""Text encoders of the Hugging Face hub: tokenizer, pooling and prefix as the repository's own files state them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256_json
from headstart.engines.base import STEP
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import Identity, TextPreprocessing
from headstart.sources.hub.repository import SMALL, HubFile, Repository
from headstart.sources.hub.weights import read_state
from headstart.sources.networks.source import build_seeded
from headstart.sources.taps import POOLINGS, Pooling
from headstart.sources.text.source import TextSource, Tokenizer, layer_taps

if TYPE_CHECKING:
    from torch import nn

FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "mpnet", "modernbert", "electra", "albert")
"""What `transformers_text` knows how to build."""
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


def open_text(
    config: dict[str, Any],
    repository: Repository,
    weights: Sequence[HubFile],
    identity: Identity,
    *,
    seed: int,
    long: Literal["cut", "chunks"] = "cut",
) -> TextSource:
    """Return a text encoder of the hub.

    Args:
        config: its `config.json`, of a family among `FAMILIES`.
        repository: where it is.
        weights: its files; none for random weights.
        identity: what is known of it; how many weights it has is found out here.
        seed: of random weights.
        long: what becomes of texts that are longer than its limit.

    Raises:
        SourceError: a file is missing or damaged, or states a pooling that headstart does not have.
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
    width, layers = int(config.get("hidden_size") or config["dim"]), _layer_count(config)
    pooling = Pooling(stated["pooling"], stated["normalise"], _middle_layers(layers))
    key = sha256_json({"config": config, "pooling": [pooling.operation, pooling.normalise, *pooling.layers]})
    architecture = f"{identity.architecture} {key[:16]} transformers {version('transformers')}"
    build = cache(lambda: _build(config, pooling, weights, seed))
    parameters = _count(weights) if weights else sum(weight.numel() for weight in build().parameters())
    identity = replace(identity, architecture=architecture, parameters=parameters)
    where = LAYERS.get(config["model_type"], "model.encoder.layer")
    stages = tuple(f"{where}.{at}" for at in range(layers)) if where else ()
    taps = layer_taps(width, pooling.layers, stages)
    return TextSource(identity, reading, taps, lambda: Tokenizer(tokenizer.path, reading), stages=stages, build=build)


def _read_sentence_settings(repository: Repository) -> dict[str, Any]:
    """Return what the files of sentence-transformers state: pooling, normalisation, limit and prefix."""
    stated: dict[str, Any] = {"pooling": "mean", "normalise": False, "prefix": ""}
    modules = _settings(repository, MODULES) or []
    for module in modules if isinstance(modules, list) else []:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            stated["pooling"] = _pooling(_settings(repository, f"{module['path']}/config.json") or {}, repository)
        elif kind == "Normalize":
            stated["normalise"] = True
        elif kind != "Transformer":
            raise SourceError(
                f"{repository.uri} must pool and normalise, and no more",
                f"a module {kind!r} in {MODULES}",
                "name another source",
            )
    stated |= _settings(repository, LIMITS) or {}
    prompts = _settings(repository, PROMPTS) or {}
    return {**stated, "prefix": _prefix(prompts)}


def _settings(repository: Repository, name: str) -> Any:
    """Return what a file of settings holds, or None where the repository has none of that name."""
    file = repository.find(name, limit=SMALL, needed=False)
    if file is None:
        return None
    try:
        return json.loads(file.path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file.path} must be JSON", error, "name another source") from error


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
    default = str(settings.get("default_prompt_name") or "").lower()
    for name in (default, "classification"):
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


def _layer_count(config: Mapping[str, Any]) -> int:
    return int(config.get("num_hidden_layers") or config.get("n_layers") or 0)


def _middle_layers(layers: int) -> tuple[int, ...]:
    """Return two middle layers, which know more of grammar than the last; fewer of a shallow network."""
    return tuple(sorted({at for at in (layers // 2 - 1, layers - 3) if 0 <= at < layers - 1}))


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


def _build(config: dict[str, Any], pooling: Pooling, weights: Sequence[HubFile], seed: int) -> nn.Module:
    set_passive_omp_wait()
    from headstart.sources.networks.transformers_text import build_encoder

    state = read_state(weights) if weights else None
    where = str(weights[0].path) if weights else ""
    return build_seeded(lambda: build_encoder(config, pooling, state, where=where), seed)
