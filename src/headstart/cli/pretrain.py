"""`headstart pretrain`: train a source of your own."""

from __future__ import annotations

from functools import partial
from typing import Any

from headstart.cli.command import DATA, DisplayOptions, PageOptions, command_of, run_command
from headstart.pretraining.options import PretrainOptions


def pretrain(data: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Train a source and write its folder."""
    from headstart.pretraining.pretrain import run_pretrain, write_source

    run_command("pretrain", PretrainOptions, chosen, display, partial(run_pretrain, data), write_source)


command = command_of(
    "pretrain",
    pretrain,
    PretrainOptions,
    arguments=[DATA],
    shown=PageOptions,
    examples=(
        "headstart pretrain big/ --arch arch:resnet9 --budget 45m --out birds",
        "headstart pretrain big.parquet --arch timm:resnet18 --size 64 --epochs 20",
        "headstart pretrain sounds/ --arch arch:resnet9 --seconds 2",
    ),
)
