"""`headstart sources`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.errors import UsageError
from headstart.cli.command import DisplayOptions, command_of
from headstart.run.option_model import option
from headstart.run.options import OpenOptions

if TYPE_CHECKING:
    from headstart.sources.base import SourceInfo


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
    from headstart.cli.running import prepare_display
    from headstart.cli.source_table import as_rows, as_table, as_text

    options = SourcesOptions(**chosen)
    prepare_display(display)
    if options.search is not None:
        from headstart.sources.catalogue import search

        names = search(options.search)
        print(json.dumps(names) if display.as_json else "\n".join(names))
    elif words:
        info = _named(words, options)
        print(json.dumps(info.as_dict()) if display.as_json else as_text(info, options.layer))
    else:
        from headstart.sources.catalogue import listing

        rows = listing()
        columns = shutil.get_terminal_size((80, 24)).columns
        print(json.dumps(as_rows(rows)) if display.as_json else as_table(rows, columns))


def _named(words: list[str], options: SourcesOptions) -> SourceInfo:
    """Open the source that the words of the command name, or convert it into a folder, and return what it is.

    Raises:
        UsageError: the words name no source, or more than one.
    """
    if words[0] == "convert":
        if len(words) != 2 or options.to is None:
            raise UsageError("a conversion names a source and a folder", " ".join(words), "add keras:NAME --to FOLDER")
        from headstart.sources.convert import convert

        return convert(words[1], options.to, weights=str(options.weights), seed=options.seed)
    if len(words) > 1 or options.to is not None:
        raise UsageError(
            "sources takes one URI", " ".join(words), "name one, or convert it: sources convert URI --to FOLDER"
        )
    from headstart.sources.registry import open_source

    arguments = {name: getattr(options, name) for name in ("weights", "arch", "layer", "size", "seed")}
    return open_source(words[0], **arguments).info


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
