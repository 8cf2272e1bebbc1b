"""The choice of the layer and of the head, which is remembered: the same numbers are not chosen from twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headstart.base.cache import Arrays
from headstart.fitting.choice_cache import choice_key, remembered_choice
from headstart.heads.select import HeadChoice, affordable_kinds, choose_head, choose_layer
from headstart.run.prepared import LayerSelection, PreparedData
from headstart.sources.layers import AUTO


def select_layer_and_head(prepared: PreparedData, *, seed: int) -> tuple[LayerSelection, HeadChoice]:
    """Choose the layer by leave-one-out error where it is left open, then the head by cross-validation.

    What was chosen before for the same features, labels and seed is remembered, and not chosen again.
    """
    train = prepared.parts.train
    names = [name for name in prepared.source.auto_layers if name in prepared.source.info.layers]
    blocks = [[block.name, block.width] for block in prepared.extraction.blocks]
    key = choice_key(
        "choice",
        [prepared.extraction.x[np.asarray(train, dtype=np.intp)], prepared.labels(train)],
        {
            "classes": list(prepared.scan.dataset.classes),
            "blocks": blocks,
            "layer": prepared.source.layer,
            "tried": names,
            "seed": seed,
        },
    )

    def choose() -> tuple[dict[str, Any], Arrays]:
        layers, choice = _choose(prepared, names, seed)
        plain, arrays = choice.to_parts()
        errors = {name: float(error) for name, error in layers.errors.items()}
        return {"layer": layers.chosen, "errors": errors, "choice": plain}, arrays

    plain, arrays = remembered_choice(key, choose)
    return LayerSelection(plain["layer"], plain["errors"]), HeadChoice.from_parts(plain["choice"], arrays)


def _choose(prepared: PreparedData, names: Sequence[str], seed: int) -> tuple[LayerSelection, HeadChoice]:
    dataset, train = prepared.scan.dataset, prepared.parts.train
    labels = prepared.labels(train)
    layer = prepared.source.layer
    if layer != AUTO or len(names) == 1:
        layer = names[0] if layer == AUTO else layer
        layers, principal = LayerSelection(layer, {}), None
    else:
        candidates = ((name, prepared.features(name, train).x) for name in names)
        layer_choice = choose_layer(candidates, labels, len(dataset.classes))
        layers, principal = LayerSelection(layer_choice.layer, dict(layer_choice.errors)), layer_choice.principal
    x = prepared.features(layers.chosen, train).x
    choice = choose_head(x, labels, dataset.classes, seed=seed, principal=principal)
    if principal is None or layers.chosen == names[0]:
        return layers, choice
    narrow = prepared.features(names[0], train).x
    present = len(np.unique(labels))
    kinds, narrow_kinds = (affordable_kinds(len(labels), min(rows.shape), present)[0] for rows in (x, narrow))
    if len(narrow_kinds) > len(kinds):
        # The wider layer leaves time for fewer kinds of head: the narrower one may end up better.
        narrow_choice = choose_head(narrow, labels, dataset.classes, seed=seed)
        if narrow_choice.log_loss < choice.log_loss:
            return LayerSelection(names[0], layers.errors), narrow_choice
    return layers, choice
