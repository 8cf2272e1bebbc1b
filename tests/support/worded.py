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


def write_halves(folder: Path, *, n: int = 160, seed: int = 0) -> tuple[Path, list[str]]:
    """Write texts of four classes and three files of vectors: of two halves of the truth each, and of nothing.

    The first tells the classes apart by one of two bits, the second by the other, the third not at all.
    """
    rng = np.random.default_rng(seed)
    names = ("aa", "ab", "ba", "bb")
    rows = [
        f"{' '.join(f'{names[at % 4]}{letters(word)}' for word in rng.integers(WORDS, size=3))},{names[at % 4]}"
        for at in range(n)
    ]
    data = folder / "halves.csv"
    data.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    uris = []
    for which, bits in (("first", (-1, -1, 1, 1)), ("second", (-1, 1, -1, 1)), ("nothing", (0, 0, 0, 0))):
        path, lines = folder / f"{which}.txt", list[str]()
        for name, bit in zip(names, bits, strict=True):
            vectors = rng.normal(size=(WORDS, 4)) + np.array([1.5 * bit, 0, 0, 0])
            lines += [
                f"{name}{letters(at)} {' '.join(f'{x:.4f}' for x in vector)}" for at, vector in enumerate(vectors)
            ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        uris.append(f"words:{path}")
    return data, uris
