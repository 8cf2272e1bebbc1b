"""`headstart predict`: classes and probabilities as lines, as CSV or as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from headstart.base.errors import UsageError, one_line
from headstart.base.progress import Progress
from headstart.cli.command import BUNDLE, DisplayOptions, command_of, prepare_display
from headstart.cli.messages import show, show_json
from headstart.data.modality import MODALITIES
from headstart.run.option_model import flag, option
from headstart.run.options import ClusterOptions, LinkOptions, TableOptions

if TYPE_CHECKING:
    from headstart.data.dataset import Dataset
    from headstart.data.modality import Kind
    from headstart.judge.prediction import Predictions
    from headstart.model import Model


STANDARD_INPUT = "-"
NAME = "name files, or for a model of texts give --text TEXT"
TEXT_SHOWN = 60  # characters of a text
SOME_SKIPPED = 3
"""The exit code of a strict prediction of which some inputs could not be used."""


class PredictOptions(ClusterOptions, TableOptions, LinkOptions):
    """The options of `predict`."""

    out: Path | None = option(None, "Output", "FILE")
    """The file for the predictions: CSV, or .tsv, .jsonl or .parquet by its suffix. It has a row for each file, and for
    each row of a table with all of its columns. By default the predictions are printed, a line each."""
    text: tuple[str, ...] | None = option(None, "Data", "TEXT", several=True)
    """A text to classify, in place of INPUT; given again, several. By default texts are read from INPUT."""
    every_class: bool = flag("Output", flag="--all")
    """Give the probability of every class. By default that of the predicted class alone is given."""
    json_lines: bool = flag("Output", flag="--jsonl")
    """Print a JSON object a line, each as soon as it is predicted. With - as INPUT, lines of standard input may be JSON
    objects with path, text or data (base64); whatever else they hold is given back. By default a line for people is
    printed for each input."""
    nearest: int | None = option(None, "Output", "N", least=1)
    """Name the N training examples that are nearest to each input, with their classes and the cosine of their features.
    They stand beside the bundle in the output folder of the fit. By default none is named."""
    batch_size: int = option(1024, "Run", "N", least=1)
    """How many inputs are predicted and written together. The default is 1024."""
    strict: bool = flag("Run")
    """End with exit code 3 where an input cannot be used. By default it is skipped and named, and the code is 0."""


def predict(bundle: Path, inputs: list[str] | None, chosen: dict[str, Any], display: DisplayOptions) -> None:
    """Predict the class of every input, and print the predictions or write them as a table."""
    from headstart.cli.predict_blocks import OutFile, from_stream, show_lines, writes_blocks
    from headstart.engines.conversion_process import NetworkOrigin
    from headstart.scale.ray_cluster import features_on

    options = PredictOptions(**chosen)
    shape: dict[str, Any] = {"every_class": options.every_class, "size": options.batch_size}
    check_out_file(options.out)
    progress = prepare_display(display)
    if options.json_lines and options.out is None and inputs == [STANDARD_INPUT] and not options.text:
        if options.cluster is not None:
            raise UsageError("a stream must be predicted by this process", "--cluster", "leave it out, or name files")
        if options.nearest:
            raise UsageError("--nearest needs files", "a stream with --jsonl", "name files, or leave out --jsonl")
        skipped = from_stream(bundle, sys.stdin, progress, engine=options.engine, **shape)
    else:
        shape["nearest"] = options.nearest or 0
        model, dataset, shown = open_inputs_of(bundle, inputs or [], options)
        folder = str(bundle.absolute()) if bundle.exists() else str(bundle)
        origin = NetworkOrigin("headstart.model:source_of", {"folder": folder})
        with features_on(options.cluster, options.shards, [(model.source, origin)]):
            if options.out is not None and writes_blocks(options.out) and not display.as_json:
                skipped = OutFile(options.out, model, dataset, **shape).write(progress)
            elif options.json_lines and options.out is None:
                skipped = show_lines(model, dataset, progress, **shape)
            else:
                skipped = _show_all(bundle, model, dataset, options, display, progress, texts=shown)
    if options.out is not None and not display.as_json:
        show(f"Predictions: {options.out}")
    if skipped and options.strict:
        raise typer.Exit(SOME_SKIPPED)


def check_out_file(out: Path | None) -> None:
    """Raise UsageError unless a file for predictions can be written."""
    from headstart.base.disk import check_writable

    if out is not None:
        if out.is_dir():
            raise UsageError("--out must be the path of a CSV file", f"the folder {out}", f"give {out / 'preds.csv'}")
        check_writable(out.absolute().parent, what="the folder of --out")


def open_inputs_of(bundle: Path, inputs: Sequence[str], options: PredictOptions) -> tuple[Model, Dataset, bool]:
    """Return the model of a bundle, what it is to predict, and whether the texts themselves are to be shown.

    UsageError: the bundle or an input cannot be used.
    """
    from headstart.model import load

    model = load(bundle, engine=options.engine)
    reading: dict[str, Any] = {"columns": options.column_names, "remembered": model.data.columns}
    reading |= {"root": options.root, "follow_links": options.follow_links, "ranges": model.data.value_ranges}
    dataset = _opened(inputs, options.text or (), model.source.info.kind, reading)
    return model, dataset, dataset.kind == "text" and options.out is None


def predict_inputs(
    bundle: Path, inputs: Sequence[str], options: PredictOptions, progress: Progress
) -> tuple[Model, Predictions]:
    """Load a bundle and predict the class of every input, and of `texts`, all of which are returned at once.

    The input `-` is what standard input holds: a path, or for a model of texts a text, in each line.

    UsageError: the bundle or an input cannot be used, or no input could be read.
    """
    model, dataset, shown = open_inputs_of(bundle, inputs, options)
    return model, _predicted(model, dataset, options, progress, texts=shown)


def _predicted(
    model: Model, dataset: Dataset, options: PredictOptions, progress: Progress, *, texts: bool
) -> Predictions:
    import numpy as np

    from headstart.cli.predicted_table import check_some
    from headstart.data.dataset import TableRows

    nearest = options.nearest or 0
    parts = list(model.predict_blocks(dataset, size=options.batch_size, nearest=nearest, progress=progress))
    predictions = replace(
        parts[0],
        ids=tuple(name for part in parts for name in part.ids),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        skipped=tuple(skip for part in parts for skip in part.skipped),
        ignored=dataset.ignored,
        rows=dataset.table or TableRows({}),
        novelty=None if parts[0].novelty is None else np.concatenate([part.novelty for part in parts]),
        nearest=tuple(near for part in parts for near in part.nearest or ()) if options.nearest else None,
    )
    for skip in predictions.skipped:
        progress.say(f"Skipped {skip.id}: {skip.reason}")
    check_some(len(predictions.ids), predictions.skipped, dataset)
    return replace(predictions, texts=_texts_of(dataset, predictions.ids)) if texts else predictions


def _show_all(
    bundle: Path,
    model: Model,
    dataset: Dataset,
    options: PredictOptions,
    display: DisplayOptions,
    progress: Progress,
    *,
    texts: bool,
) -> int:
    """Print all predictions, or write them into one file, and return how many inputs were skipped."""
    from headstart.base.disk import write_atomic
    from headstart.cli.predicted_table import predicted_columns, write_predicted

    predictions = _predicted(model, dataset, options, progress, texts=texts)
    if options.out is not None:
        added = predicted_columns(model, predictions, every_class=options.every_class)
        write_atomic(options.out, write_predicted(predictions.rows, added, options.out))
    if display.as_json:
        show_json(as_json_object(model, predictions, bundle=bundle, every_class=options.every_class))
    elif options.out is None:
        print("\n".join(as_lines(model, predictions, every_class=options.every_class)))
    return len(predictions.skipped)


def _opened(inputs: Sequence[str], texts: Sequence[str], kind: Kind, reading: dict[str, Any]) -> Dataset:
    """Return the examples of files, of texts, or of the lines of standard input.

    UsageError: there is none, or there are files and texts; or texts for a model that reads none.
    """
    from headstart.data.readers.arrays.in_memory import from_items
    from headstart.data.readers.inputs import Input, joined
    from headstart.scale.remote import open_inputs_anywhere

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
    if texts:
        return joined([Input(Path("texts"), Path(), from_items(texts, kind=kind, name="texts"))])
    return open_inputs_anywhere(files, kind=kind, **reading)


def _texts_of(dataset: Dataset, ids: Sequence[str]) -> tuple[str, ...]:
    """Return the text of each example."""
    from headstart.data.text import texts_at

    place = {example.id: position for position, example in enumerate(dataset.examples)}
    return tuple(texts_at(dataset, [place[name] for name in ids]))


def as_lines(model: Model, predictions: Predictions, *, every_class: bool) -> Iterator[str]:
    """Yield one line an input: its name, its class, the probability; below it one for each near training example."""
    from headstart.cli.predicted_table import rows_of
    from headstart.judge.novelty import THRESHOLD

    texts = [one_line(" ".join(text.split()), TEXT_SHOWN) for text in predictions.texts or ()]
    names = texts or [one_line(name) for name in predictions.ids]
    wide = max(map(len, names))
    near = predictions.nearest or ((),) * len(names)
    for shown, (_, label, probability, row, novelty), neighbours in zip(
        names, rows_of(model, predictions), near, strict=True
    ):
        line = f"{shown:<{wide}}  {one_line(label)}  {probability:.3f}"
        line += "  unlike the training data" if novelty is not None and novelty > THRESHOLD else ""
        if every_class:
            each = zip(model.classes, row, strict=True)
            line += "  (" + ", ".join(f"{one_line(name)} {value:.3f}" for name, value in each) + ")"
        yield line
        for near_by in neighbours:
            yield f"    near {near_by.similarity:.3f}  {one_line(near_by.label)}  {one_line(near_by.name)}"


def as_json_object(model: Model, predictions: Predictions, *, bundle: Path, every_class: bool) -> dict[str, Any]:
    """Return the predictions as one plain object."""
    from headstart.cli.predicted_table import as_objects

    return {
        "schema": 1,
        "task": MODALITIES[model.source.info.kind].task,
        "bundle": str(bundle),
        "predictions": list(as_objects(model, predictions, every_class=every_class)),
        "ignored": predictions.ignored,
        "skipped": [{"path": skip.id, "reason": skip.reason} for skip in predictions.skipped],
    }


command = command_of(
    "predict",
    predict,
    PredictOptions,
    arguments=[
        BUNDLE,
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
        "headstart predict runs/flowers - --jsonl < paths.txt",
    ),
)
