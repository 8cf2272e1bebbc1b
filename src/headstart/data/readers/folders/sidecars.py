"""Labels in a file beside each example, called as it is but for the suffix: `000.jpg` and `000.cls`, as in WebDataset.

The examples may lie in folders or in shards, which are archives; a word in the name of a shard tells its part.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from headstart.base.errors import list_some, one_line
from headstart.data.dataset import BadExample, Dataset, Split
from headstart.data.file_tree import File, Tree, file_reader
from headstart.data.labels import Listing, class_name_of, part_named_in
from headstart.data.modality import Kind

LABELS = (".cls", ".label", ".labels", ".target", ".cls.txt", ".json", ".txt")
"""The suffixes of files that hold a label, in the order of trust."""
KEYS = ("label", "class", "cls", "target", "category", "label_name", "class_name", "y")
"""Where a JSON object holds the label."""
MAX_LABEL = 1 << 16  # bytes of a file of one label
_SHARE = 0.9  # of the examples that must have such a file


def labels_beside(files: Sequence[File], suffixes: frozenset[str]) -> dict[str, str]:
    """Return the file of the label by the path of each example; nothing where most have none.

    Args:
        files: those that are no litter.
        suffixes: of the examples.
    """
    by_stem: dict[str, dict[str, str]] = defaultdict(dict)
    for file in files:
        folder, _, name = file.path.rpartition("/")
        stem, dot, suffix = name.partition(".")
        by_stem[f"{folder}/{stem}"][f"{dot}{suffix}".lower()] = file.path
    beside, count = {}, 0
    for members in by_stem.values():
        examples = [path for suffix, path in members.items() if f".{suffix.rpartition('.')[2]}" in suffixes]
        label = next((members[suffix] for suffix in LABELS if suffix in members), None)
        count += len(examples)
        if label is not None:
            beside.update(dict.fromkeys(examples, label))
    return beside if count and len(beside) >= _SHARE * count else {}


def from_sidecars(
    tree: Tree, files: Sequence[File], beside: dict[str, str], *, kind: Kind, name: str
) -> Dataset | None:
    """Return examples whose labels stand in files beside them; None where these hold no labels of several classes."""
    tops = {path.partition("/")[0] for path in beside if "/" in path}
    parts: dict[str, Split] = {top: part for top in tops if (part := part_named_in(top)) is not None}
    parts = parts if "train" in parts.values() and len(parts) == len(tops) else {}
    listing = Listing(labelled=True)
    for path, label in sorted(beside.items()):
        listing.add(path, _label(tree, label), path, split=parts.get(path.partition("/")[0]))
    classes = {example.label for example in listing.examples}
    if len(classes) < 2 or 2 * len(classes) > len(listing.examples):  # captions, or boxes
        return None
    read = file_reader(tree, listing.contents, begin=kind == "sound")
    items = "recordings" if kind == "sound" else "photos"
    note = f"The labels stand in files beside the {items}, such as {one_line(label)}."
    dataset = listing.dataset(read, name=name, kind=kind, where=tree.where, do="give two classes", notes=(note,))
    used = {*beside, *beside.values()}
    unused = [file for file in files if file.path not in used]
    ignored, entries = len(tree.files) - len(used), len(tree.files) - len(set(beside.values()))
    return _with(replace(dataset, ignored=ignored, entries=entries), unused=unused, parts=parts)


def _with(dataset: Dataset, *, unused: Sequence[File], parts: dict[str, Split]) -> Dataset:
    tops = {part: sorted(top for top, one in parts.items() if one == part) for part in sorted(set(parts.values()))}
    clauses = [f"{part} from {list_some(names, 3)}" for part, names in tops.items()]
    notes = [f"{len(unused)} other files were not used, such as {list_some([unused[0].path])}."] if unused else []
    layout = ", ".join([f"{len(dataset.classes)} classes from files beside the examples", *clauses]) + "."
    return replace(dataset, layout=layout, notes=(*dataset.notes, *notes))


def _label(tree: Tree, path: str) -> str | None:
    """Return the label in a file: a name or number in a text, or the value of one of `KEYS` in a JSON object."""
    try:
        text = tree.read(path, limit=MAX_LABEL).decode("utf-8").strip()
    except (BadExample, UnicodeDecodeError):
        return None
    value: Any = text
    if path.lower().endswith(".json"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if isinstance(value, dict):
            value = next((value[key] for key in KEYS if key in value), None)
    return None if isinstance(value, (dict, list)) else class_name_of(value)
