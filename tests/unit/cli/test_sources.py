"""`headstart sources`: what is shown of the sources at hand."""

from __future__ import annotations

import dataclasses

from headstart.cli.sources import as_rows, as_table, as_text
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
    assert as_rows(rows)[1] == {"uri": "hf:a/b", "found": "cache", "info": None, "problem": rows[1].problem}


def test_one_source_in_full_names_its_layers() -> None:
    info = ToySource().info
    text = as_text(info, "auto")
    assert all(layer in text for layer in info.layers)
    assert info.sha256 in text
    assert "24 (layer pool)" in text
    assert "384 (layer flatten)" in as_text(ToySource().at("flatten").info, "flatten")
