"""`words:PATH`: word vectors in a file, GloVe or word2vec."""

from __future__ import annotations

from pathlib import Path

from headstart.sources.text.word_index import open_index
from headstart.sources.text.word_source import WordSource
from headstart.sources.uri import Spec


def open_named(spec: Spec, *, weights: str, seed: int) -> WordSource:
    """Return the word vectors in a file, or random vectors for the same words; SourceError where there are none."""
    path = Path(spec.name).expanduser()
    return WordSource(spec.uri, open_index(path), seed=seed if weights == "none" else None)
