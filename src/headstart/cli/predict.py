"""`headstart predict`: classes and probabilities as lines, as CSV or as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.errors import UsageError, list_some, one_line
from headstart.base.progress import Progress
from headstart.cli.command import DisplayOptions, command_of, prepare_display
from headstart.cli.messages import show, show_json
from headstart.data.modality import MODALITIES
from headstart.run.option_model import flag, option
from headstart.run.options import EngineOptions, LinkOptions, TableOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headstart.data.dataset import Dataset
    from headstart.data.modality import Kind
    from headstart.data.readers.tables.table import ColumnNames
    from headstart.model import Model, Predictions


STANDARD_INPUT = "-"
NAME = "name files, or for a model of texts give --text TEXT"
TEXT_SHOWN = 60  # characters of a text


class PredictOptions(EngineOptions, TableOptions, LinkOptions):
    """The options of `predict`."""

    out: Path | None = option(None, "Output", "FILE")
    """The file for the predictions: CSV, or .tsv, .jsonl or .parquet by its suffix. It has a row for each file, and for
    each row of a table with all of its columns. By default the predictions are printed, a line each."""
    text: tuple[str, ...] | None = option(None, "Data", "TEXT", several=True)
    """A text to classify, in place of INPUT; given again, several. By default texts are read from INPUT."""
    every_class: bool = flag("Output", flag="--all")
    """Give the probability of every class. By default that of the predicted class alone is given."""


def predict(bundle: Path, inputs: list[str] | None, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Predict the class of every input, and print the predictions or write them as CSV."""
    from headstart.base.disk import write_atomic
    from headstart.cli.predicted_table import predicted_columns, write_predicted

    options = PredictOptions(**chosen)
    model, predictions = predict_inputs(
        bundle,
        inputs or [],
        texts=options.text or (),
        engine=options.engine,
        out=options.out,
        progress=prepare_display(display),
        columns=options.column_names,
        root=options.root,
        follow_links=options.follow_links,
    )
    if options.out is not None:
        added = predicted_columns(model, predictions, every_class=options.every_class)
        write_atomic(options.out, write_predicted(predictions.rows, added, options.out))
    if display.as_json:
        show_json(as_json_object(model, predictions, bundle=bundle, every_class=options.every_class))
    elif options.out is None:
        print("\n".join(as_lines(model, predictions, every_class=options.every_class)))
    else:
        show(f"Predictions: {options.out}")


def predict_inputs(
    bundle: Path,
    inputs: Sequence[str],
    *,
    texts: Sequence[str] = (),
    engine: str,
    out: Path | None,
    progress: Progress,
    columns: ColumnNames | None = None,
    root: Path | None = None,
    follow_links: bool = False,
) -> tuple[Model, Predictions]:
    """Load a bundle and predict the class of every input, and of `texts`.

    The input `-` is what standard input holds: a path, or for a model of texts a text, in each line.

    UsageError: the bundle or an input cannot be used, no input could be read, or `out` cannot be written.
    """
    from headstart.base.disk import check_writable
    from headstart.model import load

    if out is not None:
        if out.is_dir():
            raise UsageError("--out must be the path of a CSV file", f"the folder {out}", f"give {out / 'preds.csv'}")
        check_writable(out.absolute().parent, what="the folder of --out")
    model = load(bundle, engine=engine)
    modality = MODALITIES[model.source.info.kind]
    reading = {"columns": columns, "remembered": model.data.columns, "root": root, "follow_links": follow_links}
    dataset = _opened(inputs, texts, modality.kind, reading)
    predictions = model.predict_dataset(dataset, progress=progress)
    if modality.kind == "text" and out is None:
        predictions = replace(predictions, texts=_texts_of(dataset, predictions.ids))
    for skip in predictions.skipped:
        progress.say(f"Skipped {skip.id}: {skip.reason}")
    if not predictions.ids:
        reasons = list_some([f"{skip.id}: {skip.reason}" for skip in predictions.skipped], separator="; ")
        raise UsageError(
            f"INPUT must hold some {modality.plural} that can be read", reasons or "none", "give other inputs"
        )
    return model, predictions


