"""What `headstart sources` shows: the sources at hand as a table, one source in full, names that match."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headstart.base.errors import one_line
from headstart.data.modality import MODALITIES
from headstart.sources.base import SourceInfo
from headstart.sources.catalogue import CatalogueRow
from headstart.sources.layers import AUTO, POOL


def as_table(rows: Sequence[CatalogueRow], width: int) -> str:
    """Return the sources as a table of at most `width` columns, and a line for each that cannot be used."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("source", no_wrap=True, overflow="fold")
    for title in ("weights", "features", "input"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold")
    table.add_column("trained on", overflow="fold")
    for row in rows:
        if row.info is not None:
            table.add_row(*map(one_line, _cells(row.uri, row.info)))
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False, markup=False, no_color=True)
    console.print(table)
    for row in rows:
        if row.info is None:
            console.print(f"not usable: {one_line(row.problem)}")
    return text.getvalue().rstrip("\n")


def _cells(uri: str, info: SourceInfo) -> tuple[str, ...]:
    if info.kind == "text":
        size = f"{info.input['limit']} tokens" if info.input["limit"] else "any text"
    elif info.kind == "sound":
        spectrogram = info.input["spectrogram"]
        size = f"{spectrogram['frames'] * spectrogram['hop'] / spectrogram['rate']:.2f} s at {spectrogram['rate']:,} Hz"
    else:
        height, width = info.input["size"]
        size = f"{height} px" if height == width else f"{height}x{width} px"
    trained_on = info.trained_on.partition(" (")[0]
    return uri, f"{info.parameters / 1e6:.1f} M", f"{info.feature_size:,}", size, info.licence, trained_on


def as_text(info: SourceInfo, layer: str) -> str:
    """Return one source, opened at `layer`, in full: a line for each thing to know."""
    shown: list[tuple[str, Any]] = [
        ("source", info.uri),
        ("reads", MODALITIES[info.kind].plural),
        ("parameters", f"{info.parameters:,}"),
        ("features", f"{info.feature_size:,} (layer {POOL if layer == AUTO else layer})"),
        ("layers", ", ".join(info.layers)),
        *_inputs(info.input),
        ("licence", info.licence),
        ("revision", info.revision or "none"),
        ("sha256", info.sha256),
        ("trained on", info.trained_on),
    ]
    wide = max(len(name) for name, _ in shown)
    return "\n".join(f"{name:<{wide}}  {one_line(value, 2000)}" for name, value in shown)


def _inputs(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _inputs(value)
        else:
            yield f"input {name}", value


def as_rows(rows: Sequence[CatalogueRow]) -> list[dict[str, Any]]:
    """Return the sources as plain values, ready for JSON."""
    return [
        {
            "uri": row.uri,
            "found": row.place,
            "info": None if row.info is None else row.info.as_dict(),
            "problem": row.problem or None,
        }
        for row in rows
    ]
