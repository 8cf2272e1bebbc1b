"""Folders whose names are the labels, below a folder or inside an archive.

The rule: a class is a folder of the first level (of the second where those are parts or groups, see `layout`), and
every picture below it, however deep, is of that class; every recording, where there are more of them; and where there
is neither, every text file. Those beside the class folders are ignored and counted, and so are files of another suffix.
Hidden files and what systems leave behind are ignored and counted too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from headstart.base.errors import DataError, list_some
from headstart.data.audio.decoding import SOUND_SUFFIXES
from headstart.data.dataset import Dataset, Example, Skipped
from headstart.data.file_tree import File, Subtree, Tree, file_reader, is_litter, suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.labels import SPLITS, check_classes, label_notes
from headstart.data.modality import MODALITIES, Kind
from headstart.data.readers.layout import Layout, are_numbered, layout_of
from headstart.data.readers.tables import TABLE_SUFFIXES
from headstart.data.text import TEXT_SUFFIXES

RULE = "make one folder per class, named after it, with its {items} inside (or train/ and test/ above such folders)"
SUFFIXES: dict[Kind, frozenset[str]] = {"image": IMAGE_SUFFIXES, "sound": SOUND_SUFFIXES, "text": TEXT_SUFFIXES}
TABLES = (*TABLE_SUFFIXES, ".parquet")


def unwrap(tree: Tree) -> tuple[Tree, int]:
    """Step, once, into the one folder that wraps all else, as in archives; return it and how many files lie outside."""
    tops = {path for path in tree.folders if "/" not in path and not is_litter(path)}
    beside = [file for file in tree.files if "/" not in file.path or is_litter(file.path.partition("/")[0])]
    telling = any(suffix_of(file.path) in (*IMAGE_SUFFIXES, *SOUND_SUFFIXES, *TABLES) for file in visible(beside))
    if len(tops) != 1 or telling:
        return tree, 0
    (top,) = tops
    inner = Subtree(tree, top)
    wraps = any("/" not in path and not is_litter(path) for path in inner.folders) or any(
        "/" not in file.path and suffix_of(file.path) in TABLES for file in inner.files
    )
    return (inner, len(beside)) if wraps and top.lower() not in SPLITS else (tree, 0)


def visible(files: Sequence[File]) -> list[File]:
    """Return the files that are no litter."""
    return [file for file in files if not is_litter(file.path)]


@dataclass
class _FolderListing:
    kind: Kind
    examples: list[Example] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored: int = 0
    unlabelled: int = 0
    stray: list[str] = field(default_factory=list)


def from_folders(tree: Tree, *, name: str, ignored: int = 0) -> Dataset:
    """Return the labelled pictures or recordings of class folders, or their texts where there is neither.

    Raises:
        DataError: nothing is found, a class folder is empty, or there is only one class.
    """
    shown = visible(tree.files)
    tops = sorted(path for path in tree.folders if "/" not in path and not is_litter(path))
    listing = _FolderListing(_kind(shown), ignored=ignored + len(tree.files) - len(shown))
    layout = layout_of(tops, (file.path for file in shown if suffix_of(file.path) in SUFFIXES[listing.kind]))
    items = MODALITIES[listing.kind].plural
    rule = RULE.format(items=items)
    for file in shown:
        _place(file, layout, listing)
    labels = tops
    if layout.has_classes_below:
        below = [path for path in tree.folders if path.count("/") == 1 and not is_litter(path)]
        labelled = layout.groups.union(layout.parts) - layout.unlabelled
        labels = sorted(path for path in below if path.partition("/")[0] in labelled)
    elif are_numbered(tops):
        received = f"{list_some(tops, 3)}, which are numbered parts"
        raise DataError(f"the folders in {tree.where} must be named after classes", received, rule)
    if not labels and not listing.skipped:
        raise DataError(f"{tree.where} must hold class folders", _what_is_there(shown), rule)
    _check_filled(tree, labels, listing)
    classes = tuple(sorted({folder.rpartition("/")[2] for folder in labels}))
    check_classes(classes, where=tree.where, do=rule)
    notes = label_notes(classes, numbers=False)
    if listing.stray:
        beside = f"{len(listing.stray)} {items} lie beside the class folders and are ignored"
        notes = (f"{beside} ({list_some(listing.stray, 5)}): {rule}.", *notes)
    if listing.unlabelled:
        unlabelled = " and ".join(f"{top}/" for top in sorted(layout.unlabelled))
        notes = (f"{unlabelled} is set aside for predict: {listing.unlabelled} {items} without a label.", *notes)
    return Dataset(
        name=name,
        kind=listing.kind,
        examples=tuple(listing.examples),
        classes=classes,
        read=file_reader(tree, tuple(example.id for example in listing.examples), begin=listing.kind == "sound"),
        skipped=tuple(listing.skipped),
        ignored=listing.ignored,
        notes=notes,
        layout=layout.sentence(len(classes)),
    )


def from_files(tree: Tree, *, name: str, kind: Kind = "image") -> Dataset:
    """Return every picture (recording, text) of a folder or archive, at any depth, unlabelled; DataError if none."""
    shown = visible(tree.files)
    listed = [file for file in shown if file.problem or suffix_of(file.path) in SUFFIXES[kind]]
    if not listed:
        do = "name a folder or files with some"
        raise DataError(f"{tree.where} must hold {MODALITIES[kind].plural}", _what_is_there(shown), do)
    usable = [file.path for file in listed if not file.problem]
    return Dataset(
        name=name,
        kind=kind,
        examples=tuple(Example(path, "") for path in usable),
        classes=(),
        read=file_reader(tree, tuple(usable), begin=kind == "sound"),
        skipped=tuple(Skipped(file.path, "", file.problem) for file in listed if file.problem),
        ignored=len(tree.files) - len(listed),
    )


def _place(file: File, layout: Layout, listing: _FolderListing) -> None:
    depth = 2 if layout.has_classes_below else 1
    names = file.path.split("/")
    split, group = layout.parts.get(names[0]), names[0] if names[0] in layout.groups else None
    inside = len(names) > depth and (depth == 1 or split is not None or group is not None)
    label = names[depth - 1] if inside else ""
    if file.problem:
        listing.skipped.append(Skipped(file.path, label, file.problem))
    elif suffix_of(file.path) not in SUFFIXES[listing.kind]:
        listing.ignored += 1
    elif names[0] in layout.unlabelled:
        listing.ignored += 1
        listing.unlabelled += 1
    elif not inside:
        listing.ignored += 1
        listing.stray.append(file.path)
    else:
        listing.examples.append(Example(file.path, label, split, group))


def _check_filled(tree: Tree, labels: Sequence[str], listing: _FolderListing) -> None:
    level = labels[0].count("/") + 1 if labels else 1
    ids = [example.id for example in listing.examples] + [skipped.id for skipped in listing.skipped]
    filled = {"/".join(path.split("/")[:level]) for path in ids if path.count("/") >= level}
    empty = [folder for folder in labels if folder not in filled]
    if empty:
        raise DataError(
            f"every class folder of {tree.where} must hold {MODALITIES[listing.kind].plural} "
            f"({' '.join(sorted(SUFFIXES[listing.kind]))})",
            f"none in {list_some(empty, 5)}",
            f"put {MODALITIES[listing.kind].plural} there or remove the folder",
        )


def _kind(shown: Sequence[File]) -> Kind:
    """Return what the files are: pictures or recordings, whichever are more; texts where some are and no other."""
    counts = _counts(shown)
    if counts["sound"] > counts["image"]:
        return "sound"
    return "text" if counts["text"] and not counts["image"] else "image"


def _counts(shown: Sequence[File]) -> dict[Kind, int]:
    """Return how many files are of each kind by their suffix."""
    suffixes = Counter(suffix_of(file.path) for file in shown)
    return {kind: sum(suffixes[suffix] for suffix in known) for kind, known in SUFFIXES.items()}


def _what_is_there(shown: Sequence[File]) -> str:
    tables = [file.path for file in shown if suffix_of(file.path) in TABLES]
    if tables:
        return f"no class folder, but the table {tables[0]}: name that file if it lists the examples"
    for kind, count in _counts(shown).items():
        if count:
            return f"{count} {MODALITIES[kind].plural}, in no class folder"
    return f"{len(shown)} files, none of them a photo, a recording or a text" if shown else "nothing, it is empty"
