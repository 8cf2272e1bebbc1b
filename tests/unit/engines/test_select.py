"""The choice of an engine: agreement with torch decides, and every step down is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.base.cache import read_record
from headstart.base.errors import UsageError
from headstart.engines import openvino
from headstart.engines import select as choose
from headstart.engines.base import Block
from headstart.engines.select import LEAST_MEAN, Parity, cached_engine_name, folder_of, open_engine, parity
from headstart.engines.torch import TorchEngine
from headstart.testing import ToySource

BLOCKS = (Block("wide", 100), Block("narrow", 4))
NETWORK = ToySource().network()


def pictures(count: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


class Wrong:
    """An engine whose features are those of OpenVINO, spoiled."""

    def __init__(self, model: object, *, precision: str, spoil: float = 0.3) -> None:
        self._engine = openvino_engine(model, precision="f32")
        self.name, self.batch, self._spoil = f"openvino-{precision}", self._engine.batch, spoil

    def run(self, batch: np.ndarray) -> np.ndarray:
        x = self._engine.run(batch)
        return x + self._spoil * np.random.default_rng(0).normal(size=x.shape).astype(np.float32)


openvino_engine = openvino.OpenVinoEngine


@pytest.fixture
def bf16_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that says it computes in bf16; what it gives there is what it gives in f32."""

    class Renamed(openvino_engine):
        def __init__(self, model: object, *, precision: str) -> None:
            super().__init__(model, precision="f32")
            self.name = f"openvino-{precision}"

    monkeypatch.setattr(openvino, "precisions", lambda: ("bf16", "f32"))
    monkeypatch.setattr(openvino, "OpenVinoEngine", Renamed)


def test_parity_is_of_each_block_so_that_a_wide_one_hides_no_broken_narrow_one() -> None:
    reference = np.random.default_rng(0).normal(size=(8, 104)).astype(np.float32)
    assert parity(reference, reference, BLOCKS) == Parity(1.0, 1.0, 8)
    broken = reference.copy()
    broken[:, 100:] *= -1
    found = parity(broken, reference, BLOCKS)
    assert found.mean == pytest.approx(0.0, abs=1e-6)
    assert not found.passed


def test_parity_reads_the_worst_photo_zeros_and_nan() -> None:
    reference = np.random.default_rng(0).normal(size=(8, 104)).astype(np.float32)
    reference[3, 100:] = 0
    assert parity(reference, reference, BLOCKS).worst == 1.0
    one = reference.copy()
    one[5] = np.nan
    assert parity(one, reference, BLOCKS).worst == -1.0
    lost = reference.copy()
    lost[2, :100] = 0
    assert parity(lost, reference, BLOCKS).worst == pytest.approx(0.5)
    assert Parity(0.9981, 0.991, 64).passed
    assert not Parity(0.9979, 0.991, 64).passed
    assert not Parity(0.9999, 0.989, 64).passed


def test_the_second_time_neither_torch_nor_a_sample_is_needed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    assert cached_engine_name(NETWORK, engine="auto", cache=cache) is None
    first = open_engine(NETWORK, sample=pictures, cache=cache, say=said.append)
    assert said == ["converting the network for OpenVINO, once"]
    assert (
        cached_engine_name(NETWORK, engine="auto", cache=cache)
        == first.name
        == cached_engine_name(NETWORK, engine="openvino", cache=cache)
    )
    warm = dataclasses.replace(NETWORK, module=lambda: pytest.fail("torch was asked for"))
    again = open_engine(warm, sample=lambda: pytest.fail("a sample was asked for"), cache=cache, say=said.append)
    assert len(said) == 1
    np.testing.assert_array_equal(again.run(pictures()), first.run(pictures()))


def test_both_engines_agree(cache: Path) -> None:
    fast = open_engine(NETWORK, sample=pictures, cache=cache, engine="openvino")
    slow = open_engine(NETWORK, sample=pictures, cache=cache, engine="torch")
    assert slow.name == "torch-f32"
    found = parity(fast.run(pictures(64)), slow.run(pictures(64)), NETWORK.blocks)
    assert found.passed


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_photo_s_features_do_not_depend_on_its_batch(cache: Path, engine: str) -> None:
    opened = open_engine(NETWORK, sample=pictures, cache=cache, engine=engine)
    photos = pictures(37)
    whole = opened.run(photos)
    order = np.random.default_rng(1).permutation(len(photos))
    np.testing.assert_array_equal(opened.run(photos[order]), whole[order])
    for some in (photos[:1], photos[5:6], photos[:17]):
        start = 5 if len(some) == 1 and (some == photos[5:6]).all() else 0
        np.testing.assert_array_equal(opened.run(some), whole[start : start + len(some)])
    assert opened.run(photos[:0]).shape == (0, whole.shape[1])


