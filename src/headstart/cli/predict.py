"""`headstart predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headstart.cli.command import DisplayOptions, command_of
from headstart.cli.messages import show
from headstart.run.option_model import flag, option
from headstart.run.options import EngineOptions, TableOptions


class PredictOptions(EngineOptions, TableOptions):
    """The options of `predict`."""

    out: Path | None = option(None, "Output", "FILE")
    """The CSV file for the predictions. By default they are printed, a line each."""
    every_class: bool = flag("Output", flag="--all")
    """Give the probability of every class. By default that of the predicted class alone is given."""


def predict(bundle: Path, inputs: list[str], chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Predict the class of every input, and print the predictions or write them as CSV."""
    from headstart.base.disk import write_atomic
    from headstart.cli.predictions import as_csv, as_json_object, as_lines, predict_inputs
    from headstart.cli.running import prepare_display

    options = PredictOptions(**chosen)
    predictions = predict_inputs(
        bundle,
        inputs,
        engine=options.engine,
        out=options.out,
        progress=prepare_display(display),
        columns=options.column_names,
    )
    if options.out is not None:
        text = as_csv(predictions, every_class=options.every_class)
        write_atomic(options.out, text.encode("utf-8", "backslashreplace"))
    if display.as_json:
        print(json.dumps(as_json_object(predictions, every_class=options.every_class)))
    elif options.out is None:
        print("\n".join(as_lines(predictions, every_class=options.every_class)))
    else:
        show(f"Predictions: {options.out}")


command = command_of(
    "predict",
    predict,
    PredictOptions,
    arguments=[
        ("bundle", Path, "BUNDLE", "The folder that fit wrote: OUT/bundle, or OUT itself."),
        ("inputs", list[str], "INPUT...", "Photos, texts or recordings: files, folders, archives or tables."),
    ],
    examples=(
        "headstart predict runs/flowers photo.jpg",
        "headstart predict runs/flowers/bundle new-photos/ --out predictions.csv",
        "headstart predict runs/reviews new.csv --text-column review --all --json",
    ),
)
