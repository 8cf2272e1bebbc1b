"""Networks: a source as a network whose weights can learn, for the texts or pictures at hand."""

from __future__ import annotations

from headstart.base.errors import SourceError
from headstart.data.modality import MODALITIES
from headstart.data.text import texts_at
from headstart.run.prepared import PreparedData
from headstart.sources.base import Source


def as_network(prepared: PreparedData, what: str, source: Source | None = None) -> Source:
    """Return a source whose weights can learn: a torch network as it is, a file of word vectors as an embedding layer.

    Args:
        prepared: the data; the words of its texts are those of the layer.

    Raises:
        SourceError: it is a graph that only computes, or a table of token vectors.
    """
    source = source if source is not None else prepared.source
    dataset, parts = prepared.scan.dataset, prepared.parts
    network = source.as_trainable(
        lambda: texts_at(dataset, parts.train), lambda: texts_at(dataset, (*parts.validation, *parts.test))
    )
    if network is not None:
        return network
    raise SourceError(
        f"{what} needs a source that is a torch network",
        f"{source.info.uri}, {'a table of vectors' if source.info.kind == 'text' else 'a graph that only computes'}",
        f"leave it out, or take a network from {MODALITIES[source.info.kind].trainable_sources}",
    )
