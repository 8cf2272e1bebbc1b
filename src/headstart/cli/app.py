"""The command line assembled: each command is imported when it is called; exit codes out."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from headstart import __version__
from headstart.base.disk import FULL, full_disk
from headstart.base.errors import HeadstartError, UsageError, one_line
from headstart.base.extras import EXTRAS, missing_extra
from headstart.base.interrupts import kept
from headstart.cli.messages import PrintableStream, show

DONE, BUG, USAGE, INTERRUPTED = 0, 1, 2, 130
SECONDS_TO_END = 0.8  # after Ctrl-C
SUMMARIES = {
    "fit": "Fit a classifier on labelled photos, texts or recordings.",
    "rank": "Measure which source is worth most on your data.",
    "predict": "Predict the class of each input, with its probability.",
    "serve": "Serve bundles over HTTP, with a page for people.",
    "push": "Upload a bundle to the Hugging Face hub.",
    "space": "Write the folder of a Hugging Face Space for a bundle.",
    "evaluate": "Measure a bundle on new labelled data, or against another bundle.",
    "compare": "Measure whether a source helps, against training from scratch.",
    "pretrain": "Train a source of your own from random weights.",
    "export": "Write a bundle as a model that runs without headstart.",
    "sources": "List the sources that work here, or describe one.",
    "doctor": "Show what this machine has for headstart, and what is missing.",
    "demo": "Run fit on real photographs that come with scikit-image.",
}
"""What each command does, in the order of the help."""


class Interrupted(Exception):
    """Ctrl-C ended a command; the text says what is kept. Typer makes a bare exit code of KeyboardInterrupt."""


class CommandGroup(TyperGroup):
    """The commands by name and summary; one is imported when it is called, so that `--help` stays quick."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=summary) for name, summary in SUMMARIES.items()}

    def invoke(self, ctx: Any) -> Any:
        """Run the command; raises Interrupted for KeyboardInterrupt."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(kept(error)) from error

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return name, command and its arguments, the command imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and command_named(str(name)), rest


def command_named(name: str) -> Any:
    """Return a command with its parameters, as typer calls it."""
    command = importlib.import_module(f"headstart.cli.{name}").command
    command.help = SUMMARIES[name]
    return command


app = typer.Typer(
    name="headstart",
    cls=CommandGroup,
    help="Transfer learning that proves its worth: a good classifier from a few labelled photos, texts or recordings.",
    rich_markup_mode=None,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked_for: bool) -> None:
    if asked_for:
        print(f"headstart {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(USAGE)


class CtrlC:
    """Whether Ctrl-C has come, and whether its user has read so."""

    def __init__(self) -> None:
        self.came, self.reported = threading.Event(), threading.Event()

    def has_come(self) -> bool:
        """Return whether it came, once the thread that watches has had time to see it."""
        return self.came.wait(0.05)


@contextmanager
def ending_within(seconds: float) -> Iterator[CtrlC]:
    """Let the process end so soon after Ctrl-C, whatever computes then: all that is written is whole at any instant.

    A loop that holds Ctrl-C back has as long to come to an end; once it ignores it, because it saves what it has
    learned, it is not cut short.
    """
    ctrl_c = CtrlC()
    if threading.current_thread() is not threading.main_thread():
        yield ctrl_c
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(target=_watch, args=(reader, seconds, ctrl_c), daemon=True).start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield ctrl_c
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)


def _watch(reader: int, seconds: float, ctrl_c: CtrlC) -> None:
    while number := os.read(reader, 1):
        if number[0] == signal.SIGINT:
            ctrl_c.came.set()
            time.sleep(seconds)
            while signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
                time.sleep(0.05)
            _end_interrupted(ctrl_c, kept())
    os.close(reader)


def _end_interrupted(ctrl_c: CtrlC, text: str) -> NoReturn:
    """Say once what is kept, and end: Python itself would wait for its threads, or die of the signal after all."""
    if not ctrl_c.reported.is_set():
        ctrl_c.reported.set()
        show(f"headstart: interrupted; {text}", sys.stderr)
    os._exit(INTERRUPTED)


def main() -> None:
    """Run the command line: exit code 0 done, 2 the user can mend it, 1 a bug, 130 interrupted."""
    sys.stdout, sys.stderr = PrintableStream(sys.stdout), PrintableStream(sys.stderr)
    with ending_within(SECONDS_TO_END) as ctrl_c:
        try:
            code, message = _outcome()
        except (Interrupted, KeyboardInterrupt) as error:
            _end_interrupted(ctrl_c, str(error) or kept(error))
        except Exception as error:
            if not ctrl_c.has_come():
                raise
            _end_interrupted(ctrl_c, kept(error))  # a library made another error of it, as an import does
        if code and ctrl_c.has_come():
            _end_interrupted(ctrl_c, kept())
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # what follows is the end of the process alone
    if message:
        show(one_line(f"headstart: {message}", limit=2000), sys.stderr)  # type: ignore[arg-type]
    sys.exit(code)


def _outcome() -> tuple[int, str]:
    """Return the exit code of the command, and the line that says why it is not 0."""
    try:
        gc.disable()  # modules live as long as the process: `prepare_display` lets it collect once they are loaded
        if "" in sys.argv[1:]:
            raise UsageError("every argument must hold something", "''", "give a value, or leave it out")
        code = app(standalone_mode=False) or DONE
        sys.stdout.flush()
        return code, ""
    except typer.TyperException as error:
        return USAGE, error.format_message()
    except (HeadstartError, ModuleNotFoundError) as error:
        return USAGE, str(_mendable(error))
    except BrokenPipeError:
        _end_output()
        return DONE, ""
    except OSError as error:
        if error.errno not in FULL:
            raise
        _end_output()
        if error.filename:
            return USAGE, str(full_disk(error, Path(error.filename)))
        reason = f"what is printed must be written; found {error.strerror}; free some space, and run it again"
        return USAGE, reason
    finally:
        gc.enable()


def _mendable(error: HeadstartError | ModuleNotFoundError) -> HeadstartError:
    """Return the error as one that the user can mend: a library of an extra may be there, and yet not be imported."""
    if isinstance(error, HeadstartError):
        return error
    if (extra := EXTRAS.get(str(error.name))) is None:
        raise error
    return missing_extra("this command", str(error.name), extra=extra)


def _end_output() -> None:
    """Let what was printed and cannot be written go nowhere, since Python tries again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
