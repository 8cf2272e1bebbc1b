"""The options of `evaluate`."""

from __future__ import annotations

from pathlib import Path

from headstart.run.option_model import option
from headstart.run.options import DataOptions, EngineOptions


class EvaluateOptions(EngineOptions, DataOptions):
    """The options of `evaluate`."""

    against: Path | None = option(None, "Source", "BUNDLE")
    """Another bundle, which is measured on the same data, so that the paired difference says which is better. By
    default the one bundle is measured alone."""
