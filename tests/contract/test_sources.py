"""What every source promises, whoever published its network: one suite, one row a network.

Random weights throughout: what holds for them holds for trained ones, but for the files that those come in, which each
provider's own tests open. A random network's features differ little from photo to photo, so that agreement of engines
by cosine is easier here than on trained weights; `fit` checks it again on the user's photos, each time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import psutil
import pytest
import torch
from hub_models import place, tiny, tiny_timm
from numpy.typing import NDArray
from onnx_nets import convnet, weights

from headstart.base.errors import UsageError
from headstart.engines.base import Engine, Network
from headstart.engines.openvino import OpenVinoEngine, convert, precisions
from headstart.engines.select import LEAST_MEAN, LEAST_WORST, parity
from headstart.engines.torch import TorchEngine
from headstart.sources import base
from headstart.sources.base import Source
from headstart.sources.layers import select
from headstart.sources.networks.source import TorchSource
from headstart.sources.networks.tapped import Tapped
from headstart.sources.registry import open_source
from headstart.sources.uri import PROVIDERS

HEAVY = 10_000_000
"""Networks of more weights are built twice and not four times: how they are drawn is seen on their smaller kin."""
LARGE = 2_000_000_000
"""Bytes that the suite may hold between two networks before it looks for those that it could let go of."""
TABLE = Path(__file__).parents[2] / "docs" / "sources.md"
Opened = Callable[[Path, int], Source]


@dataclass(frozen=True)
class Row:
    """One network of the suite.

    Attributes:
        name: of the row.
        open: opens it in a folder of its own, with weights drawn from a seed.
        graph_only: whether it comes as a graph, which only OpenVINO runs.
        saved: whether the folder must hold SavedModels.
        converts_slowly: whether OpenVINO's turn is left to `-m slow`; a smaller network of its kind has it each time.
    """

    name: str
    open: Opened
    graph_only: bool = False
    converts_slowly: bool = False
    saved: bool = False


def random(uri: str, **how: Any) -> Row:
    """Return the row of a network that its URI names, with random weights."""
    return Row(uri, lambda folder, seed: open_source(uri, weights="none", seed=seed), **how)


def in_file(arch: str, suffix: str) -> Row:
    """Return the row of a checkpoint of `arch` in a file of its own."""

    def opened(folder: Path, seed: int) -> Source:
        path = folder / f"weights{seed}{suffix}"
        if not path.exists():
            state = open_source(arch, weights="none", seed=seed).module().state_dict()
            if suffix == ".safetensors":
                from safetensors.torch import save_file

                save_file(state, path)
            else:
                torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
        return open_source(f"file:{path}", arch=arch)

    return Row(f"file:{suffix} of {arch}", opened)


def as_onnx(end: str, channels_last: bool) -> Row:
    """Return the row of an ONNX file."""

    def opened(folder: Path, seed: int) -> Source:
        path = folder / f"{seed}.onnx"
        shape = ("n", 32, 32, 3) if channels_last else ("n", 3, 32, 32)
        convnet(path, shape=shape, values=weights(seed), end=end)
        return open_source(f"onnx:{path}")

    return Row(f"onnx:{end}{' channels last' if channels_last else ''}", opened, graph_only=True)


def as_saved_model() -> Row:
    """Return the row of a SavedModel; another one stands for another seed."""

    def opened(folder: Path, seed: int) -> Source:
        return open_source(f"tfhub:{folder / ('keras', 'plain')[seed]}")

    return Row("tfhub:keras", opened, graph_only=True, saved=True)


def on_the_hub(kind: str) -> Row:
    """Return the row of a repository of the hub that is in its library's cache."""

    def opened(folder: Path, seed: int) -> Source:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
            files = tiny_timm(seed) if kind == "timm" else tiny(kind, seed)
            return open_source(f"hf:tiny/{kind}@{place(folder, f'tiny/{kind}', files)}")

    return Row(f"hf:tiny/{kind}", opened)


