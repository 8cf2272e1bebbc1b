"""`headstart sources`: what is shown of the sources at hand."""

from __future__ import annotations

import dataclasses

import pytest

from headstart.cli.command import DisplayOptions
from headstart.cli.sources import as_rows, as_table, as_text, sources
from headstart.sources.catalogue import CatalogueRow
from headstart.testing import ToySource


def test_the_table_fits_its_width_and_says_what_is_not_usable() -> None:
    info = ToySource().info
    rows = (
        CatalogueRow("packaged:efficientnet-lite0", "package", dataclasses.replace(info, trained_on="x" * 200)),
        CatalogueRow("hf:a/b", "cache", None, "must be whole; found half\x1b[31m; get it again"),
    )
    table = as_table(rows, 80)
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "packaged:efficientnet-lite0" in table
    assert "not usable: must be whole" in table
    assert "\x1b" not in table
    assert "xxx" not in table and "xxx" in as_table(rows, 160)
    unknown = {"imagenet": None, "examples_per_second": None}
    assert as_rows(rows)[1] == {"uri": "hf:a/b", "found": "cache", "info": None, "problem": rows[1].problem} | unknown


def test_accuracy_and_speed_stand_beside_the_name_and_a_dash_where_they_are_not_known() -> None:
    info = ToySource().info
    known = CatalogueRow("packaged:efficientnet-lite0", "package", info, imagenet=0.751, speed=1234.5)
    table = as_table([known, CatalogueRow("file:mine", "package", info, speed=12.34)], 80).splitlines()
    assert table[0].split()[2:5] == ["ImageNet", "speed", "here"]
    assert table[1].split()[:5] == ["packaged:efficientnet-lite0", "*", "75.1", "%", "1,234/s"]
    assert table[2].split()[:3] == ["file:mine", "–", "12.3/s"]


def test_layers_stand_in_the_order_of_the_network() -> None:
    layers = ("pool", "stage10.avg", "stage2.max", "final.avg", "flatten", "joined", "stage2.avg")
    shown = as_text(dataclasses.replace(ToySource().info, layers=layers), "auto")
    assert "pool, joined, stage2.avg, stage2.max, stage10.avg, final.avg, flatten" in shown


def test_sources_stand_by_kind_and_the_default_of_each_is_marked() -> None:
    info = ToySource().info
    names = {"image": "packaged:efficientnet-lite0", "text": "packaged:minilm", "sound": "packaged:speech"}
    inputs = {
        "text": {"limit": 0},
        "sound": {"spectrogram": {"frames": 100, "hop": 160, "rate": 16_000}},
    }
    rows = []
    for kind, uri in reversed(names.items()):
        of_kind = dataclasses.replace(info, kind=kind, input=inputs.get(kind, info.input))
        rows += [CatalogueRow(name, "package", of_kind) for name in (uri, f"file:{kind}")]
    lines = [line.split() for line in as_table(rows, 80).splitlines()]
    heads = [line[1] for line in lines if line[:1] == ["for"]]
    assert heads == ["photos", "texts", "recordings"]
    assert [line[0] for line in lines if "*" in line[1:2]] == list(names.values())
    assert lines.index(["for", "texts", "speed", "here", "weights", "features", "input"]) == 4


def test_one_source_in_full_names_its_layers() -> None:
    info = ToySource().info
    text = as_text(info, "auto")
    assert all(layer in text for layer in info.layers)
    assert info.sha256 in text
    assert "24 (layer pool)" in text
    assert "384 (layer flatten)" in as_text(ToySource().at("flatten").info, "flatten")


def test_a_search_without_a_match_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    sources(None, {"search": "nosuchnetwork"}, DisplayOptions())
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err == "No source is known here whose name holds 'nosuchnetwork'\n"
