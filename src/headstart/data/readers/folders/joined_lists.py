"""Texts that tell labels and parts and are no lists of a part: joined by an id, alone, or beside the files of a part.

CUB-200 numbers its photos in one text and gives the part and the class of each number in others; Tiny-ImageNet names
the photos of its validation part, which lie in no class folders, with their class behind.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from headstart.data.dataset import BadExample, Split
from headstart.data.file_tree import File, Tree, suffix_of
from headstart.data.labels import part_named_in, parts_of
from headstart.data.readers.folders.lists import MAX_LIST, MOST_TEXTS, SUFFIXES, Lists, keys_of, named_in

MOSTLY = 0.9  # the share of ids that two texts must have in common
_SEPARATOR = re.compile(r"[\t,; ]+")
_LABEL = re.compile(r"label|class|categor|target", re.IGNORECASE)


def joined_lists(tree: Tree, files: Sequence[File], paths: Sequence[str]) -> Lists:
    """Return what texts say of the examples `paths` by the ids that another text gives these; nothing where none does.

    Each line is an id and a value. A text of truth values, or of names of parts, is the split; one of few values is the
    label, whose name another text may give.
    """
    tables = {path: rows for path in _texts(files) if (rows := _rows(tree, path))}
    keys = keys_of(paths)
    for path, rows in tables.items():
        example_of = {key: keys[value] for key, value in rows.items() if keys.get(value)}
        named = len(set(example_of.values()))
        if 2 * named > len(paths) and named >= MOSTLY * len(rows):
            return _joined(path, example_of, {text: tables[text] for text in tables if text != path})
    return Lists()


def _joined(path: str, example_of: Mapping[str, str], tables: Mapping[str, Mapping[str, str]]) -> Lists:
    used, splits, labels = dict[str, str](), dict[str, Split](), dict[str, str]()
    for text in sorted(tables, key=lambda name: (_LABEL.search(name) is None, name)):
        values = {example_of[key]: value for key, value in tables[text].items() if key in example_of}
        if len(values) < MOSTLY * len(example_of):
            continue
        words = re.findall("[A-Za-z]+", text.rpartition("/")[2])
        parts = parts_of(values.values(), next((word for word in words if part_named_in(word)), ""))
        if None not in parts.values() and "train" in parts.values():
            splits = {example: part for example, value in values.items() if (part := parts[value]) is not None}
            used[text] = " and ".join(sorted(set(splits.values())))
        elif not labels and _are_labels(values):
            names = next((rows for rows in tables.values() if rows.keys() == set(values.values())), {})
            labels = {example: names.get(value, value) for example, value in values.items()}
            used[text] = "labels"
    return Lists(splits, labels, {path: "names"} | used) if used else Lists()


def label_list(tree: Tree, files: Sequence[File], paths: Sequence[str]) -> Lists:
    """Return the labels of the first text that gives one behind the name of most of the examples `paths`."""
    keys = keys_of(paths)
    for path in _texts(files):
        labels, _ = named_in(tree, path, keys)
        if 2 * len(labels) > len(paths) and all(labels.values()) and _are_labels(labels):
            return Lists(labels=labels, files={path: "labels"})
    return Lists()


def labels_of_part(
    tree: Tree, files: Sequence[File], paths: Sequence[str], classes: Collection[str]
) -> tuple[str, dict[str, str]] | None:
    """Return the text that names most of the examples `paths` with their class behind, and these classes."""
    keys = keys_of(paths)
    for path in _texts(files, deepest=2):
        named, _ = named_in(tree, path, keys)
        labels = {example: _SEPARATOR.split(rest)[0] for example, rest in named.items()}
        known = {example: label for example, label in labels.items() if label in classes}
        if 2 * len(known) > len(paths):
            return path, known
    return None


def _are_labels(values: Mapping[str, str]) -> bool:
    distinct = set(values.values())
    return 1 < len(distinct) <= len(values) // 2 and not any(_SEPARATOR.search(value) for value in distinct)


def _texts(files: Sequence[File], *, deepest: int = 1) -> list[str]:
    names = [one.path for one in files if not one.problem and one.path.count("/") <= deepest]
    return [path for path in names if suffix_of(path) in SUFFIXES][:MOST_TEXTS]


def _rows(tree: Tree, path: str) -> dict[str, str]:
    """Return the value behind each id of a text; nothing where an id stands in it twice, or has none behind it."""
    try:
        lines = tree.read(path, limit=MAX_LIST).decode("utf-8-sig").splitlines()
    except (BadExample, UnicodeDecodeError):
        return {}
    pairs = [_SEPARATOR.split(line.strip(), maxsplit=1) for line in lines if line.strip()]
    rows = {pair[0]: pair[1].replace("\\", "/") for pair in pairs if len(pair) == 2}
    return rows if len(rows) == len(pairs) else {}