ROWS = [
    random("arch:lenet5"),
    random("packaged:efficientnet-lite0"),
    random("packaged:efficientnet-lite1", converts_slowly=True),
    random("packaged:efficientnet-lite2", converts_slowly=True),
    random("torchvision:alexnet"),
    random("torchvision:vgg16", converts_slowly=True),
    random("torchvision:vgg19", converts_slowly=True),
    random("torchvision:resnet18"),
    random("torchvision:resnet50", converts_slowly=True),
    random("torchvision:inception_v3", converts_slowly=True),
    random("torchvision:googlenet"),
    random("torchvision:densenet121", converts_slowly=True),
    random("torchvision:mobilenet_v2"),
    random("torchvision:mobilenet_v3_small"),
    random("torchvision:efficientnet_b0", converts_slowly=True),
    random("torchvision:convnext_tiny", converts_slowly=True),
    random("torchvision:regnet_y_400mf", converts_slowly=True),
    random("torchvision:mnasnet0_5", converts_slowly=True),
    random("torchvision:shufflenet_v2_x0_5"),
    random("torchvision:squeezenet1_1"),
    random("torchvision:vit_b_32", converts_slowly=True),
    random("torchvision:swin_t", converts_slowly=True),
    random("torchvision:maxvit_t", converts_slowly=True),
    random("timm:resnet18"),
    random("timm:vit_tiny_patch16_224", converts_slowly=True),
    random("timm:vit_small_patch14_dinov2", converts_slowly=True),
    random("timm:convnext_atto"),
    random("timm:mobilenetv3_small_050"),
    random("timm:test_efficientnet"),
    random("keras:Xception"),
    random("keras:MobileNet"),
    random("keras:MobileNetV3Small"),
    on_the_hub("timm"),
    on_the_hub("vit"),
    on_the_hub("dinov2"),
    on_the_hub("dinov2_with_registers"),
    on_the_hub("beit"),
    on_the_hub("swin"),
    on_the_hub("swinv2"),
    on_the_hub("convnext"),
    on_the_hub("resnet"),
    on_the_hub("mobilenet_v2"),
    on_the_hub("clip"),
    on_the_hub("siglip"),
    in_file("timm:test_resnet", ".safetensors"),
    in_file("timm:test_vit", ".pth"),
    as_onnx("features", channels_last=False),
    as_onnx("map", channels_last=True),
    as_saved_model(),
]


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    """Return the bytes of two photos."""
    skimage = pytest.importorskip("skimage")
    folder = Path(skimage.__file__).parent / "data"
    return [(folder / name).read_bytes() for name in ("chelsea.png", "coffee.png")]


@pytest.fixture(autouse=True)
def _one_network_at_a_time() -> Iterator[None]:
    """Let go of a large network before the next one's turn: cycles hold traced ones until Python looks for them."""
    yield
    if psutil.Process().memory_info().rss > LARGE:
        gc.collect()


MORE = {
    "torchvision:densenet121",
    "torchvision:googlenet",
    "torchvision:regnet_y_400mf",
    "torchvision:maxvit_t",
    "torchvision:vgg19",
    "torchvision:vit_b_32",
    "torchvision:convnext_tiny",
    "timm:vit_small_patch14_dinov2",
    "torchvision:inception_v3",
    "torchvision:mnasnet0_5",
    "torchvision:mobilenet_v2",
    "torchvision:resnet50",
    "torchvision:vgg16",
    "packaged:efficientnet-lite1",
    "packaged:efficientnet-lite2",
    "timm:mobilenetv3_small_050",
    "timm:resnet18",
    "keras:MobileNetV3Small",
    "keras:Xception",
    "hf:tiny/dinov2",
    "hf:tiny/mobilenet_v2",
    "hf:tiny/siglip",
    "hf:tiny/swin",
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:swin_t",
    "torchvision:squeezenet1_1",
    "torchvision:efficientnet_b0",
    "torchvision:mobilenet_v3_small",
    "timm:convnext_atto",
    "timm:vit_tiny_patch16_224",
    "hf:tiny/swinv2",
    "hf:tiny/beit",
    "hf:tiny/timm",
    "hf:tiny/dinov2_with_registers",
    "hf:tiny/clip",
    "hf:tiny/convnext",
    "torchvision:alexnet",
}
"""Rows that are left to `-m slow`: others of their providers and of their kind run each time."""
THOROUGH = {"tfhub:keras", "keras:MobileNet", "torchvision:resnet18", "hf:tiny/vit", "file:.pth of timm:test_vit"}
"""Rows of some seconds, left to `-m thorough`."""


