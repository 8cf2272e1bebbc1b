"""`headstart compare`."""

from __future__ import annotations

from functools import partial
from typing import Any

from headstart.cli.command import DisplayOptions, command_of
from headstart.cli.fit import DATA
from headstart.comparison.options import CompareOptions


def compare(data: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Compare a source, or several one after the other, with training from scratch, and write the folder."""
    from headstart.cli.running import run_command
    from headstart.comparison.compare import run_compare, run_several, write_several
    from headstart.comparison.result import write_comparison
    from headstart.run.folder import new_out

    out, sources = chosen.get("out") or new_out("compare"), list(dict.fromkeys(chosen.get("source", ())))
    options = CompareOptions(**{**chosen, "out": out, "source": sources[0] if len(sources) == 1 else None})
    if len(sources) > 1:
        work = partial(run_several, data, options, sources)
        run_command(out, display, work, write_several, resume=options.resume)
    else:
        run_command(out, display, partial(run_compare, data, options), write_comparison, resume=options.resume)


command = command_of(
    "compare",
    compare,
    CompareOptions,
    arguments=[DATA],
    examples=(
        "headstart compare photos/ --budget 20m",
        "headstart compare photos/ --source timm:resnet18 --labels-per-class 5,20,all",
        "headstart compare texts.csv --source packaged:minilm --source words:glove.txt",
    ),
)
