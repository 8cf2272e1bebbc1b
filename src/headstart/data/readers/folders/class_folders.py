"""Folders whose names are the labels, below a folder or inside an archive.

The rule: a class is a folder of the first level (of another where those are parts or groups, see `layout`), and every
picture below it, however deep, is of that class; every recording, where there are more of them; and where there is
neither, every text file; see `file_kinds`. Those beside the class folders are ignored and counted, and so are files of
another kind, hidden files and what systems leave behind. A pattern may take the labels from names.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from headstart.base.errors import DataError, counted, list_some
from headstart.data.dataset import MAX_BAD, Dataset, Example, Skipped
from headstart.data.file_tree import OUTSIDE, TO_FOLDER, File, Subtree, Tree, file_reader, is_litter, parents, suffix_of
from headstart.data.labels import SPLITS, UNLABELLED, check_classes, label_notes
from headstart.data.modality import MODALITIES, Kind
from headstart.data.readers.folders.class_names import names_beside
from headstart.data.readers.folders.file_kinds import SUFFIXES, TABLES, FileKinds, group_by_suffix
from headstart.data.readers.folders.joined_lists import joined_lists, label_list, labels_of_part
from headstart.data.readers.folders.layout import Layout, Place, are_numbered, layout_of, parts_of
from headstart.data.readers.folders.lists import Lists, lists_of
from headstart.data.readers.name_labels import check_labels, labels_by, suggestion

RULE = "make one folder per class, named after it, with its {items} inside (or train/ and test/ above such folders)"
USUAL = frozenset({".jpg", ".png", ".webp", ".wav", ".mp3", ".flac", ".txt"})
FOLLOW = "follow links with --follow-links, or name the folder that they lead into with --root"


def unwrap(tree: Tree) -> tuple[Tree, list[str]]:
    """Step, once, into the one folder that wraps all else, as in archives; return it and the files that lie outside."""
    tops = {path for path in tree.folders if "/" not in path and not is_litter(path)}
    litter = tuple(f"{path}/" for path in tree.folders if "/" not in path and path not in tops)
    beside = [file for file in tree.files if "/" not in file.path or file.path.startswith(litter)]
    telling = any(suffix_of(file.path) in (*SUFFIXES["image"], *SUFFIXES["sound"], *TABLES) for file in visible(beside))
    if len(tops) != 1 or telling or (top := next(iter(tops))).lower() in SPLITS:
        return tree, []
    start = len(top) + 1
    inside = (path[start:] for path in tree.folders if path.startswith(f"{top}/"))
    tables = (file.path[start:] for file in tree.files if file.path.startswith(f"{top}/"))
    tables = (path for path in tables if suffix_of(path) in TABLES)
    if _tell_of_examples(tree, beside):
        return tree, []
    wraps = any("/" not in path and not is_litter(path) for path in inside) or not all("/" in path for path in tables)
    return (Subtree(tree, top), [file.path for file in beside]) if wraps else (tree, [])


def _tell_of_examples(tree: Tree, beside: Sequence[File]) -> bool:
    """Return whether texts beside a folder hold the parts or the labels of the files in it."""
    media = [file.path for file in tree.files if suffix_of(file.path) in (*SUFFIXES["image"], *SUFFIXES["sound"])]
    texts = visible(beside)
    return bool(texts and media and (lists_of(tree, texts, media).files or joined_lists(tree, texts, media).files))


def visible(files: Sequence[File]) -> Sequence[File]:
    """Return the files that are no litter."""
    litter = {file.path for file in files if is_litter(file.path)}
    return [file for file in files if file.path not in litter] if litter else files


@dataclass
class _FolderListing:
    kinds: FileKinds
    chosen: list[str]  # the paths of the files of the kind that prevails, in order
    litter: list[str]
    examples: list[Example] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)  # files of another kind
    naming: list[str] = field(default_factory=list)  # texts that give the classes of a part
    unlisted: int = 0  # examples that no list names
    listed: bool = False  # whether lists name the examples
    by_lists: bool = False  # whether the labels stand in the lists
    without: frozenset[str] = frozenset()  # class folders that are called unlabelled
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What the examples are."""
        return self.kinds.prevailing


