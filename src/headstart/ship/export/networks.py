"""A network as a part of a larger graph. Imports OpenVINO."""

from __future__ import annotations

import openvino as ov

from headstart.base.errors import UsageError
from headstart.engines.base import Network
from headstart.engines.openvino import unfixed
from headstart.ship.export.numbers import Node

NETWORK = "network/"
"""How the names of the nodes of a network begin, in a larger graph."""


def blocks_of(network: Network, uri: str, *inputs: Node) -> list[Node]:
    """Return the blocks of a network, float32 (n, width) each, of what goes into it.

    UsageError: it takes one number of examples alone, or gives other blocks than it promises.
    """
    model = _of_any_batch(network, uri)
    for node in model.get_ops():
        node.set_friendly_name(f"{NETWORK}{node.get_friendly_name()}")
    for entry, node in zip(model.get_parameters(), inputs, strict=True):
        for target in entry.output(0).get_target_inputs():
            target.replace_source_output(node.output(0))
    return [result.input_value(0) for result in model.get_results()]


def _of_any_batch(network: Network, uri: str) -> ov.Model:
    model = unfixed(network)
    try:
        if network.input_shape:
            model.reshape([-1, *network.input_shape])
        widths = [output.partial_shape[1].get_length() for output in model.outputs]
        fits = all(output.partial_shape[0].is_dynamic for output in model.outputs)
    except RuntimeError:
        fits, widths = False, []
    if not fits or widths != [block.width for block in network.blocks]:
        raise UsageError(f"{uri} must take any number of examples to be exported", "a fixed number", "export it anew")
    return model
