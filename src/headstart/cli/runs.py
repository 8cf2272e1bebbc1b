"""`headstart fit`, `compare` and `pretrain`: the commands that read labelled data and write a folder."""

from __future__ import annotations

from functools import partial
from typing import Any

from headstart.cli.command import DisplayOptions, command_of, run_command
from headstart.comparison.options import CompareOptions
from headstart.pretraining.options import PretrainOptions
from headstart.run.options import FitOptions

DATA = (
    "data",
    str,
    "DATA",
    "A folder of class folders, a .zip or .tar of one, or a table (.csv, .tsv, .jsonl, .parquet).",
)


def fit(data: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Fit a classifier and write its folder."""
    from headstart.fitting.fit import run_fit
    from headstart.fitting.result import write_out

    run_command("fit", FitOptions, chosen, display, partial(run_fit, data), write_out)


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


def pretrain(data: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Train a source and write its folder."""
    from headstart.pretraining.pretrain import run_pretrain, write_source

    run_command("pretrain", PretrainOptions, chosen, display, partial(run_pretrain, data), write_source)


COMMANDS = {
    "fit": command_of(
        "fit",
        fit,
        FitOptions,
        arguments=[DATA],
        examples=(
            "headstart fit photos/",
            "headstart fit photos.zip --source timm:resnet50 --budget 10m --out flowers",
            "headstart fit reviews.csv --text-column review --label-column stars",
        ),
    ),
    "compare": command_of(
        "compare",
        compare,
        CompareOptions,
        arguments=[DATA],
        examples=(
            "headstart compare photos/ --budget 20m",
            "headstart compare photos/ --source timm:resnet18 --labels-per-class 5,20,all",
            "headstart compare texts.csv --source packaged:minilm --source words:glove.txt",
        ),
    ),
    "pretrain": command_of(
        "pretrain",
        pretrain,
        PretrainOptions,
        arguments=[DATA],
        examples=(
            "headstart pretrain big/ --arch arch:resnet9 --budget 45m --out birds",
            "headstart pretrain big.parquet --arch timm:resnet18 --size 64 --epochs 20",
            "headstart pretrain sounds/ --arch arch:resnet9 --seconds 2",
        ),
    ),
}
