"""The options of `rank`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from headstart.run.option_model import flag, option
from headstart.run.options import FitOptions, Names, ReaderOptions, Seconds

if TYPE_CHECKING:
    from headstart.sources.base import Source
else:
    Source = Any


def sources_of(value: Any) -> Any:
    """Return one source as a tuple of it, and several as a tuple without repetitions."""
    if value is None:
        return None
    return tuple(dict.fromkeys(value)) if isinstance(value, (list, tuple)) else (value,)


Sources = Annotated[tuple[str | Source, ...], BeforeValidator(sources_of)]
"""Sources, each by its URI or open already."""


class RankOptions(ReaderOptions):
    """The options of `rank`."""

    labels_per_class: int | None = option(None, "Data", "N", least=2)
    """Rank by this many examples of each class. The default is all of them."""
    sources: Sources | None = option(None, "Source", "URI", several=True, flag="--source")
    """A pretrained network to rank; given again, several. The default is every one that is on this machine and reads
    such data."""
    layer: Names | None = option(None, "Source", "LAYER", several=True)
    """Where features are taken: pool, joined, a stage, or stages joined by +; given again, several. The default is pool
    and joined, as far as a source has them."""
    scores: bool = flag("Output")
    """Compute the transferability scores of the literature as well, which decide nothing. By default they are not."""
    budget: Seconds | None = option(None, "Run", "TIME", least=1)
    """Begin no further source after this time, such as 30s, 10m or 1h, and rank what was measured. By default all are
    measured."""

    @property
    def fitting(self) -> FitOptions:
        """The options of a fit on the same data, without tuning."""
        return FitOptions(
            **{name: getattr(self, name) for name in ReaderOptions.model_fields},
            labels_per_class=self.labels_per_class,
        )
