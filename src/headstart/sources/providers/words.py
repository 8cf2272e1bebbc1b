"""`words:PATH`, or `words:PATH.zip#MEMBER`: word vectors in a file, GloVe or word2vec."""

from __future__ import annotations

from headstart.sources.text.word_index import open_index
from headstart.sources.text.word_source import WordSource
from headstart.sources.uri import Spec, split_part


def open_named(spec: Spec, *, weights: str, seed: int) -> WordSource:
    """Return the word vectors in a file, or random vectors for the same words; SourceError where there are none."""
    path, member = split_part(spec.name)
    return WordSource(spec.uri, open_index(path, member), seed=seed if weights == "none" else None)
