"""Small data sets on disk: files that are pictures to a reader, which never decodes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Fill = Callable[[Path, Mapping[str, int]], Path]


@pytest.fixture
def fill() -> Fill:
    """Return a function that puts numbered pictures, no two alike, into folders: `fill(root, {"cats": 3})`."""

    def fill(root: Path, counts: Mapping[str, int]) -> Path:
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                (root / folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff" + f"{folder}/{number}".encode())
        return root

    return fill
