"""Google's speech embedding for OpenVINO, over whole clips at once.

Its network reads 76 frames and gives one vector. No convolution is padded along time, and all strides together make 8:
run over a longer clip it gives the very vectors of windows of 76 frames every 8, at a fifth of the work. Imports
OpenVINO.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.environment import without_telemetry
from headstart.sources.graphs.from_arrays import normalised
from headstart.sources.graphs.openvino_graph import read
from headstart.sources.layers import Tap

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops


def speech_graph(path: Path, preprocessing: Preprocessing, taps: Sequence[Tap]) -> ov.Model:
    """Return the network in an ONNX file from spectrograms, uint8 (n, bands, frames, 1), to a block (n, width) a tap.

    `flatten` is the vectors of the windows in order, anything else their mean beside their maximum.
    """
    model = read(path, "onnx")
    (entry,) = model.get_parameters()
    (reshape,) = (target.get_node() for target in entry.output(0).get_target_inputs())
    pictures = ops.parameter([-1, *preprocessing.shape], np.uint8)
    frames = ops.transpose(normalised(pictures, preprocessing), np.array([0, 1, 3, 2]))
    for target in reshape.output(0).get_target_inputs():
        target.replace_source_output(frames.output(0))
    vectors = model.get_results()[0].input_value(0).get_node().input_value(0)  # (n, width, windows, 1)
    rows = ops.transpose(ops.squeeze(vectors, np.array([3])), np.array([0, 2, 1]))
    graph = ov.Model([_block(rows, tap) for tap in taps], [pictures], "speech")
    graph.validate_nodes_and_infer_types()
    return graph


def _block(rows: Any, tap: Tap) -> Any:
    if tap.reduce == "flatten":
        return ops.reshape(rows, np.array([0, tap.width]), special_zero=True)
    windows = np.array([1])
    return ops.concat([ops.reduce_mean(rows, windows), ops.reduce_max(rows, windows)], axis=1)
