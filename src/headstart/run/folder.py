"""The folder of a run: `result.json`, `report.html` and `bundle/`, each whole or not there."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from headstart.base.disk import check_writable
from headstart.base.errors import UsageError

RESULT, SCHEMA = "result.json", 1  # what every command writes, and the version of its form
CHECKPOINTS = "checkpoints"  # what a run that was stopped goes on from; gone once the run is done
ARMS = "arms"  # what the arms of a comparison answered


def new_out(command: str, runs: Path = Path("runs")) -> Path:
    """Return the path of a new folder under `runs/`, named by the time and the command."""
    stem = f"{datetime.now().astimezone():%Y-%m-%d-%H%M%S}-{command}"
    numbered = (runs / (stem if number == 1 else f"{stem}-{number}") for number in range(1, 1000))
    return next(path for path in numbered if not path.exists())


def check_out(out: Path, *, resume: bool = False) -> None:
    """Prove, before any work starts, that a run may write into `out`.

    Raises:
        UsageError: it exists and is not a folder of an earlier run, or cannot be written; a stopped run lies there and
            is not to be resumed, or none is there to go on with.
    """
    stopped = (out / CHECKPOINTS).is_dir()
    if stopped and not resume:
        raise UsageError(
            "--out must not hold a run that was stopped",
            f"{out / CHECKPOINTS}",
            "add --resume to go on with it, or remove it to start anew",
        )
    if resume and not stopped:
        raise UsageError(
            "--resume needs the folder of a run that was stopped",
            f"{out} without {CHECKPOINTS}",
            "name it with --out, or leave --resume out",
        )
    if out.exists() and not stopped and not _ours(out):
        raise UsageError(
            "--out must be a new folder, an empty one, or one that an earlier run wrote",
            f"{out} holds other things",
            "name another folder",
        )
    there = out if out.exists() else next(folder for folder in out.absolute().parents if folder.exists())
    check_writable(there, what="--out")


def _ours(out: Path) -> bool:
    if not out.is_dir():
        return False
    if not any(out.iterdir()):
        return True
    try:
        return "schema" in json.loads((out / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
