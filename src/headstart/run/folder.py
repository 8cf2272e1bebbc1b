"""The folder of a run: `result.json`, `report.html` and `bundle/`, each whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from headstart.base.disk import (
    TEMPORARY,
    check_writable,
    reraise_disk_errors,
    restore,
    sweep,
    sync_folder,
    write_atomic,
)
from headstart.base.errors import UsageError
from headstart.base.own_folders import RESULT

PAGE = "report.html"
SCHEMA = 1  # the version of the form of `result.json`
CHECKPOINTS = "checkpoints"  # what a run that was stopped goes on from; gone once the run is done
MARK = f"{TEMPORARY}run"  # lies in the folder while files are written there
RUNS = "runs"  # the folder for the folders of runs that are not named
ARMS = "arms"  # what the arms of a comparison answered


def new_out(command: str, runs: Path = Path(RUNS)) -> Path:
    """Return the path of a new folder under `runs/`, named by the time and the command."""
    stem = f"{datetime.now().astimezone():%Y-%m-%d-%H%M%S}-{command}"
    numbered = (runs / (stem if number == 1 else f"{stem}-{number}") for number in range(1, 1000))
    return next(path for path in numbered if not path.exists())


def check_out(out: Path) -> None:
    """Prove, before any work starts, that a run may write into `out`, and put back what a killed run moved aside.

    A run that was stopped there goes on, with or without `--resume`: the loop refuses other arguments than it had.
    UsageError: it exists and is not a folder of an earlier run, or cannot be written.
    """
    restore(out)
    if out.exists() and not _ours(out):
        raise UsageError(
            "--out must be a new folder, an empty one, or one that an earlier run wrote",
            f"{out} holds other things",
            "name another folder",
        )
    there = out if out.exists() else next(folder for folder in out.absolute().parents if folder.exists())
    check_writable(there, what="--out")


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Mark the folder as one of a run while its files are written, so that a run after a kill may go on there.

    UsageError: the disk is full or cannot be written.
    """
    with reraise_disk_errors(out, 0):
        out.mkdir(parents=True, exist_ok=True)
        sweep(out)
        (out / MARK).touch()
        sync_folder(out)
    yield
    (out / MARK).unlink(missing_ok=True)


def write_report(out: Path, losses: Mapping[str, bytes], page: str, result: Mapping[str, Any]) -> None:
    """Write the files of losses, the page and `result.json`, which comes last: its presence says that all is there."""
    text = json.dumps(result, indent=1, allow_nan=False)
    for name, data in losses.items():
        write_atomic(out / name, data)
    write_atomic(out / PAGE, page.encode("utf-8", "backslashreplace"))
    write_atomic(out / RESULT, text.encode())


def is_run(out: Path) -> bool:
    """Return whether a run has written its results there, or what it goes on from."""
    return (out / RESULT).is_file() or (out / CHECKPOINTS).is_dir()


def discard(out: Path) -> None:
    """Remove what a refused run left in `out`, and the folders that are empty then."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    with suppress(OSError):  # it holds other things, or was never made
        out.rmdir()
        if out.parent.name == RUNS:
            out.parent.rmdir()


def _ours(out: Path) -> bool:
    if not out.is_dir():
        return False
    names = {path.name for path in out.iterdir()}
    if names & {CHECKPOINTS, MARK} or all(name.startswith(TEMPORARY) for name in names):
        return True
    try:
        return "schema" in json.loads((out / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
