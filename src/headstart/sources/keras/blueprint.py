"""Blueprints of keras.applications: what each is made of, remembered, so that Keras is asked only once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import read_record, write_record
from headstart.base.config import cache_dir
from headstart.base.errors import SourceError
from headstart.base.hashing import canonical_json, sha256_json
from headstart.sources.keras.walker import INPUT, Slot, Walk
from headstart.sources.taps import Stage, Tap, more_taps, taps

RECIPE = 1
"""Counts up when the same Keras network comes to be described otherwise."""
LATE_STAGES = 4
NO_STAGE = ("pad", "crop", "affine", "standardise")
STATISTICS = ("running_mean", "running_var", "mean", "variance")
DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Blueprint:
    """What a Keras network is made of, whatever its weights.

    Attributes:
        graph: as `keras_graph.py` describes it.
        slots: where each array of Keras goes, in Keras's order.
        constant: tensors of ones that no array of Keras fills: name and length.
        parameters: number of weights that can learn, without the classifier.
        classes: how many classes its classifier has; 0 for none.
        taps: where its standard blocks are taken.
        more: where the blocks are taken that only a layer's name asks for.
    """

    graph: dict[str, Any]
    slots: tuple[Slot, ...]
    constant: dict[str, int]
    parameters: int
    classes: int
    taps: tuple[Tap, ...]
    more: tuple[Tap, ...]


def blueprint_of(name: str, *, size: int, top: bool, trained: bool) -> Blueprint:
    """Return the blueprint of an application, from the cache or, once, from Keras.

    Args:
        name: as keras.applications has it.
        size: side of the input, in pixels.
        top: whether its classifier is wanted.
        trained: whether it is to hold the released weights: EfficientNet's count on one step more.
    """
    key = {"name": name, "size": size, "top": top, "trained": trained, "keras": version("keras"), "recipe": RECIPE}
    path = cache_dir() / "sources" / f"{sha256_json(key)}.json"
    if (cached := read_record(path)) is not None:
        return _from_json(cached)
    from headstart.sources.keras.library import walk_application

    found = walk_application(name, size=size, top=top)
    if trained and name.startswith("EfficientNetB"):
        _divide_again(found)
    plain = json.loads(canonical_json(asdict(finish(found, name))))
    write_record(path, plain)
    return _from_json(plain)


def _from_json(held: Mapping[str, Any]) -> Blueprint:
    slots = tuple(Slot(**{**slot, "shape": tuple(slot["shape"])}) for slot in held["slots"])
    blocks = {name: tuple(Tap(**tap) for tap in held[name]) for name in ("taps", "more")}
    return Blueprint(**{**held, **blocks, "slots": slots})


def _divide_again(found: Walk) -> None:
    """Divide by the root of the deviations once more, as keras.applications does where it loads EfficientNet's weights.

    The released weights were trained on (x - mean) / variance, where `variance` held the deviations; Keras's
    Normalization divides by its root (https://github.com/tensorflow/tensorflow/issues/49930).
    """
    at = next(at for at, layer in enumerate(found.layers) if layer["op"] == "standardise")
    before = found.layers[at]["name"]
    extra = {"name": f"{before}_again", "op": "affine", "from": [before], "shift": [0.0]}
    for layer in found.layers:
        layer["from"] = [extra["name"] if source == before else source for source in layer["from"]]
    found.layers.insert(at + 1, {**extra, "scale": [1 / sqrt(deviation) for deviation in DEVIATION]})
    found.sizes[f"{before}_again"] = found.sizes[before]


def began_as_released(blueprint: Blueprint, arrays: Sequence[NDArray[np.generic]]) -> bool:
    """Return whether arrays, one for each slot, hold the deviations that released EfficientNets keep as variances."""
    return any(
        np.allclose(array.astype(np.float64), DEVIATION, rtol=1e-3)
        for slot, array in zip(blueprint.slots, arrays, strict=True)
        if slot.turn == "channel" and slot.tensor.endswith(".variance") and slot.shape == (len(DEVIATION),)
    )


def finish(found: Walk, name: str) -> Blueprint:
    """Return the blueprint of a walk: its final map, pooled features, classifier and stages are found by their form.

    Raises:
        SourceError: it has no map of features, or more than one head.
    """
    order = [layer["name"] for layer in found.layers]
    layers = {layer["name"]: layer for layer in found.layers}
    final, pool = _final_and_pool(found, layers)
    head = order[order.index(final) + 1 :]
    if any(source not in (final, *head) for layer in head for source in layers[layer]["from"]):
        raise SourceError(f"{name} must end in one head", "several", "choose another network")
    last = layers[order[-1]]
    soft = last["op"] == "activation" and last["activation"] == "softmax"
    scores = None if order[-1] in (pool, final) else last["from"][0] if soft else order[-1]
    used = {*order[: order.index(pool or final) + 1]}
    stages = _stages(found, final)
    end = _stage(found, "final", final, module="")
    width = found.sizes[pool][-1] if pool else end.width
    standard = taps(width, stages[-LATE_STAGES:], end)
    return Blueprint(
        graph={
            "schema": 1,
            "name": name,
            "input": list(found.sizes[INPUT]),
            "layers": found.layers,
            "final": final,
            "pool": pool,
            "scores": scores,
        },
        slots=tuple(found.slots),
        constant=found.constant,
        parameters=sum(prod(slot.shape) for slot in found.slots if _learns(slot, used)),
        classes=found.sizes[scores][-1] if scores else 0,
        taps=standard,
        more=more_taps(standard, stages, end),
    )


def _learns(slot: Slot, used: set[str]) -> bool:
    parts = slot.tensor.split(".")
    return len(parts) == 3 and parts[1] in used and parts[2] not in STATISTICS


def _final_and_pool(found: Walk, layers: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the last map, and the layer with its mean over positions; None for that where the network has none."""
    means = [name for name, layer in layers.items() if layer["op"] == "mean"]
    flats = [name for name, layer in layers.items() if layer["op"] == "flat"]
    if flats and not means:
        return layers[flats[0]]["from"][0], None
    if not means:
        raise SourceError("a Keras model must pool a map of features", "no such layer", "choose another network")
    pool = means[-1]
    after = [name for name, layer in layers.items() if pool in layer["from"]]
    normalised = len(after) == 1 and layers[after[0]]["op"] == "layer_norm"
    return layers[pool]["from"][0], after[0] if normalised else pool


def _stages(found: Walk, final: str) -> list[Stage]:
    """Return the ends of the stages: of each resolution the last layer through which everything flows.

    At the final map's resolution that is the last of another width, for one of the same width would say the same.
    """
    order = [layer["name"] for layer in found.layers]
    order = order[: order.index(final)]
    last_use: dict[str, int] = {}
    for at, layer in enumerate(found.layers):
        last_use.update(dict.fromkeys(layer["from"], at))
    ends: dict[tuple[int, ...], str] = {}
    waiting = last_use[INPUT]
    for at, name in enumerate(order):
        size = found.sizes[name]
        alone = waiting <= at and len(size) == 3 and prod(size[:2]) > 1 and found.layers[at]["op"] not in NO_STAGE
        if alone and size != found.sizes[final]:
            ends[size[:2]] = name
        waiting = max(waiting, last_use[name])
    return [_stage(found, f"stage{at}", name) for at, name in enumerate(ends.values())]


def _stage(found: Walk, name: str, layer: str, *, module: str | None = None) -> Stage:
    size = found.sizes[layer]
    where = f"layers.{layer}" if module is None else module
    return Stage(name, where, size[-1], positions=prod(size[:-1]))
