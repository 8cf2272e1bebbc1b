"""`headstart demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from headstart.cli.command import DisplayOptions, command_of
from headstart.cli.messages import show
from headstart.run.option_model import Options, option
from headstart.run.options import FitOptions


class DemoOptions(Options):
    """The options of `demo`."""

    out: Path | None = option(None, "Output", "DIR")
    """The folder for the results. The default is a new folder under runs/."""
    seed: int = option(0, "Run", "N")
    """The seed of the places of the patches and of fit. The default is 0."""


def demo(chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Fit a classifier that names a surface from a small patch of a photograph."""
    from headstart.cli.demo_data import write_surfaces
    from headstart.cli.running import run_command
    from headstart.fitting.fit import run_fit
    from headstart.fitting.result import write_out
    from headstart.run.folder import new_out

    options = DemoOptions(**chosen)
    out = options.out or new_out("demo")
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        photos = write_surfaces(Path(folder) / "surfaces", seed=options.seed)
        run_command(
            out,
            display,
            lambda progress: run_fit(photos, FitOptions(seed=options.seed), progress),
            write_out,
        )
    if not display.as_json:
        show("To fit your own photos, one folder per class:  headstart fit YOUR_FOLDER")


command = command_of(
    "demo",
    demo,
    DemoOptions,
    examples=("headstart demo", "headstart demo --out runs/surfaces", "headstart demo --json"),
)
