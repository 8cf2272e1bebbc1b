"""Some classes of a data set alone, by a list in a text file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headstart.base.errors import DataError, did_you_mean
from headstart.data.dataset import Dataset
from headstart.data.labels import check_classes


def read_classes(path: Path) -> tuple[str, ...]:
    """Return the class names in a text file, one a line; empty lines and those that begin with `#` are passed over.

    Raises:
        DataError: it cannot be read, or names no class.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be a text file of class names", error, "name another") from error
    names = tuple(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#")))
    if not names:
        raise DataError(f"{path} must name classes", "none", "write one a line")
    return names


def keep_classes(dataset: Dataset, names: Sequence[str], *, where: str) -> Dataset:
    """Return the examples of the classes `names` alone.

    Args:
        dataset: labelled examples.
        names: of the classes to keep.
        where: names their list in messages.

    Raises:
        DataError: there is no such class, or they are fewer than two.
    """
    if unknown := [name for name in names if name not in dataset.classes]:
        raise DataError(
            f"{where} must name classes of {dataset.name}",
            f"{len(unknown)} others, such as {unknown[0]!r}",
            f"correct it{did_you_mean(unknown[0], dataset.classes)}",
        )
    check_classes(tuple(names), where=where, do="name at least two")
    classes = frozenset(names)
    kept = dataset.keep([at for at, example in enumerate(dataset.examples) if example.label in classes])
    skipped = tuple(one for one in dataset.skipped if one.label in classes)
    return replace(kept, classes=tuple(sorted(classes)), skipped=skipped)
