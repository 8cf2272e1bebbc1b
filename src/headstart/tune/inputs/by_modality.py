"""The input pipeline of each kind of examples."""

from __future__ import annotations

from headstart.data.modality import Kind
from headstart.sources.base import Source
from headstart.tune.inputs.base import InputPipeline
from headstart.tune.inputs.images import ImagePipeline, SoundPipeline
from headstart.tune.inputs.texts import TextPipeline

PIPELINES: dict[Kind, type[InputPipeline]] = {"image": ImagePipeline, "sound": SoundPipeline, "text": TextPipeline}


def learning_rate_of(source: Source, mode: str, *, contrastive: bool = False) -> float:
    """Return the highest learning rate of a mode of tuning for a source; that of `scratch` is for random weights."""
    rates = source.rates or PIPELINES[source.info.kind].learning_rates
    name = "pairs" if contrastive else mode.partition(":")[0]
    return rates.get(name, rates["all"])