def from_folders(tree: Tree, shown: Sequence[File], *, name: str, label_from: str | None = None) -> Dataset:
    """Return the labelled pictures or recordings of class folders, or their texts where there is neither.

    Args:
        shown: the files that are no litter.
        label_from: a regular expression that takes the label from the path of a file, in place of its folders.

    Raises:
        DataError: nothing is found, a class folder is empty, there is only one class, or links hide examples.
    """
    tops = sorted(path for path in tree.folders if "/" not in path and not is_litter(path))
    kinds = FileKinds(tree, shown, least_depth=1)
    litter = [] if len(shown) == len(tree.files) else [file.path for file in tree.files if is_litter(file.path)]
    listing = _FolderListing(kinds, kinds.wanted(shown), litter)
    folders = {file.path.rpartition("/")[0] for file in shown}
    layout = layout_of(tops, listing.chosen, with_files=folders) if label_from is None else parts_of(tops)
    _place_all(shown, layout, listing, label_from)
    _set_aside(listing)
    _check_links(tree, shown, layout, listing)
    lists = Lists() if listing.kind == "text" or layout.parts else lists_of(tree, shown, listing.chosen)
    if not lists.files and listing.kind != "text" and not layout.parts:
        lists = joined_lists(tree, shown, listing.chosen)
        if not lists.files and len({example.label for example in listing.examples}) < 2:
            lists = label_list(tree, shown, listing.chosen)
    if lists.files:
        _apply(lists, listing)
    labelled = _label_parts(tree, shown, layout, listing)
    if label_from is None and not listing.by_lists:
        classes = _renamed(tree, listing, _classes_of_folders(tree, shown, layout, listing))
    else:
        classes = tuple(sorted({example.label for example in listing.examples}))
    if label_from is not None:
        check_labels(classes, label_from, tree.where, listing.chosen)
    return Dataset(
        name=name,
        kind=listing.kind,
        examples=tuple(listing.examples),
        classes=classes,
        read=file_reader(tree, tuple(example.id for example in listing.examples), begin=listing.kind == "sound"),
        skipped=tuple(listing.skipped),
        ignored=listing.unlisted
        + sum(
            map(len, (listing.unlabelled, listing.litter, listing.stray, listing.unused, listing.naming, lists.files))
        ),
        entries=len(tree.files),
        notes=_notes(tree, layout, listing, classes),
        layout=lists.sentence(len(classes)) if lists.files else labelled.sentence(len(classes)),
    )


def _set_aside(listing: _FolderListing) -> None:
    """Take out the examples of folders that are called unlabelled, where two classes at least are left."""
    labels = {example.label for example in listing.examples}
    without = {label for label in labels if label.lower() in UNLABELLED}
    if without and len(labels - without) > 1:
        kept = [example for example in listing.examples if example.label not in without]
        aside = [example.id for example in listing.examples if example.label in without]
        items = MODALITIES[listing.kind].plural
        listing.notes = (f"{len(aside):,} {items} in folders called {list_some(sorted(without))} are set aside.",)
        listing.examples, listing.unlabelled = kept, listing.unlabelled + aside
        listing.without = frozenset(without)


def _apply(lists: Lists, listing: _FolderListing) -> None:
    """Give the examples the parts of the lists, and their labels where folders tell none."""
    usable = listing.examples
    if len({example.label for example in usable}) < 2 and len(set(lists.labels.values())) > 1:
        paths = sorted([example.id for example in usable] + listing.stray)
        usable = [Example(path, lists.labels.get(path, "")) for path in paths]
        listing.by_lists, listing.stray = True, []
    labelled = [example for example in usable if example.label]
    listing.examples = lists.applied(labelled)
    listing.unlisted = len(usable) - len(listing.examples)
    listing.unused = [path for path in listing.unused if path not in lists.files]
    listing.notes, listing.listed = (*listing.notes, *lists.notes), True


def _label_parts(tree: Tree, shown: Sequence[File], layout: Layout, listing: _FolderListing) -> Layout:
    """Take the labels of parts without class folders from texts in them that name their files."""
    classes = {example.label for example in listing.examples}
    level, by_part = layout.levels.index("part") if "part" in layout.levels else 0, layout
    for top in sorted(layout.unlabelled) if classes else ():
        texts = [file for file in shown if top in file.path.split("/")[level : level + 1]]
        paths = [path for path in listing.unlabelled if top in path.split("/")[level : level + 1]]
        if not paths or (named := labels_of_part(tree, texts, paths, classes)) is None:
            continue
        text, labels = named
        split = {**layout.parts, **layout.beside}[top]
        listing.examples = sorted(
            [*listing.examples, *(Example(path, labels[path], split) for path in labels)], key=lambda one: one.id
        )
        listing.unlabelled = [path for path in listing.unlabelled if path not in labels]
        listing.naming.append(text)
        listing.unused = [path for path in listing.unused if path != text]
        listing.notes += (f"The classes of {top}/ are taken from {text}.",)
        by_part = replace(by_part, unlabelled=by_part.unlabelled - {top})
    return by_part


