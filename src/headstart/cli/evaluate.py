"""`headstart evaluate`: measure a bundle on new labelled data."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from headstart.cli.command import BUNDLE, DATA, DisplayOptions, PageOptions, command_of, run_command
from headstart.evaluating.options import EvaluateOptions


def evaluate(bundle: Path, data: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Measure a bundle, or the difference of two, and write the folder."""
    from headstart.evaluating.evaluate import run_evaluate, write_evaluation

    run_command("evaluate", EvaluateOptions, chosen, display, partial(run_evaluate, bundle, data), write_evaluation)


command = command_of(
    "evaluate",
    evaluate,
    EvaluateOptions,
    arguments=[BUNDLE, DATA],
    shown=PageOptions,
    examples=(
        "headstart evaluate runs/flowers new-photos/",
        "headstart evaluate runs/flowers new-photos.zip --against runs/flowers-before",
        "headstart evaluate runs/reviews new.csv --json",
    ),
)
