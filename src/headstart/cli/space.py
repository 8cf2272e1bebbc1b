"""`headstart space`: write the folder of a Hugging Face Space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headstart.cli.command import BUNDLE, DisplayOptions, command_of, prepare_display
from headstart.cli.messages import show, show_json
from headstart.run.option_model import Options, option


class SpaceOptions(Options):
    """The options of `space`."""

    out: Path | None = option(None, "Output", "DIR")
    """The folder to write, new or empty. The default is the name of the bundle with -space behind it, beside it."""


def space(bundle: Path, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Write the folder, and print what is in it."""
    from headstart.ship.space import write_space

    options = SpaceOptions(**chosen)
    prepare_display(display)
    out = options.out or bundle.absolute().parent / f"{bundle.absolute().name}-space"
    names = write_space(bundle, out)
    if display.as_json:
        show_json({"schema": 1, "out": str(out), "files": names})
    else:
        show(f"Space: {out} ({', '.join(names)}); its README.md says what else it needs")


command = command_of(
    "space",
    space,
    SpaceOptions,
    arguments=[BUNDLE],
    examples=(
        "headstart space runs/flowers",
        "headstart space runs/flowers --out flowers-space",
        "headstart space runs/flowers/bundle --json",
    ),
)