def from_files(tree: Tree, *, name: str, kind: Kind = "image") -> Dataset:
    """Return every picture (recording, text) of a folder or archive, at any depth, unlabelled; DataError if none."""
    shown = visible(tree.files)
    kinds = FileKinds(tree, shown)
    listed = [file for file in shown if file.problem or kinds.kind(file.path) == kind]
    if not listed:
        do = "name a folder or files with some"
        raise DataError(f"{tree.where} must hold {MODALITIES[kind].plural}", _what_is_there(shown, kinds), do)
    usable = [file.path for file in listed if not file.problem]
    return Dataset(
        name=name,
        kind=kind,
        examples=tuple(Example(path, "") for path in usable),
        classes=(),
        read=file_reader(tree, tuple(usable), begin=kind == "sound"),
        skipped=tuple(Skipped(file.path, "", file.problem) for file in listed if file.problem),
        ignored=len(tree.files) - len(listed),
        entries=len(tree.files),
    )


def _classes_of_folders(tree: Tree, shown: Sequence[File], layout: Layout, listing: _FolderListing) -> tuple[str, ...]:
    rule = RULE.format(items=MODALITIES[listing.kind].plural)
    folders = layout.class_folders(path for path in tree.folders if not is_litter(path))
    labels = [path for path in folders if path.rpartition("/")[2] not in listing.without]
    if listing.listed:  # a folder that holds a list, or nothing that any list names, is no class
        named = {example.label for example in listing.examples}
        labels = [folder for folder in labels if layout.place(folder.split("/")).label in named]
    names = sorted({layout.place(folder.split("/")).label or "" for folder in labels})
    if len(names) > 1 and not are_numbered(names):
        _check_filled(tree, labels, listing)
        return tuple(names)
    do = rule + suggestion(listing.chosen, tree.where)
    if are_numbered(names):
        tables = [file.path for file in shown if suffix_of(file.path) in TABLES]
        beside = f", beside the table {tables[0]}: name that file if it lists the examples" if tables else ""
        received = f"{list_some(names, 3)}, which are numbered parts{beside}"
        raise DataError(f"the folders in {tree.where} must be named after classes", received, do)
    if not labels and not listing.skipped:
        raise DataError(f"{tree.where} must hold class folders", _what_is_there(shown, listing.kinds), do)
    _check_filled(tree, labels, listing)
    check_classes(names, where=tree.where, do=do)
    return tuple(names)


