"""The speech network over whole clips: a tiny twin of it, against its windows one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headstart.base.errors import SourceError
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.openvino import compile_model
from headstart.sources.graphs.speech import speech_graph
from headstart.sources.layers import Tap

WINDOW, BANDS, WIDTH, FRAMES = 5, 4, 3, 11
WINDOWS = (FRAMES - WINDOW) // 2 + 1
KERNEL = np.random.default_rng(0).normal(size=(WIDTH, 1, WINDOW, BANDS)).astype(np.float32)
HOW = Preprocessing(size=(BANDS, FRAMES), resize=None, mean=(0.25,), std=(0.5,), channels="grey")
MEANS, ROW = Tap("pool", 2 * WIDTH, "pool"), Tap("sequence", WINDOWS * WIDTH, "flatten")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Write a network of windows of 5 frames, one every 2, as the real one is made: (n, frames, bands, 1) in."""
    shape = np.array([-1, 1, WINDOW, BANDS])
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["maps"]),
        helper.make_node("Conv", ["maps", "kernel"], ["vectors"], strides=[2, 1]),
        helper.make_node("Transpose", ["vectors"], ["out"], perm=[0, 2, 3, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "speech",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WINDOW, BANDS, 1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(KERNEL, "kernel"), numpy_helper.from_array(shape, "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "speech.onnx")
    return tmp_path / "speech.onnx"


def pictures(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, BANDS, FRAMES, 1), dtype=np.uint8)


def windows(clips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the vector of each window of each clip, of shape (n, windows, width)."""
    frames = (clips[..., 0].transpose(0, 2, 1) / 255 - 0.25) / 0.5
    starts = range(0, FRAMES - WINDOW + 1, 2)
    return np.stack([np.tensordot(frames[:, at : at + WINDOW], KERNEL[:, 0], ([1, 2], [1, 2])) for at in starts], 1)


def run(path: Path, taps: tuple[Tap, ...], clips: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    compiled = compile_model(speech_graph(path, HOW, taps))
    return list(compiled([clips]).values())


@pytest.mark.parametrize("count", [1, 4])
def test_a_clip_is_the_mean_and_the_maximum_of_its_windows_or_all_of_them(network: Path, count: int) -> None:
    clips = pictures(count)
    vectors = windows(clips)
    assert vectors.shape == (count, WINDOWS, WIDTH)
    pool, row = run(network, (MEANS, ROW), clips)
    np.testing.assert_allclose(pool, np.hstack([vectors.mean(1), vectors.max(1)]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(row, vectors.reshape(count, -1), rtol=1e-4, atol=1e-4)


def test_blocks_come_in_the_order_of_their_taps(network: Path) -> None:
    assert [block.shape for block in run(network, (ROW, MEANS), pictures(2))] == [(2, ROW.width), (2, MEANS.width)]
    assert [block.shape for block in run(network, (MEANS,), pictures(2))] == [(2, MEANS.width)]


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x00not a network")
    with pytest.raises(SourceError, match=r"a\.onnx must be a network that OpenVINO can read"):
        speech_graph(tmp_path / "a.onnx", HOW, (MEANS,))
