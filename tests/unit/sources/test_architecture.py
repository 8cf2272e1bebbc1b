"""What is known of an architecture: looked for once, and again where what was remembered is damaged."""

from __future__ import annotations

from pathlib import Path

import torch

from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.base import Architecture, remembered
from headstart.sources.layers import Tap
from headstart.sources.networks.source import look_without_numbers
from headstart.sources.networks.tapped import Tapped
from headstart.sources.registry import open_source

KNOWN = Architecture(
    parameters=7,
    classes=3,
    preprocessing=Preprocessing(size=(8, 9), resize=8, mean=(0.5,), std=(0.25,), channels="grey"),
    taps=(Tap("pool", 4, "pool"), Tap("stage0.avg", 6, "avg", "stages.0", channels_last=True)),
    more=(Tap("flatten", 24, "flatten"),),
    hub="org/name",
    notes=("one", "two"),
)


def test_an_architecture_is_looked_for_once_and_again_when_the_record_is_damaged(cache: Path) -> None:
    looks = []

    def look() -> Architecture:
        looks.append(1)
        return KNOWN

    assert remembered({"name": "toy"}, look) == KNOWN
    assert remembered({"name": "toy"}, look) == KNOWN
    assert len(looks) == 1
    (path,) = (cache / "sources").iterdir()
    sound = path.read_bytes()
    for count, damaged in enumerate((sound.replace(b":7,", b":8,"), sound[:20], b"", b"[]"), start=2):
        path.write_bytes(damaged)
        assert remembered({"name": "toy"}, look) == KNOWN
        assert len(looks) == count
    assert remembered({"name": "other"}, look) == KNOWN and len(looks) == count + 1


def test_an_architecture_is_looked_at_without_numbers_where_that_is_possible() -> None:
    devices = []

    def look() -> Architecture:
        devices.append(torch.zeros(1).device.type)
        return KNOWN

    assert look_without_numbers(look) == KNOWN
    assert devices == ["meta"]

    def compute() -> Architecture:
        torch.zeros(1).tolist()
        return look()

    assert look_without_numbers(compute) == KNOWN
    assert devices == ["meta", "cpu"]


def test_what_is_found_without_numbers_is_what_a_picture_gives() -> None:
    for uri in ("timm:test_vit", "torchvision:regnet_y_400mf", "torchvision:squeezenet1_1"):
        source = open_source(uri, weights="none")
        with torch.inference_mode():
            x = Tapped(source.module(), source.preprocessing, source.all_taps)(
                torch.zeros(1, *source.network().input_shape, dtype=torch.uint8)
            )
        assert [block.shape[1] for block in x] == [tap.width for tap in source.all_taps]
