"""A command of the command line, made from a model of options: its parameters, its help, and how it runs."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperArgument, TyperCommand

from headstart.base.errors import UsageError, one_line
from headstart.base.interrupts import GOES_ON, keeping, kept
from headstart.base.log import Log
from headstart.base.progress import PlainProgress, Progress, SeveralProgress, progress_for
from headstart.cli.messages import show, show_json
from headstart.run.folder import CHECKPOINTS, PAGE, check_out, is_run, new_out
from headstart.run.option_model import GROUPS, Options, flag, flag_of, metadata_of
from headstart.run.options import DataOptions, RunOptions

FIRST_COLUMN = 27  # columns of the help for the names of options, where they fit

AnyOptions = TypeVar("AnyOptions", bound=DataOptions)
Argument = tuple[str, Any, str, str]  # name, annotation, metavar and help of an argument of a command

BUNDLE: Argument = ("bundle", Path, "BUNDLE", "The folder that fit wrote: OUT/bundle, or OUT itself.")
DATA = (
    "data",
    str,
    "DATA",
    "A folder of class folders, a .zip or .tar of one, or a table (.csv, .tsv, .jsonl, .parquet).",
)


class DisplayOptions(Options):
    """What every command takes on the command line alone."""

    as_json: bool = flag("Output", flag="--json")
    """Print the result as one JSON object and nothing else. By default a summary is printed."""
    offline: bool = flag("Run")
    """Never use the network, as HEADSTART_OFFLINE=1 does. By default missing weights are downloaded."""
    quiet: bool = flag("Run", short="-q")
    """Show no progress. By default it is shown."""
    verbose: bool = flag("Run", short="-v")
    """Show what the libraries log as well. By default it is hidden."""


class PageOptions(DisplayOptions):
    """What every command takes on the command line that writes a page."""

    open_page: bool = flag("Output", flag="--open")
    """Open the report in the browser once the run is done. By default its path is printed alone."""


class GroupedCommand(TyperCommand):
    """A command whose help shows its options by group, in columns that line up, and its examples as they are."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the name of the command: its options, and its arguments as they are named."""
        return ["[OPTIONS]", *(str(one.metavar) for one in self.params if isinstance(one, TyperArgument))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, and the options group by group."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, TyperArgument):
                rows.setdefault("Arguments", []).append((str(parameter.metavar), str(parameter.help)))
            elif (record := parameter.get_help_record(ctx)) is not None:
                rows.setdefault(getattr(parameter, "rich_help_panel", None) or GROUPS[-1], []).append(record)
        for group in ("Arguments", *GROUPS):
            if group in rows:
                with formatter.section(group):
                    padded = [(f"{name:<{FIRST_COLUMN}}", text) for name, text in rows[group]]
                    formatter.write_dl(padded, col_max=FIRST_COLUMN)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in (self.epilog or "").splitlines()))


def command_of(
    name: str,
    work: Callable[..., None],
    options: type[Options],
    *,
    arguments: Sequence[Argument] = (),
    examples: Sequence[str],
    shown: type[DisplayOptions] = DisplayOptions,
) -> Any:
    """Return a command that takes arguments and the options of a model, which is its attribute `options`.

    `work` is called with the arguments, which stand on the command line without a flag, with the options that were
    named, and with those of the display, which `shown` is the model of.
    """
    words = [word for word, *_ in arguments]
    parameters = [*map(_argument, arguments), *parameters_of(options), *parameters_of(shown)]

    def call(**values: Any) -> None:
        named = {key: value for key, value in values.items() if value not in (None, [])}
        display = shown.taken_from(named)
        chosen = {key: value for key, value in named.items() if key in options.model_fields}
        work(*(values[word] for word in words), chosen, display)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command(
        name, cls=GroupedCommand, epilog="\n".join(examples), context_settings={"help_option_names": ["-h", "--help"]}
    )(call)
    command: Any = typer.main.get_command(app)
    command.options, command.shown = options, shown
    return command


def _argument(argument: Argument) -> inspect.Parameter:
    word, kind, metavar, text = argument
    return inspect.Parameter(
        word,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[kind, typer.Argument(metavar=metavar, help=text, show_default=False)],
        default=None if type(None) in get_args(kind) else inspect.Parameter.empty,
    )


