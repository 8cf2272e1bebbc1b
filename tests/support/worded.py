"""Planted texts, and files of word vectors that know what their words mean, or know nothing: no torch, no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES = ("calm", "wild")
WORDS = 300  # of each class: so many that counting them tells little


def write_texts(path: Path, n: int = 80, *, seed: int = 0) -> Path:
    """Write a table of n texts of five words each, of two classes in turn."""
    rng = np.random.default_rng(seed)
    rows = [
        f"{' '.join(f'{CLASSES[at % 2]}{letters(word)}' for word in rng.integers(WORDS, size=5))},{CLASSES[at % 2]}"
        for at in range(n)
    ]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_vectors(path: Path, *, width: int, apart: float, seed: int = 0) -> str:
    """Write a vector for every word, those of the two classes so far apart, and return its URI."""
    rng = np.random.default_rng(seed)
    lines = []
    for sign, name in ((-1, CLASSES[0]), (1, CLASSES[1])):
        for word in range(WORDS):
            vector = rng.normal(size=width)
            vector[0] += sign * apart
            lines.append(f"{name}{letters(word)} {' '.join(f'{number:.4f}' for number in vector)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"words:{path}"


def letters(number: int) -> str:
    """Return a number as letters."""
    return "".join(chr(ord("a") + int(digit)) for digit in f"{number:03d}")
