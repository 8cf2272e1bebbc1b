"""A network of any library in timm's two steps, cut at its last map and before its classifier, which can be replaced.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from headstart.base.errors import SourceError
from headstart.sources.networks.source import build_seeded

POOLING_PARTS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d, nn.Dropout, nn.Identity)
"""What may follow the last map of a network and still give a map, without weights or a decision of its own."""


class Split(nn.Module):
    """A classifier cut in two: `forward_features` ends at its last map, `forward_head` goes on from there.

    The cut is found by tracing the body's own `forward`, with its children as the steps, and running it once on a blank
    picture, float32 of shape (1, c, h, w). The body returns scores of shape (n, k); SourceError says where it has
    another form.
    """

    def __init__(self, body: nn.Module, blank: Tensor) -> None:
        super().__init__()
        self.body = body.eval()
        steps = _steps(body)
        called = {step: body.get_submodule(str(step.target)) for step in steps if step.op == "call_module"}
        head = next((step for step in reversed(steps) if step in called and _has_weights(called[step])), None)
        if head is None:
            raise _cannot_cut(body, "no part with weights")
        maps = _maps(body, steps, blank)
        before = [step for step in steps[: steps.index(head)] if not isinstance(called.get(step), POOLING_PARTS)]
        cut = next((step for step in reversed(before) if step in maps), None)
        if cut is None:
            raise _cannot_cut(body, "no map of features before its classifier")
        self._inner = _down_to_last_weights(body, called[head])
        self._to_map = _part(body, steps, None, cut)
        self._to_classifier = _part(body, steps, cut, head.all_input_nodes[0])
        self._to_scores = _part(body, steps, cut, steps[-1].all_input_nodes[0])

    @property
    def classifier(self) -> nn.Module:
        """The last part with weights: what turns pooled features into scores."""
        return self._inner[-1]

    def set_classifier(self, new: nn.Module) -> None:
        """Put another last part in the classifier's place."""
        old = self.classifier
        for part in list(self.body.modules()):
            for name, child in list(part.named_children()):
                if child is old:
                    setattr(part, name, new)
        self._inner[-1] = new

    def forward_features(self, pictures: Tensor) -> Tensor:
        """Return the last map, of shape (n, c, h, w), (n, h, w, c) or (n, tokens, c)."""
        return _run(self.body, self._to_map, pictures)

    def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return the scores, of shape (n, k), or with `pre_logits` what the classifier reads, of shape (n, d)."""
        if not pre_logits:
            return _run(self.body, self._to_scores, final)
        output = _run(self.body, self._to_classifier, final)
        for step in self._inner[:-1]:
            output = step(output)
        return output.mean((2, 3)) if output.ndim == 4 else output

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the scores, of shape (n, k)."""
        scores: Tensor = self.body(pictures)
        return scores


class _Shallow(fx.Tracer):
    """Traces the root's own forward; every child is one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _steps(body: nn.Module) -> list[fx.Node]:
    try:
        return list(_Shallow().trace(body).nodes)
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError) as error:
        raise _cannot_cut(body, f"a forward that cannot be traced: {str(error).partition(chr(10))[0]}") from error


def _maps(body: nn.Module, steps: list[fx.Node], blank: Tensor) -> set[fx.Node]:
    """Run the network once and return the steps that give a map of more than one position, or tokens."""
    maps = set()

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            output = super().run_node(n)
            shape = output.shape if isinstance(output, Tensor) else ()
            spatial = len(shape) == 4 and shape[2] > 1
            if n.op != "placeholder" and (len(shape) == 3 or spatial):
                maps.add(n)
            return output

    with torch.inference_mode():
        Watch(body, graph=steps[0].graph).run(blank)
    return maps


def _part(body: nn.Module, steps: list[fx.Node], start: fx.Node | None, end: fx.Node) -> fx.Graph:
    """Return the steps from `start`, which becomes the input, to `end`; SourceError where they use more than that."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            if node.op == "placeholder" and start is not None:
                raise _cannot_cut(body, f"a head that reads more than {start.name}")
            copies[node] = graph.node_copy(node, copied)
        return copies[node]

    if start is not None:
        copies[start] = graph.placeholder("final")
    graph.output(copied(end))
    return graph


def _run(body: nn.Module, graph: fx.Graph, inputs: Tensor) -> Tensor:
    output: Tensor = fx.Interpreter(body, graph=graph).run(inputs)
    return output


def _down_to_last_weights(body: nn.Module, head: nn.Module) -> list[nn.Module]:
    """Return the steps of a classifier up to the last that has weights."""
    if isinstance(head, nn.Linear | nn.Conv2d):
        return [head]
    steps = list(head) if type(head) is nn.Sequential else []
    while steps and not _has_weights(steps[-1]):
        steps.pop()
    if not steps or not isinstance(steps[-1], nn.Linear | nn.Conv2d):
        raise _cannot_cut(body, f"a classifier of the form {type(head).__name__}")
    return steps


def _cannot_cut(body: nn.Module, why: str) -> SourceError:
    return SourceError(
        f"{type(body).__name__} must be a row of parts that ends in a classifier, to be cut before it",
        why,
        "take the same network from timm: or onnx:",
    )


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def with_classes(body: nn.Module, classes: int, *, seed: int = 0) -> nn.Module:
    """Return `body`, its classifier replaced by a random one of `classes` classes; torch's own state is untouched.

    timm's networks have `reset_classifier`; others a `classifier`, one linear map or 1 x 1 convolution, or SourceError.
    """
    training = body.training
    build_seeded(lambda: _replace_classifier(body, classes), seed)
    return body.train(training)


def _replace_classifier(body: Any, classes: int) -> None:
    if hasattr(body, "reset_classifier"):
        body.reset_classifier(classes)
        return
    new = _like(getattr(body, "classifier", None), classes)
    if hasattr(body, "set_classifier"):
        body.set_classifier(new)
    else:
        body.classifier = new


def _like(old: Any, classes: int) -> nn.Module:
    """Return a classifier like `old` of another number of classes."""
    biased = getattr(old, "bias", None) is not None
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, classes, bias=biased)
    if isinstance(old, nn.Conv2d) and old.kernel_size == (1, 1):
        return nn.Conv2d(old.in_channels, classes, 1, bias=biased)
    raise SourceError(
        "an architecture that is trained anew must end in one linear map",
        type(old).__name__,
        "name another one, such as timm:resnet18",
    )
