"""`headstart rank`: measure which source is worth most."""

from __future__ import annotations

from functools import partial
from typing import Any

from headstart.cli.command import DATA, DisplayOptions, PageOptions, command_of, run_command
from headstart.ranking.options import RankOptions


def rank(data: str, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Rank sources and write the folder."""
    from headstart.ranking.rank import run_rank
    from headstart.ranking.result import write_ranking

    run_command("rank", RankOptions, chosen, display, partial(run_rank, data), write_ranking)


command = command_of(
    "rank",
    rank,
    RankOptions,
    arguments=[DATA],
    shown=PageOptions,
    examples=(
        "headstart rank photos/",
        "headstart rank photos/ --source timm:resnet50 --source timm:vgg16",
        "headstart rank texts.csv --scores --budget 2m",
    ),
)
