"""Weights of networks as whole numbers of 8 bits, each output with a scale of its own. Imports OpenVINO.

What is computed stays float32: the file is a quarter of its size, an example takes as long as before, and nothing has
to be calibrated, so that the answer depends on no example.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.engines.environment import without_telemetry
from headstart.ship.export.networks import NETWORK

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

LEAST = 1024
"""Numbers in a constant; what is smaller is not worth a scale."""
MAX = 127


def round_weights(model: ov.Model) -> int:
    """Round the weights of the networks in a graph to 8 bits, in place, and return how many numbers that were."""
    rounded = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or not node.get_friendly_name().startswith(NETWORK):
            continue
        users = [*node.output(0).get_target_inputs()]
        kept = {_outputs(user, len(node.get_output_shape(0))) for user in users}
        axes = kept.pop() if len(kept) == 1 else ()
        weights = np.array(node.data)
        if not axes or weights.dtype != np.float32 or weights.size < LEAST:
            continue
        along = tuple(axis for axis in range(weights.ndim) if axis not in axes)
        largest = np.abs(weights).max(axis=along, keepdims=True)
        scales = np.where(largest > 0, largest, 1) / MAX
        levels = ops.convert(ops.constant(np.rint(weights / scales).astype(np.int8)), "f32")
        made = ops.multiply(levels, ops.constant(scales.astype(np.float32)))
        for user in users:
            user.replace_source_output(made.output(0))
        rounded += weights.size
    return rounded


def _outputs(user: Any, rank: int) -> tuple[int, ...]:
    """Return the axes of weights along which one who uses them has its outputs; none where it is no product of them."""
    node, place = user.get_node(), user.get_index()
    kind = node.get_type_name()
    if kind == "MatMul" and rank > 1:
        turned = node.get_attributes()["transpose_b" if place else "transpose_a"]
        return (rank - 2 if turned == bool(place) else rank - 1,)
    if kind == "Gather" and place == 0 and rank > 1:
        return (0,)
    return {"Convolution": (0,), "GroupConvolution": (0, 1)}.get(kind, ()) if place == 1 else ()
