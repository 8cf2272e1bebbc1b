"""A Keras model as one torch network in timm's two steps; imports torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from torch import Tensor, nn

from headstart.sources.keras.layers import Affine, parts_of

INPUT = "input"


class Step(NamedTuple):
    """What is known of one module of a network."""

    kind: str  # class of the Keras layer that it comes from
    sources: tuple[str, ...]  # names of the steps, or `input`, whose outputs it takes
    shape: tuple[int, ...]  # of its output in Keras's order, without the batch: (h, w, c) or (c,)


class KerasNetwork(nn.Module):
    """A functional model of Keras in torch: `forward_features` to its last map, `forward_head` from there.

    SourceError: a layer has no counterpart in torch.

    Attributes:
        layers: its modules by the names of Keras's layers, in the order in which they run.
        steps: the same with what is known of each.
        final: the step that gives the last map.
        pool: the step that gives pooled features; None where they are the mean of the last map over positions.
        last_use: for each step, and for `input`, the last step that takes its output.
        scores: the step that gives the classifier's output before its softmax; None without a classifier.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self.steps = _steps(model, self.layers)
        self.final, self.pool = _final_and_pool(self.steps)
        names = list(self.steps)
        end = names.index(self.final) + 1
        self._body, self._head, last = names[:end], names[end:], names[-1]
        self.scores = None if last in (self.pool, self.final) else last
        if isinstance(self.layers[last], nn.Softmax):
            (self.scores,) = self.steps[last].sources
        self.last_use = {source: name for name, step in self.steps.items() for source in step.sources}

    def forward_features(self, pictures: Tensor) -> Tensor:
        """Return the final map, float32 of shape (n, c, h, w)."""
        return self._run(self._body, {INPUT: pictures}, self.final)

    def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return the pooled features, float32 of shape (n, d), or the classifier's scores, (n, k)."""
        end = self.pool if pre_logits else self.scores
        return final.mean((2, 3)) if end is None else self._run(self._head, {self.final: final}, end).flatten(1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the classifier's scores, or the pooled features where there is none."""
        return self.forward_head(self.forward_features(pictures), pre_logits=self.scores is None)

    def _run(self, names: Sequence[str], outputs: dict[str, Tensor], end: str) -> Tensor:
        """Run the steps in order until `end`; a map is let go after its last use."""
        for name in names:
            sources = self.steps[name].sources
            outputs[name] = self.layers[name](*(outputs[source] for source in sources))
            if name == end:
                break
            for source in set(sources):
                if self.last_use[source] == name:
                    del outputs[source]
        return outputs[end]


def weights_of(model: Any) -> dict[str, Any]:
    """Return the weights of a Keras model, in its order, by their places in a file."""
    placed = [(place, layer) for _, layers in _placed_layers(model) for place, layer in layers]
    weights = {place: getattr(layer, "weights", ()) for place, layer in placed}
    return {f"{place}/vars/{at}": weight for place, row in weights.items() for at, weight in enumerate(row)}


def _placed_layers(model: Any) -> Iterator[tuple[Any, list[tuple[str, Any]]]]:
    """Yield each operation of a model with the layers that it is made of: itself, or those of a Sequential.

    Each layer stands behind the place of its weights in a file, such as `layers/conv2d_1`.
    """
    for place, operation in _placed(model.operations, "layers"):
        inner = getattr(operation, "layers", None)
        yield operation, [(place, operation)] if inner is None else list(_placed(inner, f"{place}/layers"))


def _placed(operations: Sequence[Any], folder: str) -> Iterator[tuple[str, Any]]:
    seen: Counter[str] = Counter()
    for operation in operations:
        kind = _snake_case(type(operation).__name__)
        yield f"{folder}/{kind}" + (f"_{seen[kind]}" if seen[kind] else ""), operation
        seen[kind] += 1


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _steps(model: Any, modules: nn.ModuleDict) -> dict[str, Step]:
    """Return the steps of a model by name, and put their modules into `modules`.

    A layer whose name Keras counted up in this process is named by its place.
    """
    steps: dict[str, Step] = {}
    outputs: dict[int, str] = {}
    for operation, layers in _placed_layers(model):
        (node,) = operation._inbound_nodes
        sources = tuple(outputs[id(tensor._keras_history.operation)] for tensor in node.input_tensors) or (INPUT,)
        for place, layer in layers:
            kind = type(layer).__name__
            automatic = re.fullmatch(_snake_case(kind) + r"(_\d+)?", layer.name)
            name = place.removeprefix("layers/").replace("/", "_") if automatic else layer.name
            *positions, width = layer.output.shape[1:]
            for suffix, module in parts_of(layer):
                shape = (*positions, getattr(module, "out_channels", width))
                steps[name + suffix], modules[name + suffix] = Step(kind, sources, shape), module
                sources = (name + suffix,)
        (outputs[id(operation)],) = sources
    return steps


def _final_and_pool(steps: dict[str, Step]) -> tuple[str, str | None]:
    """Return the last map, and the step with its mean over positions; None for that where the network has none."""
    means = [name for name, step in steps.items() if step.kind == "GlobalAveragePooling2D"]
    if not means:
        return next(step.sources[0] for step in steps.values() if step.kind == "Flatten"), None
    pool = means[-1]
    after = next((name for name, step in steps.items() if pool in step.sources), pool)
    return steps[pool].sources[0], after if steps[after].kind == "LayerNormalization" else pool


def find_stages(network: KerasNetwork) -> list[str]:
    """Return where the stages end: of each resolution the last module through which everything flows.

    At the final map's resolution that is the last of another width, for one of the same width would say the same.
    """
    steps = network.steps
    order = {name: at for at, name in enumerate(steps)}
    ends: dict[tuple[int, ...], str] = {}
    latest = order[network.last_use[INPUT]]
    for name in list(steps)[: order[network.final]]:
        shape = steps[name].shape
        is_map = len(shape) == 3 and prod(shape[:2]) > 1 and shape != steps[network.final].shape
        if is_map and latest <= order[name] and not isinstance(network.layers[name], Affine | nn.ConstantPad2d):
            ends[shape[:2]] = f"layers.{name}"
        latest = max(latest, order[network.last_use[name]])
    return list(ends.values())
