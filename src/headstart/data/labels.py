"""Labels, split names and lists of classes as people write them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
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
UNLABELLED = frozenset({"unsup", "unsupervised", "unlabelled", "unlabeled", "_background_noise_"})
"""What folders of examples without labels are called, in lower case; the last holds noise to mix into recordings."""
_PART = "|".join(sorted(SPLITS, key=len, reverse=True))
_NOUN = "lists?|sets?|splits?|data|files?|images?|imgs?|pics?|photos?|labels?|texts?|audio|ids?|names?"
_PART_WORD = re.compile(rf"(?:x|y|(?:{_NOUN}))?({_PART})(?:{_NOUN})?")

MISSING = frozenset({"", "nan", "<na>"})
"""Labels, lower case and trimmed, that say "no label"; "none" and "NA" may well be classes."""

TRUTHS = {
    **dict.fromkeys(("true", "yes", "y", "t", "1", "1.0"), True),
    **dict.fromkeys(("false", "no", "n", "f", "0", "0.0"), False),
}
"""How truth values are written, in lower case."""

SEVERAL = "|"  # what joins several labels of one example
_CODES = 20  # so many different numbers may always be names of classes


def part_named_in(name: str) -> Split | None:
    """Return the part that one word of a name tells (`seg_train`, `TestImages`, `trainlist01`), if exactly one does."""
    words = re.findall(r"t10k|[A-Z]?[a-z]+|[A-Z]+", name)
    matches = [_PART_WORD.fullmatch(word.lower()) for word in words]
    parts = {SPLITS[match[1]] for match in matches if match}
    return parts.pop() if len(parts) == 1 else None


def part_of(cell: object) -> Split | None:
    """Return the part that a cell names, by its name or in a phrase (`PublicTest`, `train set`); None for none."""
    text = str(cell).strip()
    return SPLITS.get(re.sub(r"[\W_]", "", text.lower())) or part_named_in(text)


def parts_of(cells: Iterable[object], name: str) -> dict[str, Split | None]:
    """Return the part that each different cell of a column, as text, stands for; None for a cell that names none.

    Where the name of the column tells a part (`is_train`), and its cells are all truth values, those are read.
    """
    distinct = set(map(str, cells))
    part = part_named_in(name)
    truths = {cell: TRUTHS.get(cell.strip().lower()) for cell in distinct}
    if part is not None and None not in truths.values():
        rest: Split = "test" if part == "train" else "train"
        return {cell: part if truth else rest for cell, truth in truths.items()}
    return {cell: part_of(cell) for cell in distinct}


def class_name_of(label: object) -> str | None:
    """Return a label as the name of its class, exactly as it is spelled (1, 1.0, 01), or None where it is missing.

    A list of one label is that label.
    """
    if isinstance(label, (list, tuple)):
        return class_name_of(label[0]) if len(label) == 1 else SEVERAL.join(map(str, label)) or None
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return None
    text = label.decode("utf-8", "surrogateescape") if isinstance(label, bytes) else str(label)
    return None if text.strip().lower() in MISSING else text


def check_classes(classes: Sequence[str], *, where: str, do: str) -> None:
    """Raise DataError unless there are at least two classes."""
    if len(classes) < 2:
        received = f"only one, {classes[0]!r}" if classes else "none"
        raise DataError(f"{where} must hold at least two classes", received, do)


def check_labels(counts: Mapping[str, int], *, where: str) -> None:
    """Raise DataError where the labels, with how often each is there, are no names of classes, one an example.

    They may be several in one, a quantity, or different in nearly every example, as an id is.
    """
    total = sum(counts.values())
    if several := _several(counts):
        received = f"several in {sum(counts[label] for label in several):,} of {total:,}, such as {several[0]!r}"
        do = "keep one of them in each example, or fit one model for each of them, with labels yes and no"
        raise DataError(f"examples of {where} must have one label each", received, do)
    numbers = sorted(one for one in map(time_of, counts) if one is not None) if len(counts) > _CODES else []
    if len(numbers) == len(counts) and numbers and _is_quantity(numbers, total):
        low, high = (next(label for label in counts if time_of(label) == end) for end in (numbers[0], numbers[-1]))
        received = f"a quantity: {len(counts):,} different numbers or times from {low} to {high} in {total:,}"
        do = (
            "make classes of its ranges, such as low and high, in a column of their own; numbers that do name classes "
            f"must be written as names, such as class {low}"
        )
        raise DataError(f"labels of {where} must name classes", received, do)
    if len(counts) > _CODES and len(counts) * 10 > total * 9:
        received = f"{len(counts):,} different ones in {total:,} examples, such as {next(iter(counts))!r}"
        do = "name the column of the classes: --label-column"
        raise DataError(f"labels of {where} must be shared by several examples", received, do)


def number_of(cell: object) -> float | None:
    """Return the number that a cell holds or spells, with a point or a comma, or None."""
    if isinstance(cell, (bytes, list)):
        return None
    try:
        number = float(str(cell).strip().replace(",", ".").replace("_", "x"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def time_of(cell: object) -> float | None:
    """Return a number as it is, or the seconds since 1970 of an ISO date, which is in UTC unless it says otherwise."""
    if isinstance(cell, datetime):
        when = cell
    elif isinstance(cell, date):
        when = datetime(cell.year, cell.month, cell.day, tzinfo=UTC)
    elif (number := number_of(cell)) is not None:
        return number
    else:
        try:
            when = datetime.fromisoformat(str(cell).strip().replace("/", "-"))
        except ValueError:
            return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _is_quantity(numbers: Sequence[float], total: int) -> bool:
    """Return whether different numbers, ascending, measure something: ids of classes are whole, dense and recur."""
    whole = all(number.is_integer() for number in numbers)
    dense = numbers[0] in (0, 1) and (numbers[-1] - numbers[0] + 1) * 2 <= len(numbers) * 3
    return not whole or not dense or total < 3 * len(numbers)


def _several(labels: Iterable[str]) -> list[str]:
    """Return the labels that are several in one: those whose every part is another label, or a part of others too."""
    known = set(labels)
    for mark in (SEVERAL, ";", ","):
        split = {label: [part.strip(" []'\"") for part in label.split(mark)] for label in known if mark in label}
        split = {label: parts for label, parts in split.items() if all(parts)}
        if not split or all(number_of(label) is not None for label in known):
            continue
        uses = Counter(part for parts in split.values() for part in set(parts))
        uses.update(known - split.keys())
        joined = [label for label, parts in split.items() if all(uses[part] > 1 for part in parts)]
        if len(joined) * 2 > len(split):
            return sorted(joined)
    return []


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
        entries: int | None = None,
    ) -> Dataset:
        """Return the examples; raises DataError as `check_classes` where there are some and labels are wanted."""
        counts = Counter(example.label for example in self.examples)
        classes = tuple(sorted(counts)) if self.labelled else ()
        if self.labelled and self.examples:
            check_labels(counts, where=where)
            check_classes(classes, where=where, do=do)
        notes = (*notes, *label_notes(classes))
        return Dataset(
            name, kind, tuple(self.examples), classes, read, tuple(self.skipped), entries=entries, notes=notes
        )


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
            f"name classes that are there{did_you_mean(unknown[0], dataset.classes)}",
        )
    check_classes(tuple(names), where=where, do="name at least two")
    classes = frozenset(names)
    kept = dataset.keep([at for at, example in enumerate(dataset.examples) if example.label in classes])
    skipped = tuple(one for one in dataset.skipped if one.label in classes)
    return replace(kept, classes=tuple(sorted(classes)), skipped=skipped, entries=None)
