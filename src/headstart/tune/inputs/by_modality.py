"""The media: what reads the examples of each kind while a source is tuned on them."""

from __future__ import annotations

from headstart.data.modality import Kind
from headstart.sources.base import Source
from headstart.tune.inputs.base import InputPipeline
from headstart.tune.inputs.images import ImagePipeline, SoundPipeline
from headstart.tune.inputs.texts import TextPipeline


def rate_of(source: Source, mode: str, *, contrast: bool = False) -> float:
    """Return the full learning rate of a mode of tuning for a source; that of `scratch` is for random weights."""
    rates = source.rates or MEDIA[source.info.kind].rates
    name = "pairs" if contrast else mode.partition(":")[0]
    return rates.get(name, rates["all"])


MEDIA: dict[Kind, type[InputPipeline]] = {"image": ImagePipeline, "sound": SoundPipeline, "text": TextPipeline}
