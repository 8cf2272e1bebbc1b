"""The command line: options in, exit codes out; the work is done elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from headstart import __version__
from headstart.base.errors import HeadstartError, one_line
from headstart.base.progress import Progress, progress_for
from headstart.cli import options as given

DONE, BUG, USAGE, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="headstart",
    help="Transfer learning that proves its worth: a good classifier from a few labelled photos, texts or recordings.",
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def fit(
    data: Annotated[str, typer.Argument(help="Folder of class folders, .zip, .tar, .csv, .tsv, .jsonl or .parquet.")],
    source: Annotated[
        str | None,
        typer.Option(help="URI of the pretrained network.  [default: by the kind of data]"),
    ] = None,
    weights: given.Weights = "pretrained",
    arch: given.Arch = None,
    layer: given.Layer = "auto",
    tune: Annotated[
        str | None,
        typer.Option(help="Which source weights also learn: none, norm, lora, last:N, all or auto.  [default: none]"),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time for tuning, such as 10m; alone it means --tune auto.")
    ] = None,
    size: Annotated[
        int, typer.Option(help="Input size in pixels: of a keras: source, else to tune at; 0: its own.")
    ] = 0,
    epochs: Annotated[int, typer.Option(help="Of tuning, at most.")] = 10,
    rate: Annotated[float, typer.Option(help="Learning rate of tuning; 0: that of its mode.")] = 0.0,
    batch: Annotated[int, typer.Option(help="Examples a step of tuning.")] = 32,
    augment: Annotated[str, typer.Option(help="How views vary: none, light or strong.")] = "light",
    views: Annotated[int, typer.Option(help="Of each example, where activations are kept.")] = 4,
    batchnorm: Annotated[str, typer.Option(help="keep the running statistics, or train them.")] = "keep",
    mixup: Annotated[float, typer.Option(help="Alpha of mixup; 0: none.")] = 0.0,
    smoothing: Annotated[float, typer.Option(help="Of labels; 0: none.")] = 0.0,
    patience: Annotated[int, typer.Option(help="Epochs without a gain, after which tuning stops.")] = 5,
    tensorboard: given.TensorBoard = None,
    track: given.Track = None,
    resume: given.Resume = False,
    labels_per_class: Annotated[int | None, typer.Option(help="Train on so many labels of each class.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split, the folds and the intervals.")] = 0,
    out: given.Out = None,
    engine: given.Engine = "auto",
    root: given.Root = None,
    text_column: given.TextColumn = None,
    label_column: given.LabelColumn = None,
    long: given.Long = "cut",
    drop_leaks: given.DropLeaks = False,
    allow_bad: given.AllowBad = False,
    offline: given.Offline = False,
    as_json: given.Json = False,
) -> None:
    """Fit a classifier on labelled photos or texts, and report what it is worth."""
    from headstart.fitting.fit import FitOptions, run_fit, settings_for
    from headstart.run.folder import CHECKPOINTS, new_out
    from headstart.tune.settings import Settings

    sized = (arch or source or "").startswith("keras:")
    settings = Settings(
        size=None if sized else size or None,
        epochs=epochs,
        learning_rate=rate or None,
        batch_size=batch,
        augment=augment,
        augmented_views=views,
        batchnorm=batchnorm,
        mixup=mixup,
        label_smoothing=smoothing,
        patience=patience,
        tensorboard=tensorboard,
        track=track,
    )
    out = out if out is not None else new_out("fit")
    options = FitOptions(
        source=source,
        weights=weights,
        arch=arch,
        size=size if sized and size else None,
        layer=layer,
        tuning=settings_for(tune, budget, settings),
        seed=seed,
        labels_per_class=labels_per_class,
        engine=engine,
        allow_bad=allow_bad,
        root=root,
        columns=_columns(text_column, label_column),
        long=long,
        drop_leaks=drop_leaks,
        checkpoints=out / CHECKPOINTS,
    )
    _offline(offline)
    _run("fit", out, as_json, lambda progress: run_fit(data, options, progress), resume=resume)


@app.command()
def compare(
    data: Annotated[str, typer.Argument(help="In any form that fit takes.")],
    source: Annotated[
        list[str] | None,
        typer.Option(help="URI of the pretrained network; several share the budget.  [default: by the kind of data]"),
    ] = None,
    weights: given.Weights = "pretrained",
    arch: given.Arch = None,
    labels_per_class: Annotated[
        str | None,
        typer.Option(help="Numbers of labels to learn from, such as 5,10,all.  [default: 5,10,20,all, if there]"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Splits, draws of labels and initial weights.")] = 5,
    budget: Annotated[str, typer.Option(help="Time in all, such as 10m.")] = "10m",
    tune: Annotated[
        str, typer.Option(help="What the tuned arm tunes: none (no such arm), norm, lora, last:N, all or auto.")
    ] = "auto",
    layer: given.Layer = "auto",
    seed: Annotated[int, typer.Option(help="The first one.")] = 0,
    out: given.Out = None,
    engine: given.Engine = "auto",
    root: given.Root = None,
    text_column: given.TextColumn = None,
    label_column: given.LabelColumn = None,
    long: given.Long = "cut",
    drop_leaks: given.DropLeaks = False,
    tensorboard: given.TensorBoard = None,
    resume: given.Resume = False,
    allow_bad: given.AllowBad = False,
    offline: given.Offline = False,
    as_json: given.Json = False,
) -> None:
    """Measure whether a source helps: against the same network from scratch, and against none."""
    from headstart.comparison.compare import run_compare
    from headstart.comparison.experiment import CompareOptions, numbers
    from headstart.comparison.multi_source import run_several, write_several
    from headstart.comparison.result import write_comparison
    from headstart.run.folder import CHECKPOINTS, new_out
    from headstart.tune.settings import parse_budget

    out = out if out is not None else new_out("compare")
    options = CompareOptions(
        source=source[0] if source else None,
        weights=weights,
        arch=arch,
        long=long,
        labels_per_class=numbers(labels_per_class.split(",")) if labels_per_class else (),
        seeds=seeds,
        budget=parse_budget(budget),
        tune=tune,
        layer=layer,
        seed=seed,
        engine=engine,
        allow_bad=allow_bad,
        root=root,
        columns=_columns(text_column, label_column),
        drop_leaks=drop_leaks,
        arms=out / CHECKPOINTS,
        tensorboard=tensorboard,
    )
    _offline(offline)
    several = list(dict.fromkeys(source or []))
    if len(several) > 1:
        work = partial(run_several, data, options, several, out=out, compare=run_compare)
        _run("compare", out, as_json, work, write=write_several, resume=resume)
    else:
        _run("compare", out, as_json, partial(run_compare, data, options), write=write_comparison, resume=resume)


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="The folder that fit wrote (OUT/bundle, or OUT).")],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Photos or texts: files, folders, archives or tables.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write a CSV here instead of lines on the screen.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Give the probability of every class.")] = False,
    engine: given.Engine = "auto",
    text_column: given.TextColumn = None,
    offline: given.Offline = False,
    as_json: given.Json = False,
) -> None:
    """Name the class of each photo or text, with its probability."""
    from headstart.cli.predictions import as_csv, as_json_object, as_lines, predict_inputs

    _offline(offline)
    predictions = predict_inputs(
        bundle,
        inputs,
        engine=engine,
        out=out,
        progress=progress_for(quiet=as_json),
        columns=_columns(text_column, None),
    )
    if out is not None:
        from headstart.base.atomic import write_atomic

        write_atomic(out, as_csv(predictions, everything=everything).encode("utf-8", "backslashreplace"))
    if as_json:
        print(json.dumps(as_json_object(predictions, everything=everything)))
    elif out is None:
        print("\n".join(as_lines(predictions, everything=everything)))
    else:
        print(f"Predictions: {out}")


@app.command()
def pretrain(
    data: Annotated[str, typer.Argument(help="A big related data set, in any form that fit takes.")],
    arch: Annotated[str, typer.Option(help="URI of the architecture, such as timm:resnet18 or arch:resnet9.")],
    size: Annotated[int, typer.Option(help="Of its input, in pixels (of recordings, mel bands); 0: its own.")] = 0,
    seconds: Annotated[float, typer.Option(help="Of a recording that are heard; 0: as the data ask.")] = 0.0,
    budget: Annotated[str | None, typer.Option(help="Time for training, such as 45m.")] = None,
    epochs: Annotated[int, typer.Option(help="At most.")] = 30,
    rate: Annotated[float, typer.Option(help="Learning rate; 0: the recipe's.")] = 0.0,
    batch: Annotated[int, typer.Option(help="Examples a step; 0: the recipe's.")] = 0,
    augment: Annotated[str, typer.Option(help="How examples vary: none or light.")] = "light",
    mirror: Annotated[bool | None, typer.Option("--mirror/--no-mirror", help="Mirrored pictures keep labels.")] = None,
    classes: Annotated[Path | None, typer.Option(help="A text file of the classes to take, one a line.")] = None,
    licence: Annotated[str, typer.Option(help="Of the weights, for the card.")] = "",
    fp16: Annotated[bool, typer.Option("--fp16", help="Store weights in half precision.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write it even if no better than the baselines.")] = False,
    push_to_hub: Annotated[str | None, typer.Option(metavar="ORG/NAME", help="Upload it to that repository.")] = None,
    tensorboard: given.TensorBoard = None,
    track: given.Track = None,
    resume: given.Resume = False,
    seed: Annotated[int, typer.Option(help="Of weights, split, order and intervals.")] = 0,
    out: given.Out = None,
    root: given.Root = None,
    allow_bad: given.AllowBad = False,
    offline: given.Offline = False,
    as_json: given.Json = False,
) -> None:
    """Train a source of your own from random weights, and prove that it beats naive baselines."""
    from headstart.pretraining.pretrain import run_pretrain, write_source
    from headstart.pretraining.result import PretrainOptions
    from headstart.run.folder import CHECKPOINTS, new_out
    from headstart.tune.settings import parse_budget

    out = out if out is not None else new_out("pretrain")
    options = PretrainOptions(
        arch=arch,
        size=size,
        seconds=seconds,
        budget=None if budget is None else parse_budget(budget),
        epochs=epochs,
        rate=rate,
        batch=batch,
        augment=augment,
        mirror=mirror,
        classes=classes,
        licence=licence,
        fp16=fp16,
        force=force,
        push_to_hub=push_to_hub,
        seed=seed,
        allow_bad=allow_bad,
        root=root,
        checkpoints=out / CHECKPOINTS,
        tensorboard=tensorboard,
        track=track,
    )
    _offline(offline)
    _run(
        "pretrain",
        out,
        as_json,
        lambda progress: run_pretrain(data, options, progress, out=out),
        write=write_source,
        resume=resume,
    )


@app.command()
def sources(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[URI | convert URI]", help="One source; or convert it, --to a folder."),
    ] = None,
    search: Annotated[str | None, typer.Option(help="Look through the names that the libraries know.")] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for a converted source.")] = None,
    weights: given.Weights = "pretrained",
    arch: given.Arch = None,
    size: Annotated[int | None, typer.Option(help="Input size of a keras: source, in pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Of random weights.")] = 0,
    offline: given.Offline = False,
    as_json: given.Json = False,
) -> None:
    """Show the sources that work here and now, one of them in full, or names."""
    from headstart.cli.source_table import as_rows, as_table, as_text, named

    _offline(offline)
    if search is not None:
        from headstart.sources.catalogue import search as names

        found = names(search)
        print(json.dumps(found) if as_json else "\n".join(found))
    elif words:
        info = named(words, to, weights=weights, arch=arch, size=size, seed=seed)
        print(json.dumps(info.as_dict()) if as_json else as_text(info))
    else:
        from headstart.sources.catalogue import listing

        rows = listing()
        width = shutil.get_terminal_size((100, 40)).columns
        print(json.dumps(as_rows(rows)) if as_json else as_table(rows, width))


@app.command()
def demo(
    out: given.Out = None,
    seed: Annotated[int, typer.Option(help="Places the patches.")] = 0,
    as_json: given.Json = False,
) -> None:
    """Run the main job on real photographs: name a surface from a small patch of it."""
    import tempfile

    from headstart.cli.demo_data import write_surfaces
    from headstart.fitting.fit import FitOptions, run_fit

    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        photos = write_surfaces(Path(folder) / "surfaces", seed=seed)
        _run("demo", out, as_json, lambda progress: run_fit(photos, FitOptions(seed=seed), progress))
    if not as_json:
        print("Your own photos, one folder per class:  headstart fit YOUR_FOLDER")


def _run(command: str, out: Path | None, as_json: bool, work: Any, *, write: Any = None, resume: bool = False) -> None:
    """Do the work of one command and leave its folder, its sentence and its path."""
    from headstart.fitting.result import write_out
    from headstart.run.folder import CHECKPOINTS, check_out, new_out

    folder = out if out is not None else new_out(command)
    check_out(folder, resume=resume)
    progress: Progress = progress_for(quiet=as_json)
    try:
        run: Any = work(progress)
    except (KeyboardInterrupt, SystemExit):
        if (folder / CHECKPOINTS).is_dir():
            progress.say(f"Stopped; to go on:  the same command with --out {folder} --resume")
        raise
    with progress.step("Writing the results"):
        said = (write or write_out)(folder, run)
    if as_json:
        print(json.dumps(run.result, allow_nan=False))
        return
    for warning in run.result["warnings"]:
        progress.say(f"Note: {warning}")
    print("\n".join([run.verdict, *said]))


def _columns(text: str | None, label: str | None) -> dict[str, str] | None:
    """Return the columns that were named, by our words for them."""
    named = {word: name for word, name in (("text", text), ("label", label)) if name is not None}
    return named or None


def _offline(offline: bool) -> None:
    if offline:
        os.environ["HEADSTART_OFFLINE"] = "1"


def _version(asked: bool) -> None:
    if asked:
        print(f"headstart {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(USAGE)


def _end(code: int, message: str = "") -> NoReturn:
    if message:
        print(one_line(message, limit=2000), file=sys.stderr)
    sys.exit(code)


def main() -> None:
    """Run the command line: exit code 0 done, 2 the user can mend it, 1 a bug, 130 interrupted."""
    try:
        _end(app(standalone_mode=False) or DONE)
    except typer.TyperException as error:
        _end(USAGE, f"headstart: {error.format_message()}")
    except (typer.Abort, KeyboardInterrupt):
        _end(INTERRUPTED, "headstart: interrupted; the same command goes on where it stopped")
    except HeadstartError as error:
        _end(USAGE, f"headstart: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _end(DONE)