def _opened(inputs: Sequence[str], texts: Sequence[str], kind: Kind, reading: dict[str, Any]) -> Dataset:
    """Return the examples of files, of texts, or of the lines of standard input.

    UsageError: there is none, or there are files and texts; or texts for a model that reads none.
    """
    from headstart.data.readers.arrays.in_memory import from_items
    from headstart.data.readers.open import open_inputs

    lines = [line for line in sys.stdin.read().splitlines() if line.strip()] if STANDARD_INPUT in inputs else []
    files = [path for path in inputs if path != STANDARD_INPUT]
    if kind == "text":
        texts = [*texts, *lines]
    elif texts:
        raise UsageError(f"--text needs a model of texts, and this one reads {MODALITIES[kind].plural}", "--text", NAME)
    else:
        files += lines
    if texts and files:
        raise UsageError(
            "a prediction must be of files or of texts", f"{len(texts)} texts, {files[0]}", "give one kind"
        )
    if not texts and not files:
        raise UsageError("INPUT must name something", "none, or an empty standard input", NAME)
    return from_items(texts, kind=kind, name="texts") if texts else open_inputs(files, kind=kind, **reading)


def _texts_of(dataset: Dataset, ids: Sequence[str]) -> tuple[str, ...]:
    """Return the text of each example."""
    from headstart.data.text import texts_at

    place = {example.id: position for position, example in enumerate(dataset.examples)}
    return tuple(texts_at(dataset, [place[name] for name in ids]))


def _rows(
    model: Model, predictions: Predictions
) -> Iterator[tuple[str, str, float, NDArray[np.float32], float | None]]:
    """Yield input, class, its probability, all probabilities, and how unlike the training data it is."""
    novelty = predictions.novelty
    for place, (name, row) in enumerate(zip(predictions.ids, predictions.probabilities, strict=True)):
        best = int(row.argmax())
        yield name, model.classes[best], float(row[best]), row, None if novelty is None else float(novelty[place])


def as_lines(model: Model, predictions: Predictions, *, every_class: bool) -> Iterator[str]:
    """Yield one line an input: its name, its class, the probability."""
    texts = [one_line(" ".join(text.split()), TEXT_SHOWN) for text in predictions.texts or ()]
    names = texts or [one_line(name) for name in predictions.ids]
    wide = max(map(len, names))
    for shown, (_, label, probability, row, novelty) in zip(names, _rows(model, predictions), strict=True):
        line = f"{shown:<{wide}}  {one_line(label)}  {probability:.3f}"
        line += "  unlike the training data" if novelty is not None and novelty > 1 else ""
        if every_class:
            each = zip(model.classes, row, strict=True)
            line += "  (" + ", ".join(f"{one_line(name)} {value:.3f}" for name, value in each) + ")"
        yield line


def as_json_object(model: Model, predictions: Predictions, *, bundle: Path, every_class: bool) -> dict[str, Any]:
    """Return the predictions as one plain object."""
    shown = []
    for name, label, probability, row, novelty in _rows(model, predictions):
        prediction: dict[str, Any] = {"path": name, "label": label, "probability": round(probability, 6)}
        if novelty is not None:
            prediction |= {"novelty": round(novelty, 4), "unlike": novelty > 1}
        if every_class:
            each = zip(model.classes, row, strict=True)
            prediction["probabilities"] = {label: round(float(value), 6) for label, value in each}
        shown.append(prediction)
    for prediction, text in zip(shown, predictions.texts or (), strict=False):
        prediction["text"] = text
    return {
        "schema": 1,
        "task": MODALITIES[model.source.info.kind].task,
        "bundle": str(bundle),
        "predictions": shown,
        "ignored": predictions.ignored,
        "skipped": [{"path": skip.id, "reason": skip.reason} for skip in predictions.skipped],
    }


command = command_of(
    "predict",
    predict,
    PredictOptions,
    arguments=[
        ("bundle", Path, "BUNDLE", "The folder that fit wrote: OUT/bundle, or OUT itself."),
        (
            "inputs",
            list[str] | None,
            "[INPUT...]",
            "Photos, texts or recordings: files, folders, archives or tables; - for a path, or a text, in each line of "
            "standard input.",
        ),
    ],
    examples=(
        "headstart predict runs/flowers/bundle new-photos/ --out predictions.csv",
        "headstart predict runs/reviews new.csv --text-column review --all --json",
        'headstart predict runs/reviews --text "What a film"',
    ),
)