def _marks(row: Row) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if row.name in MORE else [pytest.mark.thorough] if row.name in THOROUGH else []


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.name, marks=_marks(row)) for row in ROWS],
)
def test_a_source_keeps_its_promises(
    row: Row, photos: list[bytes], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.getfixturevalue("saved_models" if row.saved else "tmp_path")
    source, same, other = (row.open(folder, seed) for seed in (0, 0, 1))
    check_description(source)
    check_memory(source, same)
    prepared = check_preparing(source, photos)
    engine = check_engine(source.network(), row)
    x = check_blocks(engine, source.network(), prepared)
    check_alone(engine, source, prepared, x)
    check_encoding(source, photos, Recorded(prepared, x), monkeypatch)
    if not row.graph_only and not row.converts_slowly:
        check_openvino(source.network(), prepared, x)
    check_seeds(row, source, same, other)
    check_table(source)


SLOW = [row for row in ROWS if row.converts_slowly]


@pytest.mark.slow
@pytest.mark.parametrize("row", SLOW, ids=[row.name for row in SLOW])
def test_a_source_that_converts_slowly_runs_on_openvino_too(row: Row, photos: list[bytes], tmp_path: Path) -> None:
    source = row.open(tmp_path, 0)
    prepared = source.prepare_all(photos)
    check_openvino(source.network(), prepared, check_engine(source.network(), row).run(prepared))


def check_description(source: Source) -> None:
    """The source says what it is, and a wrong layer is answered with those there are."""
    info, network = source.info, source.network()
    names = [block.name for block in network.blocks]
    assert info.kind == "image"
    assert info.parameters > 0
    assert all(getattr(info, field.name) is not None for field in fields(info))
    assert len(info.sha256) == 64
    assert names[0] == "pool"
    assert len(set(names)) == len(names)
    assert network.blocks[0].width == info.feature_size == source.at("pool").info.feature_size
    assert set(names) <= set(info.layers)
    with pytest.raises(UsageError) as caught:
        source.at("nonsense")
    said = str(caught.value)
    del caught  # a traceback that its own frame holds keeps the network in memory
    assert all(layer in said for layer in info.layers[:5])
    check_widths(source)
    for layer in info.layers:
        asked = source.at(layer).network()
        assert layer == "joined" or layer in [block.name for block in asked.blocks]
        assert (asked.fingerprint == network.fingerprint) == (layer == "joined" or layer in names)


def check_widths(source: Source) -> None:
    """`info` states the width of the features of the layer asked for, whatever the network yields beside them."""
    last, more = source.taps[-1].name, [tap.name for tap in source.more]
    for layer in (*source.info.layers, f"pool+{last}", *(f"{name}+pool" for name in more)):
        opened = source.at(layer)
        blocks = opened.network().blocks
        x = np.zeros((0, sum(block.width for block in blocks)), dtype=np.float32)
        assert opened.info.feature_size == select(x, blocks, layer)[0].shape[1]


def check_memory(fresh: Source, remembered: Source) -> None:
    """A source opened again, from what is remembered of it, is the same."""
    assert remembered.info == fresh.info
    assert remembered.preprocessing == fresh.preprocessing
    assert without_code(remembered.network()) == without_code(fresh.network())
    if isinstance(fresh, TorchSource) and isinstance(remembered, TorchSource):
        assert (remembered.taps, remembered.more) == (fresh.taps, fresh.more)


def without_code(network: Network) -> tuple[Any, ...]:
    return network.fingerprint, network.input_shape, network.blocks


def check_preparing(source: Source, photos: list[bytes]) -> NDArray[np.uint8]:
    """Photos are prepared at the size that the source names."""
    prepared = np.stack([source.prepare(photo) for photo in photos])
    assert prepared.dtype == np.uint8
    assert prepared.shape[1:] == source.network().input_shape
    assert prepared.shape[1:3] == source.preprocessing.size
    np.testing.assert_array_equal(source.prepare_all(photos), prepared)
    return prepared


def check_engine(network: Network, row: Row) -> Engine:
    """Return what the others are measured against: torch in float32 where there is a torch module."""
    assert (network.graph is not None) == row.graph_only
    if row.graph_only:
        return OpenVinoEngine(convert(network, batch=2), precision="f32")
    return TorchEngine(network.module(), batch=2)


def check_blocks(engine: Engine, network: Network, prepared: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features are float32, finite, as wide as promised, and the same whatever stands beside a photo."""
    x = engine.run(prepared)
    assert x.dtype == np.float32
    assert x.shape == (len(prepared), sum(block.width for block in network.blocks))
    assert np.isfinite(x).all()
    assert not np.array_equal(x[0], x[1]), "two photos have the same features"
    return x


def check_alone(engine: Engine, source: Source, prepared: NDArray[np.uint8], x: NDArray[np.float32]) -> None:
    """A photo has the same features whatever stands beside it, and every layer that can be asked for is there."""
    if isinstance(source, TorchSource):
        every = (*source.taps, *source.more)
        with torch.inference_mode():
            said = Tapped(source.module(), source.preprocessing, every)(torch.from_numpy(prepared[1:]))
        assert [tuple(block.shape) for block in said] == [(1, tap.width) for tap in every]
        alone = torch.cat(said[: len(source.taps)], dim=1).numpy()
    else:
        alone = engine.run(prepared[1:])
    np.testing.assert_allclose(alone[0], x[1], rtol=1e-3, atol=1e-4 * np.abs(x).max())


class Recorded:
    """Gives the features that a network gave before, if it is given the same pictures."""

    name, batch = "recorded", 2

    def __init__(self, prepared: NDArray[np.uint8], x: NDArray[np.float32]) -> None:
        self.prepared, self.x = prepared, x

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        np.testing.assert_array_equal(batch, self.prepared)
        return self.x


def check_encoding(source: Source, photos: list[bytes], engine: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """`encode` prepares photos as `prepare` does, and gives what the engine says under `pool`."""
    monkeypatch.setattr(base, "open_engine", lambda network, **how: engine)
    encoded = source.encode(photos)
    assert encoded.shape == (len(photos), source.info.feature_size)
    np.testing.assert_array_equal(encoded, engine.x[:, : source.info.feature_size])


def check_openvino(network: Network, prepared: NDArray[np.uint8], x: NDArray[np.float32]) -> None:
    """The fast engine agrees with torch in the fastest precision that this machine computes in and that agrees."""

    found = []
    for precision in precisions():
        engine = OpenVinoEngine(convert(network, batch=2), precision=precision)
        found.append(parity(engine.run(prepared), x, network.blocks))
        if found[-1].passed:
            return
    pytest.fail(f"{found[-1]}, at least {LEAST_MEAN} and {LEAST_WORST} are promised")


def check_seeds(row: Row, one: Source, same: Source, other: Source) -> None:
    """The same seed draws the same weights, another seed others; each has its own fingerprint."""
    assert one.network().fingerprint == same.network().fingerprint != other.network().fingerprint
    assert one.info.sha256 == same.info.sha256 != other.info.sha256
    if row.graph_only or one.info.parameters > HEAVY:
        return
    drawn, again, others = (source.module().state_dict() for source in (one, same, other))
    assert all(torch.equal(tensor, again[name]) for name, tensor in drawn.items())
    assert any(not torch.equal(tensor, others[name]) for name, tensor in drawn.items())


def in_table() -> dict[str, list[str]]:
    """Return the rows of the table in docs/sources.md that hold figures, by URI."""
    cells = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in TABLE.read_text().splitlines()]
    return {row[1].strip("`"): row for row in cells if len(row) == 6 and row[1].startswith("`")}


def check_table(source: Source) -> None:
    """What docs/sources.md says of a network is true."""
    row = in_table().get(source.info.uri)
    if row is None:
        return
    channels = " grey" if source.preprocessing.channels == "grey" else ""
    flat = source.at("flatten").info.feature_size
    height, width = source.preprocessing.size
    figures = [
        f"{height} x {width}{channels}",
        f"{source.info.parameters:,}",
        f"{source.info.feature_size:,}",
        f"{flat:,}",
    ]
    assert row[2:] == figures


def test_every_network_in_the_documents_is_in_the_suite_and_the_classics_are_in_both() -> None:
    listed = in_table()
    assert set(listed) <= {row.name for row in ROWS}
    classics = (
        "arch:lenet5 torchvision:alexnet torchvision:vgg16 torchvision:vgg19 torchvision:resnet18 torchvision:resnet50 "
        "torchvision:inception_v3 keras:Xception keras:MobileNet torchvision:mobilenet_v2 "
        "torchvision:mobilenet_v3_small torchvision:efficientnet_b0 torchvision:convnext_tiny torchvision:vit_b_32 "
        "timm:vit_small_patch14_dinov2"
    )
    assert set(classics.split()) <= set(listed)
    assert len(ROWS) >= 30
    tested_apart = {"words", "spectrogram", "simple", "mean", "mirrored"}  # in test_text_sources and tests of their own
    assert {row.name.partition(":")[0] for row in ROWS} == set(PROVIDERS) - tested_apart
    vgg16 = open_source("torchvision:vgg16", weights="none", layer="flatten").info
    assert listed["torchvision:vgg16"][5] == f"{vgg16.feature_size:,}" == "25,088"
