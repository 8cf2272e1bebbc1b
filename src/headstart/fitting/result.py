"""What a `fit` made, and its folder: `result.json`, `report.html` and `bundle/`."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.base.atomic import write_atomic
from headstart.judge.report import fit_page as report
from headstart.model import Model
from headstart.run.folder import CHECKPOINTS, RESULT


@dataclass(frozen=True)
class FitResult:
    """What a `fit` made.

    Attributes:
        model: the classifier, with `result` as its report.
        result: what goes into `result.json` (schema 1).
        verdict: the result in one sentence.
        report: what the HTML page shows.
    """

    model: Model
    result: dict[str, Any]
    verdict: str
    report: report.Report


def write_out(out: Path, run: FitResult) -> list[str]:
    """Write a run's folder, and return what to say of it.

    `result.json` comes last, so that its presence says that the rest is there.
    """
    out.mkdir(parents=True, exist_ok=True)
    run.model.save(out / "bundle")
    write_atomic(out / "report.html", report.render(run.report).encode("utf-8", "backslashreplace"))
    write_atomic(out / RESULT, json.dumps(run.result, indent=1, allow_nan=False).encode())
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return [f"Report: {out / 'report.html'}", f"Bundle: {out / 'bundle'}    Result: {out / RESULT}"]
