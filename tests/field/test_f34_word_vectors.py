"""Word vectors as they are published: spaces in words, a header, binary, packed with gzip or zip; several are named."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import SourceError
from headstart.sources.registry import open_source


@pytest.mark.shared
def test_every_file_of_word_vectors_is_read__f34(made: Callable[[str], Path], tmp_path: Path) -> None:
    made("f34")
    paths = [path for path in sorted(tmp_path.iterdir()) if path.name not in ("t.csv", "phrases.txt")]
    vectors = {}
    for path in paths:
        source = open_source(f"words:{path}")
        assert source.info.notes == ()
        vectors[path.name] = source.encode(["the cat sat on the mat"])
    first = next(iter(vectors.values()))
    assert all(np.allclose(first, found, atol=1e-5) for found in vectors.values()) and first.any()
    assert open_source(f"words:{tmp_path / 'phrases.txt'}").info.notes == ()
    with zipfile.ZipFile(tmp_path / "glove.zip", "a") as archive:
        archive.writestr("second.txt", "a 1 2\n")
    with pytest.raises(SourceError, match=r"found glove\.txt, second\.txt; write words:.*glove\.zip#glove\.txt"):
        open_source(f"words:{tmp_path / 'glove.zip'}")
    source = open_source(f"words:{tmp_path / 'glove.zip'}#glove.txt")
    assert np.allclose(first, source.encode(["the cat sat on the mat"]), atol=1e-5)
