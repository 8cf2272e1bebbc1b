"""Networks that come as graphs: OpenVINO in float32 is the reference, and torch is never asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from onnx_nets import SIDE, convnet

import headstart as hs
from headstart.base.errors import SourceError, UsageError
from headstart.engines import openvino
from headstart.engines import select as choose
from headstart.engines.base import Block, Network
from headstart.engines.select import Parity, cached_engine_name, open_engine

openvino_engine = openvino.OpenVinoEngine


@pytest.fixture
def network(tmp_path: Path) -> Network:
    convnet(tmp_path / "net.onnx")
    return hs.open_source(f"onnx:{tmp_path / 'net.onnx'}").network()


def pictures(count: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def as_bf16(monkeypatch: pytest.MonkeyPatch, spoil: float) -> None:
    """Let this CPU say that it computes in bf16; what it gives there is what it gives in f32, spoiled."""

    class Spoiled(openvino_engine):
        def __init__(self, model: object, *, precision: str) -> None:
            super().__init__(model, precision="f32")
            self.name = f"openvino-{precision}"

        def run(self, batch: np.ndarray) -> np.ndarray:
            x = super().run(batch)
            noise = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
            return x + spoil * noise if self.name.endswith("bf16") else x

    monkeypatch.setattr(openvino, "precisions", lambda: ("bf16", "f32"))
    monkeypatch.setattr(openvino, "OpenVinoEngine", Spoiled)


def test_float32_is_used_as_it_is_and_known_from_then_on(network: Network, cache: Path) -> None:
    engine = open_engine(
        network, sample=lambda: pytest.fail("a sample was asked for"), cache=cache, engine="openvino-f32"
    )
    assert engine.name == "openvino-f32" == cached_engine_name(network, engine="openvino-f32", cache=cache)
    x = engine.run(pictures())
    warm = dataclasses.replace(network, graph=lambda: pytest.fail("the graph was read again"))
    again = open_engine(warm, sample=pictures, cache=cache, engine="openvino-f32")
    np.testing.assert_array_equal(again.run(pictures()[::-1]), x[::-1])
    np.testing.assert_array_equal(again.run(pictures()[3:4]), x[3:4])


def test_bf16_is_used_where_it_agrees_with_float32(
    network: Network, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_bf16(monkeypatch, spoil=0.0)
    assert open_engine(network, sample=pictures, cache=cache).name == "openvino-bf16"
    assert cached_engine_name(network, engine="auto", cache=cache) == "openvino-bf16"


def test_bf16_that_disagrees_steps_down_to_float32_and_says_so(
    network: Network, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_bf16(monkeypatch, spoil=3.0)
    said: list[str] = []
    assert open_engine(network, sample=pictures, cache=cache, say=said.append).name == "openvino-f32"
    assert any("engine openvino-bf16 is not used: cosine 0." in line for line in said)
    assert cached_engine_name(network, engine="auto", cache=cache) == "openvino-f32"
    with pytest.raises(UsageError, match=r"must agree with openvino-f32 .* use --engine auto$"):
        open_engine(network, sample=pictures, cache=cache, engine="openvino-bf16")


def test_the_reference_is_taken_to_agree_with_itself(network: Network, cache: Path) -> None:
    open_engine(network, sample=pictures, cache=cache, engine="openvino-f32")
    (verdict,) = choose._verdicts(choose.folder_of(network, cache)).values()
    assert verdict == Parity(1.0, 1.0, choose.PARITY_SAMPLE)


def test_torch_is_refused_and_openvino_needed(network: Network, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="must run on the OpenVINO engine; found --engine torch"):
        open_engine(network, sample=pictures, cache=cache, engine="torch")
    monkeypatch.setattr(choose, "openvino_version", lambda: None)
    for engine in ("auto", "openvino"):
        with pytest.raises(UsageError, match="needs OpenVINO; found it is not installed; run: pip install openvino"):
            open_engine(network, sample=pictures, cache=cache, engine=engine)


def test_outputs_that_are_not_one_row_a_picture_are_refused(network: Network, cache: Path) -> None:
    wrong = dataclasses.replace(network, blocks=(Block("pool", 7),), fingerprint="0" * 64)
    with pytest.raises(SourceError, match="one row of each block for each picture"):
        open_engine(wrong, sample=pictures, cache=cache)
