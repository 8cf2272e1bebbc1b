"""`headstart fit`: fit a classifier and write its folder."""

from __future__ import annotations

from functools import partial
from typing import Any

from headstart.cli.command import DATA, DisplayOptions, PageOptions, command_of, run_command
from headstart.run.options import FitOptions


def fit(data: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Fit a classifier and write its folder."""
    from headstart.fitting.fit import run_fit
    from headstart.fitting.result import write_out

    run_command("fit", FitOptions, chosen, display, partial(run_fit, data), write_out)


command = command_of(
    "fit",
    fit,
    FitOptions,
    arguments=[DATA],
    shown=PageOptions,
    examples=(
        "headstart fit photos/",
        "headstart fit photos.zip --source timm:resnet50 --budget 10m --out flowers",
        "headstart fit reviews.csv --text-column review --label-column stars",
    ),
)
