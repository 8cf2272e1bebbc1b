"""Options that several commands of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Engine = Annotated[str, typer.Option(help="What runs the network: auto, torch (f32) or openvino.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object; show nothing else.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
Weights = Annotated[str, typer.Option(help="pretrained, none (random), or the path of a checkpoint.")]
Arch = Annotated[str | None, typer.Option(help="URI of the architecture of a bare checkpoint (file:PATH).")]
TextColumn = Annotated[str | None, typer.Option(help="Name of a table's column of texts.")]
Long = Annotated[str, typer.Option(help="Of texts longer than the source reads: cut, or chunks.")]
DropLeaks = Annotated[
    bool, typer.Option("--drop-leaks", help="Leave out training examples that a given test part holds.")
]
Out = Annotated[Path | None, typer.Option(help="Folder for the results. [default: a new one under runs/]")]
LabelColumn = Annotated[str | None, typer.Option(help="Name of a table's column of labels.")]
Layer = Annotated[str, typer.Option(help="Where features are taken: auto, pool, joined, or stages.")]
Root = Annotated[Path | None, typer.Option(help="Folder that paths in a table may point into.")]
AllowBad = Annotated[bool, typer.Option("--allow-bad", help="Go on with much broken data.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the stopped run in --out.")]
TensorBoard = Annotated[Path | None, typer.Option(help="Write TensorBoard's files here.")]
Track = Annotated[str | None, typer.Option(help="Tell mlflow or wandb.")]