def _renamed(tree: Tree, listing: _FolderListing, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the classes, which a list beside the folders may give; the examples then bear them."""
    unused = set(listing.unused)
    if (beside := names_beside(tree, [file for file in tree.files if file.path in unused], ids)) is None:
        return ids
    path, names = beside
    listing.examples = [replace(one, label=names[one.label]) for one in listing.examples]
    listing.skipped = [replace(one, label=names.get(one.label, one.label)) for one in listing.skipped]
    listing.unused.remove(path)
    listing.naming.append(path)
    listing.notes += (f"The names of the classes are taken from {path}, such as {names[ids[0]]!r} for {ids[0]}/.",)
    return tuple(sorted(names.values()))


def _notes(tree: Tree, layout: Layout, listing: _FolderListing, classes: Sequence[str]) -> tuple[str, ...]:
    """Return what should be said once of the folders and of the files in them."""
    item, items = MODALITIES[listing.kind].singular, MODALITIES[listing.kind].plural
    notes = [*listing.notes]
    if listing.unlisted:
        several = f"{items} are in no list and are not used"
        notes.append(f"{counted(listing.unlisted, f'{item} is in no list and is not used', several)}.")
    if listing.unlabelled and layout.unlabelled:
        tops = sorted({name for path in listing.unlabelled for name in path.split("/")} & layout.unlabelled)
        where = " and ".join(f"{top}/" for top in tops)
        path = min(folder for folder in tree.folders if folder.rpartition("/")[2] == tops[0])
        command = f"headstart predict OUT {shlex.quote(f'{tree.where}/{path}')}"
        number = counted(len(listing.unlabelled), item, items)
        verb = "is" if len(tops) == 1 else "are"
        notes.append(f"{where} {verb} set aside for predict: {number} without a label ({command}).")
    if listing.stray:
        beside = counted(
            len(listing.stray),
            f"{item} lies beside the class folders and is ignored",
            f"{items} lie beside the class folders and are ignored",
        )
        notes.append(f"{beside} ({list_some(listing.stray, 5)}): {RULE.format(items=items)}.")
    if by_content := listing.kinds.by_content(example.id for example in listing.examples):
        files = counted(len(by_content), f"file is a {item}", f"files are {items}")
        notes.append(f"{files} by content alone: {group_by_suffix(by_content)}.")
    if listing.unused:
        files = counted(len(listing.unused), f"file is no {item} and is", f"files are no {items} and are")
        notes.append(f"{files} not used: {group_by_suffix(listing.unused)}.")
    if listing.litter:
        files = counted(len(listing.litter), "hidden or system file is", "hidden or system files are")
        notes.append(f"{files} not used: {list_some(listing.litter)}.")
    if links := [one.id for one in listing.skipped if one.reason in (OUTSIDE, TO_FOLDER)]:
        number = counted(len(links), "link was", "links were")
        notes.append(f"{number} not followed ({list_some(links, 3)}): {FOLLOW}.")
    return (*notes, *label_notes(classes, numbers=False))


def _place_all(shown: Sequence[File], layout: Layout, listing: _FolderListing, label_from: str | None) -> None:
    """Sort every file into the listing: an example, skipped, unlabelled, stray or unused."""
    by_name = None if label_from is None else labels_by(label_from)

    @cache
    def place_of(folder: str) -> Place:
        return layout.place(folder.split("/") if folder else ())

    paths = iter(listing.chosen)  # in the order of the files
    following = next(paths, None)
    for file in shown:
        is_wanted = file.path == following
        following = next(paths, None) if is_wanted else following
        label, split, group, unlabelled = place_of(file.path.rpartition("/")[0])
        if by_name is not None:
            label = by_name(file.path)
        if file.problem:
            listing.skipped.append(Skipped(file.path, label or "", file.problem))
        elif not is_wanted:
            listing.unused.append(file.path)
        elif unlabelled:
            listing.unlabelled.append(file.path)
        elif label is not None:
            listing.examples.append(Example(file.path, label, split, group))
        elif by_name is not None:
            listing.skipped.append(Skipped(file.path, "", "no label in its name"))
        else:
            listing.stray.append(file.path)


def _check_links(tree: Tree, shown: Sequence[File], layout: Layout, listing: _FolderListing) -> None:
    """Raise DataError where links that were not followed stand for folders of the layout, or for many examples."""
    links = [file for file in shown if file.problem in (OUTSIDE, TO_FOLDER)]
    hides = any(file.problem == TO_FOLDER and file.path.count("/") <= layout.depth for file in links)
    if hides or len(links) > MAX_BAD * (len(links) + len(listing.examples)):
        received = f"{len(links)} links were not followed ({list_some([file.path for file in links], 3)})"
        raise DataError(f"{tree.where} must hold its examples itself", received, FOLLOW)


def _check_filled(tree: Tree, labels: Sequence[str], listing: _FolderListing) -> None:
    ids = [example.id for example in listing.examples] + [skipped.id for skipped in listing.skipped]
    filled = {folder for path in {name.rpartition("/")[0] for name in ids} for folder in (*parents(f"{path}/"),)}
    empty = [folder for folder in labels if folder not in filled]
    if empty:
        raise DataError(
            f"every class folder of {tree.where} must hold {MODALITIES[listing.kind].plural} "
            f"({list_some(sorted(SUFFIXES[listing.kind] & USUAL), 9)} and others)",
            f"none in {list_some(empty, 5)}",
            f"put {MODALITIES[listing.kind].plural} there or remove the folder",
        )


def _what_is_there(shown: Sequence[File], kinds: FileKinds) -> str:
    tables = [file.path for file in shown if suffix_of(file.path) in TABLES]
    if tables:
        return f"no class folder, but the table {tables[0]}: name that file if it lists the examples"
    for kind, count in kinds.counts.items():
        if count:
            return f"{count} {MODALITIES[kind].plural}, in no class folder"
    if not shown:
        return "nothing, it is empty"
    groups = group_by_suffix(file.path for file in shown)
    return f"{len(shown)} files, none of them a photo, a recording or a text ({groups})"
