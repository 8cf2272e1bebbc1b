"""`headstart compare`: measure what a source is worth."""

from __future__ import annotations

from functools import partial
from typing import Any

from headstart.cli.command import DATA, DisplayOptions, PageOptions, command_of, run_command
from headstart.comparison.options import CompareOptions


def compare(data: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Compare a source, or several one after the other, with training from scratch, and write the folder."""
    from headstart.comparison.compare import run_compare, run_several, write_several
    from headstart.comparison.result import write_comparison

    sources = list(dict.fromkeys(chosen.get("source", ())))
    if len(sources) > 1:
        chosen = {**chosen, "source": None}
        work = partial(run_several, data, sources, compare=run_compare)
        run_command("compare", CompareOptions, chosen, display, work, write_several)
    else:
        chosen = {**chosen, "source": sources[0] if sources else None}
        run_command("compare", CompareOptions, chosen, display, partial(run_compare, data), write_comparison)


command = command_of(
    "compare",
    compare,
    CompareOptions,
    arguments=[DATA],
    shown=PageOptions,
    examples=(
        "headstart compare photos/ --budget 20m",
        "headstart compare photos/ --source timm:resnet18 --labels-per-class 5,20,all",
        "headstart compare texts.csv --source packaged:minilm --source words:glove.txt",
    ),
)
