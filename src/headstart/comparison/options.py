"""The options of `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from headstart.base.errors import UsageError
from headstart.base.extras import require
from headstart.run.option_model import option
from headstart.run.options import FitOptions, Seconds, SourceOptions
from headstart.tune.settings import NONE, check_mode, check_mode_installed

if TYPE_CHECKING:
    from headstart.sources.base import Source
else:
    Source = Any

ALL = "all"  # what all labels of each class are called, where the numbers of labels are named
IDENTITY = (
    "long_texts",
    "window",
    "hop",
    "labels_per_class",
    "seeds",
    "budget",
    "tune",
    "layer",
    "seed",
    "engine",
    "drop_test_duplicates",
    "group_by",
)
"""The options that a comparison that is continued must share with the one that was stopped."""


def label_numbers(value: str | Sequence[int | str | None] | None) -> tuple[int | None, ...] | None:
    """Return numbers of labels per class, ascending, None (all) last; of None, None.

    Raises:
        UsageError: one is neither a number nor `all`.
    """
    if value is None:
        return None
    numbers: set[int | None] = set()
    for part in value.split(",") if isinstance(value, str) else value:
        text = ALL if part is None else str(part).strip()
        if text != ALL and not text.isdecimal():
            raise UsageError(
                "--labels-per-class must be numbers and all, joined by commas", repr(text), "give such as 5,10,20,all"
            )
        numbers.add(None if text == ALL else int(text))
    return tuple(sorted(numbers, key=lambda number: (number is None, number or 0)))


LabelNumbers = Annotated[tuple[int | None, ...], BeforeValidator(label_numbers)]
"""Numbers of labels per class, ascending, None (all) last; may be given as a text such as `5,10,all`."""


class CompareOptions(SourceOptions):
    """The options of `compare`."""

    labels_per_class: LabelNumbers | None = option(None, "Data", "N,...", least=2)
    """The numbers of examples of each class to learn from, such as 5,10,all. The default is 5,10,20,all, as far as the
    data has them."""
    source: str | Source | None = option(None, "Source", "URI", several=True)
    """The pretrained network; auto takes the one that a ranking of all that are here recommends. Given several times on
    the command line, the sources share the budget. The default depends on the data: packaged:efficientnet-lite0 for
    photos, packaged:minilm for texts, packaged:speech for recordings."""
    tune: str = option("auto", "Tuning", "MODE")
    """Which weights learn in the tuned arm: norm, lora, last:N, all, auto, or none to leave that arm out. The default
    is auto: the budget decides."""
    budget: Seconds = option(600.0, "Run", "TIME", least=1)
    """The time for everything, such as 30s, 10m or 1h. The default is 10m."""
    seeds: int = option(5, "Run", "N", least=1)
    """Repeat every arm with this many splits, draws of labels and initial weights. The default is 5; where the budget
    does not suffice for them, the plan says how many are run."""

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        require("compare, which trains the same network from random weights,", "torch")
        check_mode(self.tune)
        if self.tune != NONE:
            check_mode_installed(self.tune)
        return self

    @property
    def fitting(self) -> FitOptions:
        """The options of a fit on the same data and source, without tuning."""
        return FitOptions(**{name: getattr(self, name) for name in SourceOptions.model_fields})

    @property
    def identity(self) -> dict[str, Any]:
        """What a comparison that is continued must share with the one that was stopped."""
        return {name: getattr(self, name) for name in IDENTITY}
