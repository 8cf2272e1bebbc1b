"""Networks: a source as a network whose weights can learn, for the texts or pictures at hand."""

from __future__ import annotations

from headstart.base.errors import SourceError
from headstart.data.modality import MODALITIES
from headstart.data.text import texts_at
from headstart.run.prepared import PreparedData
from headstart.sources.base import Source
from headstart.sources.networks.source import TorchSource
from headstart.sources.text.source import TextSource
from headstart.sources.text.word_network import WordNetwork
from headstart.sources.text.word_source import WordSource
from headstart.sources.tuned import Tunable


def as_network(prepared: PreparedData, what: str, source: Source | None = None) -> Tunable:
    """Return a source whose weights can learn: a torch network as it is, a file of word vectors as an embedding layer.

    Args:
        prepared: the data; the words of its texts are those of the layer.
        what: names what needs it in a message.
        source: another source than that of the data's features.

    Raises:
        SourceError: it is a graph that only computes, or a table of token vectors.
    """
    source = source if source is not None else prepared.source
    if isinstance(source, TorchSource) or (isinstance(source, TextSource) and source.learns):
        return source
    if isinstance(source, WordSource):
        dataset, parts = prepared.scan.dataset, prepared.parts
        others = texts_at(dataset, (*parts.validation, *parts.test))
        return WordNetwork(source, texts_at(dataset, parts.train), others)
    raise SourceError(
        f"{what} needs a source that is a torch network",
        f"{source.info.uri}, {'a table of vectors' if source.info.kind == 'text' else 'a graph that only computes'}",
        f"leave it out, or take a network from {MODALITIES[source.info.kind].trainable_sources}",
    )
