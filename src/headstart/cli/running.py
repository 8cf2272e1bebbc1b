"""What the commands share: a run with its folder and its summary, and the display that was asked for."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from headstart.base.progress import Progress, progress_for
from headstart.cli.command import DisplayOptions
from headstart.cli.messages import show
from headstart.run.options import RunOptions

AnyOptions = TypeVar("AnyOptions", bound=RunOptions)


def prepare_display(display: DisplayOptions) -> Progress:
    """Set what the environment and the libraries do as the options say, and return where progress is shown."""
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
    and returns lines that name what is there. UsageError says that a run may not write into the folder.
    """
    from headstart.run.folder import CHECKPOINTS, check_out, new_out

    out = chosen.get("out") or new_out(name)
    values = options(**{**chosen, "out": out})
    progress = prepare_display(display)
    check_out(out)
    if values.resume and not (out / CHECKPOINTS).is_dir():
        progress.say(f"No run was stopped in {out} after its first checkpoint: this one begins anew")
    try:
        run = work(values, progress)
    except (KeyboardInterrupt, SystemExit):
        if (out / CHECKPOINTS).is_dir() and not display.as_json:
            show(f"Stopped. To continue, run the same command with --out {out}.", sys.stderr)
        raise
    with progress.step("Writing the results"):
        paths = write(out, run)
    if display.as_json:
        print(json.dumps(run.result, allow_nan=False))
        return
    for warning in run.result["warnings"]:
        show(f"Note: {warning}", sys.stderr)
    show("\n".join([run.verdict, *paths]))