def parameters_of(options: type[Options]) -> Iterator[inspect.Parameter]:
    """Yield the parameter of each option; one that is not given is None, or False for a flag."""
    for name, field in options.model_fields.items():
        kind, default = _kind(field)
        more = metadata_of(field)
        flag = flag_of(name, field)
        flags = [f"{flag}/--no-{flag.removeprefix('--')}" if more.get("either") else flag]
        flags += [str(more["short"])] if "short" in more else []
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[
                kind,
                typer.Option(
                    *flags,
                    help=field.description,
                    metavar=more["metavar"],
                    rich_help_panel=more["group"],
                    show_default=False,
                ),
            ],
        )


def _kind(field: FieldInfo) -> tuple[Any, Any]:
    """Return how an option is read from the command line, where the model itself checks its value, and its default."""
    more = metadata_of(field)
    if more.get("several"):
        return list[str] | None, None
    if more.get("either"):
        return bool | None, None
    if more["metavar"] is None:
        return bool, False
    return (Path if Path in (field.annotation, *get_args(field.annotation)) else str) | None, None


def prepare_display(display: DisplayOptions) -> Progress:
    """Set what the environment and the libraries do as the options say, and return where progress is shown.

    The command's modules are loaded by now: garbage is collected from here on, among what is made from here on.
    """
    gc.freeze()
    gc.enable()
    if display.offline:
        os.environ["HEADSTART_OFFLINE"] = "1"
    if display.verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        warnings.simplefilter("default")
    return progress_for(quiet=display.as_json or display.quiet)


def run_command(
    name: str,
    options: type[AnyOptions],
    chosen: Mapping[str, Any],
    display: DisplayOptions,
    work: Callable[[AnyOptions, Progress], Any],
    write: Callable[[Path, Any], list[str]],
) -> None:
    """Do the work of one command, write its folder, and print its notes, its verdict and its paths.

    `work` returns a result with `result` (what goes into result.json) and `verdict` (text); `write` writes the folder,
    and returns lines that name what is there. UsageError says that a run may not write into the folder; it may also be
    the result's own `refusal`, raised once all is written and shown.
    """
    out = Path(chosen.get("out") or new_out(name))
    values = options(**{**chosen, "out": out})
    check_out(out)
    log = Log(out, goes_on=(out / CHECKPOINTS).is_dir())
    log.write(shlex.join(["headstart", *sys.argv[1:]]))
    progress = SeveralProgress(prepare_display(display), PlainProgress(log))
    if isinstance(values, RunOptions) and values.resume and not (out / CHECKPOINTS).is_dir():
        progress.say(f"No run was stopped in {out} after its first checkpoint: this one begins anew")

    def going_on() -> str:
        return f"the same command with --out {out} {GOES_ON}" if (out / CHECKPOINTS).is_dir() else ""

    try:
        with keeping(going_on):
            try:
                run = work(values, progress)
            except SystemExit:
                show(f"headstart: stopped; {kept()}", sys.stderr)
                raise
        with progress.step("Writing the results"):
            paths = write(out, run)
        refusal: UsageError | None = getattr(run, "refusal", None)
        show_result(run, paths, display, log)
        if isinstance(display, PageOptions) and display.open_page:
            open_page(out / PAGE)
        if refusal is not None:
            raise refusal
    except BaseException as error:
        log.write(f"{type(error).__name__}: {error}")
        raise
    finally:
        if is_run(out):
            log.save()


def show_result(run: Any, paths: Sequence[str], display: DisplayOptions, log: Log) -> None:
    """Print the notes of a run, its verdict and its paths, or its result as JSON; the log has the former always."""
    notes = [f"Note: {warning}" for warning in run.result["warnings"]]
    last = "\n".join([run.verdict, *paths])
    log.write("\n".join([*map(one_line, notes), last]))
    if display.as_json:
        show_json(run.result)
        return
    for note in notes:
        show(note, sys.stderr)
    show(last)


def open_page(page: Path) -> None:
    """Open a page in the browser, and say so where there is none."""
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        show(f"headstart: no browser is known here: open {page} in one", sys.stderr)
