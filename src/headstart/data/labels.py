"""Labels, split names and lists of classes as people write them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headstart.base.errors import DataError, did_you_mean, list_some
from headstart.data.dataset import Dataset, Example, Skipped, Split
from headstart.data.modality import Kind

SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trn", "tr", "trainval", "traindev", "learn", "learning"), "train"),
    **dict.fromkeys(
        ("validation", "val", "valid", "validate", "validating", "dev", "devel", "development", "eval", "evaluation"),
        "validation",
    ),
    **dict.fromkeys(("test", "testing", "tst", "te", "holdout", "heldout", "t10k"), "test"),
}
"""What a part may be called, in lower case."""
_PART = "|".join(sorted(SPLITS, key=len, reverse=True))
_NOUN = "lists?|sets?|splits?|data|files?|images?|imgs?|pics?|photos?|labels?|texts?|audio|ids?|names?"
_PART_WORD = re.compile(rf"(?:x|y|(?:{_NOUN}))?({_PART})(?:{_NOUN})?")

MISSING = frozenset({"", "nan", "<na>"})
"""Labels, lower case and trimmed, that say "no label"; "none" and "NA" may well be classes."""


def part_named_in(name: str) -> Split | None:
    """Return the part that one word of a name tells (`seg_train`, `TestImages`, `trainlist01`), if exactly one does."""
    words = re.findall(r"t10k|[A-Z]?[a-z]+|[A-Z]+", name)
    matches = [_PART_WORD.fullmatch(word.lower()) for word in words]
    parts = {SPLITS[match[1]] for match in matches if match}
    return parts.pop() if len(parts) == 1 else None


def class_name_of(label: object) -> str | None:
    """Return a label as the name of its class, exactly as it is spelled (1, 1.0, 01), or None where it is missing."""
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return None
    text = label.decode("utf-8", "surrogateescape") if isinstance(label, bytes) else str(label)
    return None if text.strip().lower() in MISSING else text


def check_classes(classes: Sequence[str], *, where: str, do: str) -> None:
    """Raise DataError unless there are at least two classes."""
    if len(classes) < 2:
        received = f"only one, {classes[0]!r}" if classes else "none"
        raise DataError(f"{where} must hold at least two classes", received, do)


def label_notes(classes: Iterable[str], *, numbers: bool = True) -> tuple[str, ...]:
    """Return what should be said once of the class names: that they are `numbers`, and which are nearly the same."""
    notes, alike = [], defaultdict(list)
    names = sorted(classes)
    for name in names:
        alike[_likeness(name)].append(name)
    if numbers and names and all(re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", name.strip()) for name in names):
        notes.append("The labels are numbers: each is a class of its own, exactly as spelled (1, 01 and 1.0 differ).")
    groups = [", ".join(repr(name) for name in group) for group in alike.values() if len(group) > 1]
    if groups:
        notes.append(f"Nearly equal labels are classes of their own: {list_some(groups, 5, separator='; ')}.")
    return tuple(notes)


def _likeness(name: str) -> str:
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    number = re.fullmatch(r"([+-]?)0*([0-9]+)(\.0*)?", plain)
    return f"{number[1]}{number[2]}" if number else plain


@dataclass
class Listing:
    """Labelled examples as a reader meets them, and those that it skips."""

    labelled: bool  # whether labels are wanted; without them every example has the label "" and there are no classes
    examples: list[Example] = field(default_factory=list)
    contents: list[Any] = field(default_factory=list)  # what each example is read from
    skipped: list[Skipped] = field(default_factory=list)

    def add(
        self, name: str, label: str | None, content: object, *, split: Split | None = None, group: str | None = None
    ) -> None:
        """Add an example, or skip it where it has no label."""
        if label is None:
            self.skipped.append(Skipped(name, "", "no label"))
        else:
            self.examples.append(Example(name, label, split, group))
            self.contents.append(content)

    def dataset(
        self,
        read: Callable[[int], bytes],
        *,
        name: str,
        kind: Kind,
        where: str,
        do: str,
        notes: Sequence[str] = (),
        found: int | None = None,
    ) -> Dataset:
        """Return the examples; raises DataError as `check_classes` where there are some and labels are wanted."""
        classes = tuple(sorted({example.label for example in self.examples})) if self.labelled else ()
        if self.labelled and self.examples:
            check_classes(classes, where=where, do=do)
        notes = (*notes, *label_notes(classes))
        return Dataset(name, kind, tuple(self.examples), classes, read, tuple(self.skipped), found=found, notes=notes)


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
    """Return the examples of the classes `names` alone; raises DataError unless they are two, all of them there."""
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
    return replace(kept, classes=tuple(sorted(classes)), skipped=skipped, found=None)
