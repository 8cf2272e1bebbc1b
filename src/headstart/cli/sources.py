"""`headstart sources`: the sources at hand as a table, one source in full, names that match."""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.errors import UsageError, one_line
from headstart.cli.command import DisplayOptions, command_of, prepare_display
from headstart.cli.messages import show, show_json
from headstart.data.modality import MODALITIES
from headstart.run.option_model import option
from headstart.run.options import OpenOptions

if TYPE_CHECKING:
    from headstart.sources.base import SourceInfo
    from headstart.sources.catalogue import CatalogueRow

WIDER, WIDE = 100, 120  # columns of a terminal that shows the licence of a source, and what it was trained on


class SourcesOptions(OpenOptions):
    """The options of `sources`."""

    search: str | None = option(None, "Source", "TEXT")
    """Print the names in the libraries that hold this text. By default none is printed."""
    size: int | None = option(None, "Source", "PIXELS")
    """The side of the input of a keras: source. The default is the source's own."""
    to: Path | None = option(None, "Output", "DIR")
    """The folder for a converted source, which must be given with convert."""
    seed: int = option(0, "Run", "N")
    """The seed of random weights. The default is 0."""


def sources(words: list[str] | None, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Print the sources that work here, one of them in full, or the names that hold a text."""
    options = SourcesOptions(**chosen)
    prepare_display(display)
    if options.search is not None:
        from headstart.sources.catalogue import search

        names = search(options.search)
        show_json(names) if display.as_json else print("".join(f"{name}\n" for name in names), end="")
        if not names:
            show(f"No source is known here whose name holds {options.search!r}", sys.stderr)
    elif words:
        info = _named(words, options)
        show_json(info.as_dict()) if display.as_json else print(as_text(info, options.layer))
    else:
        from headstart.sources.catalogue import listing

        rows = listing()
        columns = shutil.get_terminal_size((80, 24)).columns
        show_json(as_rows(rows)) if display.as_json else print(as_table(rows, columns))


def _named(words: list[str], options: SourcesOptions) -> SourceInfo:
    """Open the source that the words of the command name, or convert it into a folder, and return what it is.

    UsageError: the words name no source, or more than one.
    """
    if words[0] == "convert":
        if len(words) != 2 or options.to is None:
            raise UsageError("a conversion names a source and a folder", " ".join(words), "add keras:NAME --to FOLDER")
        from headstart.sources.providers.keras import convert

        return convert(words[1], options.to, weights=str(options.weights), seed=options.seed)
    if len(words) > 1 or options.to is not None:
        raise UsageError(
            "sources takes one URI", " ".join(words), "name one, or convert it: sources convert URI --to FOLDER"
        )
    from headstart.sources.registry import open_source

    arguments = {name: getattr(options, name) for name in ("weights", "arch", "layer", "size", "seed")}
    return open_source(words[0], **arguments).info


def as_table(rows: Sequence[CatalogueRow], width: int) -> str:
    """Return the sources by kind, a table of at most `width` columns each, and a line for each that cannot be used.

    The licence of a source and what it was trained on are shown where `width` leaves room for it.
    """
    from rich.console import Console
    from rich.table import Table

    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False, markup=False, no_color=True)
    for modality in MODALITIES.values():
        usable = [row for row in rows if row.info is not None and row.info.kind == modality.kind]
        if not usable:
            continue
        table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
        table.add_column(f"for {modality.plural}", overflow="fold")
        titles = [*(["ImageNet"] if modality.kind == "image" else []), "speed here", "weights", "features", "input"]
        for title in titles:
            table.add_column(title, justify="right", no_wrap=True)
        for title, least in (("licence", WIDER), ("trained on", WIDE)):
            if width >= least:
                table.add_column(title, overflow="fold")
        for row in usable:
            cells = _cells(row, " *" if row.uri == modality.default_source else "")
            table.add_row(*map(one_line, cells[: len(table.columns)]))
        console.print(table)
        console.print()
    for row in rows:
        if row.info is None:
            console.print(f"not usable: {one_line(row.problem)}")
    console.print("* the default source of its kind; 'headstart sources URI' shows all of a source")
    console.print("ImageNet: its makers' top-1 accuracy; speed here: examples, when it was last used")
    return text.getvalue().rstrip("\n")


def _cells(row: CatalogueRow, mark: str) -> list[str]:
    info = row.info
    assert info is not None
    if info.kind == "text":
        size = f"{info.input['limit']} tokens" if info.input["limit"] else "any text"
    elif info.kind == "sound":
        spectrogram = info.input["spectrogram"]
        size = f"{spectrogram['frames'] * spectrogram['hop'] / spectrogram['rate']:.2f} s at {spectrogram['rate']:,} Hz"
    else:
        height, width = info.input["size"]
        size = f"{height} px" if height == width else f"{height}x{width} px"
    trained_on = info.trained_on.partition(" (")[0]
    accuracy = "–" if row.imagenet is None else f"{100 * row.imagenet:.1f} %"
    speed = "–" if row.speed is None else f"{row.speed:,.3g}/s" if row.speed < 100 else f"{row.speed:,.0f}/s"
    known = [f"{info.parameters / 1e6:.1f} M", f"{info.feature_size:,}", size, info.licence, trained_on]
    return [row.uri + mark, *([accuracy] if info.kind == "image" else []), speed, *known]


def as_text(info: SourceInfo, layer: str) -> str:
    """Return one source, opened at `layer`, in full: a line for each thing to know."""
    from headstart.sources.layers import AUTO, POOL

    shown: list[tuple[str, Any]] = [
        ("source", info.uri),
        ("reads", MODALITIES[info.kind].plural),
        ("parameters", f"{info.parameters:,}"),
        ("features", f"{info.feature_size:,} (layer {POOL if layer == AUTO else layer})"),
        ("layers", ", ".join(sorted(info.layers, key=_depth))),
        *_inputs(info.input),
        ("licence", info.licence),
        ("revision", info.revision or "none"),
        ("sha256", info.sha256),
        ("trained on", info.trained_on),
    ]
    wide = max(len(name) for name, _ in shown)
    return "\n".join(f"{name:<{wide}}  {one_line(value, 2000)}" for name, value in shown)


def _depth(layer: str) -> tuple[Any, ...]:
    """Return what sorts layers for a person: the default ones, then the stages by their numbers, then the rest."""
    ends = {"pool": 0, "joined": 1, "flatten": 4}
    numbers = [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", layer)]
    return ends.get(layer, 2 if any(part.isdigit() for part in layer) else 3), numbers


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
            "imagenet": row.imagenet,
            "examples_per_second": row.speed,
        }
        for row in rows
    ]


command = command_of(
    "sources",
    sources,
    SourcesOptions,
    arguments=[
        (
            "words",
            list[str] | None,
            "[URI | convert URI]",
            "The source to describe; or convert and the source to convert into the folder of --to.",
        )
    ],
    examples=(
        "headstart sources",
        "headstart sources torchvision:vgg16 --layer flatten --json",
        "headstart sources --search resnet50",
    ),
)
