"""`headstart fit`."""

from __future__ import annotations

from typing import Any

from headstart.cli.command import DisplayOptions, command_of
from headstart.run.options import FitOptions

DATA = (
    "data",
    str,
    "DATA",
    "A folder of class folders, a .zip or .tar of one, or a table (.csv, .tsv, .jsonl, .parquet).",
)


def fit(data: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Fit a classifier and write its folder."""
    from headstart.cli.running import run_command
    from headstart.fitting.fit import run_fit
    from headstart.fitting.result import write_out
    from headstart.run.folder import new_out

    out = chosen.get("out") or new_out("fit")
    options = FitOptions(**{**chosen, "out": out})
    run_command(out, display, lambda progress: run_fit(data, options, progress), write_out, resume=options.resume)


command = command_of(
    "fit",
    fit,
    FitOptions,
    arguments=[DATA],
    examples=(
        "headstart fit photos/",
        "headstart fit photos.zip --source timm:resnet50 --budget 10m --out flowers",
        "headstart fit reviews.csv --text-column review --label-column stars",
    ),
)