def test_bf16_comes_first_where_the_cpu_has_it(cache: Path, bf16_cpu: None) -> None:
    assert open_engine(NETWORK, sample=pictures, cache=cache).name == "openvino-bf16"
    assert cached_engine_name(NETWORK, engine="auto", cache=cache) == "openvino-bf16"
    assert open_engine(NETWORK, sample=pictures, cache=cache, engine="openvino-f32").name == "openvino-f32"


def spoiled(only: str) -> Callable[..., object]:
    def make(model: object, *, precision: str) -> object:
        return Wrong(model, precision=precision, spoil=0.3 if precision in only.split() else 0.0)

    return make


def test_a_precision_that_disagrees_steps_down_to_the_next_and_says_so(
    cache: Path, bf16_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "OpenVinoEngine", spoiled("bf16"))
    said: list[str] = []
    assert open_engine(NETWORK, sample=pictures, cache=cache, say=said.append).name == "openvino-f32"
    assert said[-1].startswith("engine openvino-bf16 is not used: cosine 0.")
    assert cached_engine_name(NETWORK, engine="auto", cache=cache) == "openvino-f32"


def test_auto_falls_to_torch_and_says_so_and_openvino_is_refused(
    cache: Path, bf16_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "OpenVinoEngine", spoiled("bf16 f32"))
    said: list[str] = []
    assert open_engine(NETWORK, sample=pictures, cache=cache, say=said.append).name == "torch-f32"
    assert said[-1] == "using the torch engine, which is slower"
    assert cached_engine_name(NETWORK, engine="auto", cache=cache) == "torch-f32"
    assert cached_engine_name(NETWORK, engine="openvino", cache=cache) is None
    with pytest.raises(UsageError, match=f"cosine {LEAST_MEAN} on average"):
        open_engine(NETWORK, sample=pictures, cache=cache, engine="openvino")


def test_without_openvino_auto_uses_torch_and_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "openvino_version", lambda: None)
    said: list[str] = []
    assert open_engine(NETWORK, sample=pictures, cache=cache, say=said.append).name == "torch-f32"
    assert said == ["OpenVINO is not installed here: using the torch engine, which is slower"]
    assert cached_engine_name(NETWORK, engine="auto", cache=cache) == "torch-f32"
    with pytest.raises(UsageError, match="pip install openvino"):
        open_engine(NETWORK, sample=pictures, cache=cache, engine="openvino")


def test_a_verdict_over_few_photos_is_asked_for_again_when_more_are_at_hand(cache: Path) -> None:
    def photos_compared() -> int:
        (verdict,) = read_record(folder_of(NETWORK, cache) / "parity.json").values()
        return verdict["photos"]

    for at_hand, compared in ((2, 2), (1, 2), (30, 30), (64, 30)):
        open_engine(NETWORK, sample=lambda at_hand=at_hand: pictures(at_hand), cache=cache)
        assert photos_compared() == compared


def test_verdicts_are_of_one_cpu_and_one_version(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_engine(NETWORK, sample=pictures, cache=cache)
    with monkeypatch.context() as conversion:
        conversion.setattr(choose, "cpu", lambda: "another CPU")
        assert cached_engine_name(NETWORK, engine="auto", cache=cache) is None
    monkeypatch.setattr(choose, "openvino_version", lambda: "2099.1")
    assert cached_engine_name(NETWORK, engine="auto", cache=cache) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"value": {"a": {"mean": 1}}, "sha256": "0"}'])
def test_damaged_verdicts_are_found_afresh(cache: Path, damage: bytes) -> None:
    name = open_engine(NETWORK, sample=pictures, cache=cache).name
    (folder_of(NETWORK, cache) / "parity.json").write_bytes(damage)
    assert cached_engine_name(NETWORK, engine="auto", cache=cache) is None
    assert open_engine(NETWORK, sample=pictures, cache=cache).name == name
    assert cached_engine_name(NETWORK, engine="auto", cache=cache) == name


@pytest.mark.parametrize("engine", ["tensorrt", "opnvino"])
def test_an_unknown_engine_lists_the_known(cache: Path, engine: str) -> None:
    with pytest.raises(UsageError, match="auto, torch, openvino"):
        open_engine(NETWORK, sample=pictures, cache=cache, engine=engine)


def test_the_last_batch_is_filled_up_and_cut_again() -> None:
    seen: list[int] = []

    class FirstTwo(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append(len(batch))
            return batch.reshape(len(batch), -1)[:, :2].float()

    items = pictures(10)
    np.testing.assert_array_equal(TorchEngine(FirstTwo(), batch=4).run(items), items.reshape(10, -1)[:, :2])
    assert seen == [4, 4, 4]
