"""Lists that name the files of a part, one path a line, such as `train.txt`; a label may follow each.

A list is told by its lines, which name examples, and its part by a word of its name. Where no list names the train
part, it is all that none names. Where lists are numbered (`trainlist01`, `trainlist02`), they are alternatives: the
first counts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from headstart.base.errors import DataError, counted, list_some
from headstart.data.dataset import BadExample, Example, Split
from headstart.data.file_tree import File, Tree, suffix_of
from headstart.data.labels import number_of, part_named_in

SUFFIXES = ("", ".txt", ".lst", ".list")
MAX_LIST = 1 << 27  # bytes
MOST_TEXTS = 50  # files that are looked at for a list
_NAMING = 0.5  # the share of lines that must name examples


@dataclass(frozen=True)
class Lists:
    """The part that lists give each example, and the label where they hold one."""

    splits: Mapping[str, Split] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)  # the lists that count, and what each tells
    notes: tuple[str, ...] = ()

    @property
    def _rest(self) -> Split | None:
        """The part of examples that no list names; None where there is none, or a list of the train part."""
        return "train" if self.splits and "train" not in self.splits.values() else None

    def sentence(self, classes: int) -> str:
        """Return what was read as what, as one sentence."""
        clauses = [f"{part} from {path}" for path, part in sorted(self.files.items())]
        rest = ["train from all that no list names"] if self._rest else []
        return ", ".join([f"{classes} classes", *clauses, *rest]) + "."

    def applied(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples with the parts of the lists; those that no list names are left out."""
        if not self.splits:
            return list(examples)
        placed = [replace(one, split=self.splits.get(one.id, self._rest)) for one in examples]
        return [one for one in placed if one.split is not None]


def lists_of(tree: Tree, files: Sequence[File], paths: Sequence[str]) -> Lists:
    """Return what the lists among `files` say of the examples `paths`.

    Raises:
        DataError: an example stands in the lists of two parts.
    """
    candidates = [
        (file.path, part)
        for file in files
        if file.path.count("/") < 2
        and not file.problem
        and suffix_of(file.path) in SUFFIXES
        and (part := part_named_in(file.path.rpartition("/")[2].partition(".")[0])) is not None
    ]
    if not candidates:
        return Lists()
    keys = keys_of(paths)
    lists: dict[str, tuple[Split, dict[str, str], int]] = {}
    for path, part in candidates:
        named, missing = named_in(tree, path, keys)
        if named and len(named) >= _NAMING * (len(named) + missing):
            lists[path] = (part, named, missing)
    chosen = _first_alternative(lists)
    splits: dict[str, Split] = {}
    for path in chosen:
        part, named, _ = lists[path]
        for example in named:
            if splits.setdefault(example, part) != part:
                received = f"{example} in {path} and in that of {splits[example]}"
                raise DataError(
                    f"the lists in {tree.where} must name each file once", received, "take it out of one of the two"
                )
    labels = {example: label for path in chosen for example, label in lists[path][1].items() if label}
    if labels and all(" " in label and number_of(label.replace(" ", "")) is not None for label in labels.values()):
        raise _no_labels(tree, chosen[0], next(iter(labels.items())))
    return Lists(
        splits,
        labels,
        {path: lists[path][0] for path in chosen},
        _notes(lists, chosen),
    )


def check_unused(tree: Tree, files: Sequence[File], paths: Sequence[str]) -> None:
    """Raise DataError where a text names most of the examples `paths`, a line each, and nothing can be read from it."""
    keys = keys_of(paths)
    for file in files[:MOST_TEXTS]:
        if not file.problem and suffix_of(file.path) in SUFFIXES:
            named, _ = named_in(tree, file.path, keys)
            if paths and 2 * len(named) > len(paths):
                raise _no_labels(tree, file.path, next(iter(named.items())))


def _no_labels(tree: Tree, path: str, line: tuple[str, str]) -> DataError:
    must = f"{path} in {tree.where}, which names the examples, must hold one label behind each name"
    do = "write it as CSV with a header line, such as path,label, and name that file"
    return DataError(must, f"{line[1][:60]!r} behind {line[0]}", do)


def _first_alternative(lists: Mapping[str, tuple[Split, dict[str, str], int]]) -> list[str]:
    """Return the lists that count: of numbered ones, those of the lowest number."""
    numbers = {path: re.findall(r"\d+", path.rpartition("/")[2]) for path in lists}
    by_part = defaultdict(list)
    for path, (part, _, _) in lists.items():
        by_part[part].append(path)
    named = {part: sum(len(lists[path][1]) for path in paths) for part, paths in by_part.items()}
    alone = {part: len({one for path in paths for one in lists[path][1]}) for part, paths in by_part.items()}
    if named == alone:  # lists of one part that share nothing are pieces of it
        return sorted(lists)
    lowest = min((number[-1] for number in numbers.values() if number), default=None, key=int)
    return sorted(path for path, number in numbers.items() if not number or number[-1] == lowest)


def _notes(lists: Mapping[str, tuple[Split, dict[str, str], int]], chosen: Sequence[str]) -> tuple[str, ...]:
    notes = [
        f"{counted(missing, f'line of {path} names', f'lines of {path} name')} no file that is there."
        for path, (_, _, missing) in lists.items()
        if missing and path in chosen
    ]
    if others := sorted(set(lists) - set(chosen)):
        notes.append(f"{list_some(others, 5)} are other splits of the same files and are not used.")
    return tuple(notes)


def keys_of(paths: Sequence[str]) -> dict[str, str]:
    """Return the path of each example by every end of it that is its alone, with its suffix and without."""
    keys: dict[str, str] = {}
    for path in paths:
        stem = path[: len(path) - len(suffix_of(path))]
        for whole in (path, stem):
            parts = whole.split("/")
            for start in range(len(parts)):
                key = "/".join(parts[start:])
                keys[key] = path if keys.get(key, path) == path else ""
    return keys


def named_in(tree: Tree, path: str, keys: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """Return the examples that a list names with the label that follows each, and how many lines name none."""
    try:
        lines = tree.read(path, limit=MAX_LIST).decode("utf-8-sig").splitlines()
    except (BadExample, UnicodeDecodeError):
        return {}, 0
    named, missing = {}, 0
    for line in lines:
        text = line.strip().replace("\\", "/").removeprefix("./")
        if not text:
            continue
        example = keys.get(text)
        label = ""
        if not example:
            first, label = [*re.split(r"[\t,; ]+", text, maxsplit=1), ""][:2]
            example = keys.get(first.removeprefix("./"))
        if example:
            named[example] = label.strip()
        else:
            missing += 1
            if missing > 1000 and not named:
                return {}, missing
    return named, missing
