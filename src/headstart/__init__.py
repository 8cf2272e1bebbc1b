"""headstart: transfer learning that proves its worth.

A source turns examples into features; a head turns features into predictions; a report says what the source was
worth; a bundle is the folder you ship. Importing this package loads nothing heavy: each name is loaded on first use.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as of `typing`, which `python -m headstart` would look for in the working folder first
if TYPE_CHECKING:
    from typing import Any

    from headstart.base.errors import (
        BundleError,
        DataError,
        HeadstartError,
        HeadstartWarning,
        MissingExtra,
        SourceError,
        UsageError,
    )
    from headstart.classifier import Classifier
    from headstart.comparison.compare import compare
    from headstart.fitting.fit import fit
    from headstart.judge.benefit.benefit import Benefit
    from headstart.model import Model, load
    from headstart.pretraining.pretrain import pretrain
    from headstart.ranking.rank import rank
    from headstart.sklearn import SourceFeatures
    from headstart.sources.registry import open_source
    from headstart.tune.settings import Settings

__version__ = "0.2.0"

_HOME = {
    "Benefit": "headstart.judge.benefit.benefit",
    "BundleError": "headstart.base.errors",
    "Classifier": "headstart.classifier",
    "DataError": "headstart.base.errors",
    "HeadstartError": "headstart.base.errors",
    "HeadstartWarning": "headstart.base.errors",
    "MissingExtra": "headstart.base.errors",
    "Model": "headstart.model",
    "Settings": "headstart.tune.settings",
    "SourceError": "headstart.base.errors",
    "SourceFeatures": "headstart.sklearn",
    "UsageError": "headstart.base.errors",
    "compare": "headstart.comparison.compare",
    "fit": "headstart.fitting.fit",
    "load": "headstart.model",
    "open_source": "headstart.sources.registry",
    "pretrain": "headstart.pretraining.pretrain",
    "rank": "headstart.ranking.rank",
}
__all__ = [
    "Benefit",
    "BundleError",
    "Classifier",
    "DataError",
    "HeadstartError",
    "HeadstartWarning",
    "MissingExtra",
    "Model",
    "Settings",
    "SourceError",
    "SourceFeatures",
    "UsageError",
    "compare",
    "fit",
    "load",
    "open_source",
    "pretrain",
    "rank",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
