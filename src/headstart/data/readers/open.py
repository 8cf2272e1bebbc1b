"""Open data in any form that is accepted, as a Dataset that reads its examples when asked."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations, groupby, islice
from pathlib import Path
from typing import Any

from headstart.base.errors import DataError, UsageError, did_you_mean, list_some
from headstart.base.own_folders import own_folder
from headstart.data import groups
from headstart.data.audio.formats import SOUND_SUFFIXES
from headstart.data.dataset import BadExample, Dataset, Split
from headstart.data.file_tree import File, Folder, Tree, is_litter, suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.labels import SPLITS, part_named_in
from headstart.data.modality import MODALITIES, Kind
from headstart.data.readers.archives import is_archive, open_archive
from headstart.data.readers.arrays.array_files import array_files_of, from_array_files, has_arrays
from headstart.data.readers.arrays.in_memory import from_items
from headstart.data.readers.arrays.pixel_tables import PIXELS_HEAD, from_pixel_tables, holds_pixels
from headstart.data.readers.arrays.python_data import from_python
from headstart.data.readers.containers import check_boxes, check_foreign, foreign_format, head_of
from headstart.data.readers.folders.class_folders import from_files, unwrap, visible
from headstart.data.readers.folders.file_kinds import SUFFIXES, TABLES, FileKinds
from headstart.data.readers.folders.listing_tables import from_tree
from headstart.data.readers.folders.lists import check_unused
from headstart.data.readers.folders.mounts import mounted
from headstart.data.readers.folders.sidecars import LABELS, from_sidecars, labels_beside
from headstart.data.readers.folders.text_lines import from_text_lines
from headstart.data.readers.inputs import Input, joined
from headstart.data.readers.tables.delimited import MAX_TABLE
from headstart.data.readers.tables.named_files import EXAMPLES
from headstart.data.readers.tables.opener import Columns, TableOpener, name_of
from headstart.data.readers.tables.read import TABLE_SUFFIXES, holds_text, is_loaded, tables_of
from headstart.data.text import TEXT_SUFFIXES

MEDIA = IMAGE_SUFFIXES | SOUND_SUFFIXES
MOST_NAMES = 10_000  # of files that a name that is not there is compared with
ACCEPTED = "a folder of class folders, a .zip or .tar of one, or a .csv, .tsv, .jsonl or .parquet"

_NAMES = "|".join((*SPLITS, "all"))
# Parquet comes in shards, such as train-00000-of-00002.parquet; "train_notes.csv" is no part.
_PART = re.compile(rf"({_NAMES})(?:\.(?:csv|tsv|jsonl|ndjson|json)(?:\.gz)?|(?:[-_.].*)?\.parquet)", re.IGNORECASE)
_WORD = re.compile(r"t10k|[A-Z]?[a-z]+|[A-Z]+|\d+")


def open_dataset(
    data: Any,
    *,
    root: Path | None = None,
    columns: Columns | None = None,
    remembered: Columns | None = None,
    label_from: str | None = None,
    group_by: str | None = None,
    follow_links: bool = False,
) -> Dataset:
    """Return labelled pictures, recordings or texts, listed and not yet read; what they are, the data itself says.

    Args:
        data: a folder of class folders, or `train/`, `validation/`, `test/` above such; a `.zip` or `.tar` of
            either; a CSV, TSV, JSON lines or Parquet of paths (or texts) and labels, or a folder or archive of
            `train.csv`, `dev.csv`, `test.csv` or one `all.csv`; Parquet in the Hugging Face image or audio layout, or a
            folder of it; a data set of the library `datasets`, or a dict of such; or a pair of sequences: pictures,
            recordings or texts, and labels. Where a folder holds both such tables and class folders, the tables count.
        root: a folder that paths in a table, and links, may lead into, besides the data itself.
        columns: names of a table's columns, by our words for them: `{"path": "file", "label": "category"}`.
        remembered: the same of an earlier table, which count where this one has them.
        label_from: a regular expression that takes the label of each file from its path, in place of the folders.
        group_by: a regular expression that takes the group of each example from its id (path, row or column of ids).
        follow_links: whether links in folders are followed wherever they lead.

    Raises:
        DataError: there is no such data, or it cannot be used as it is; the message says what to do.
    """
    reading: dict[str, Any] = {"root": root, "columns": columns, "label_from": label_from, "follow_links": follow_links}
    reading |= {"remembered": remembered}
    dataset = _opened(data, **reading)
    return dataset if group_by is None else groups.group_by(dataset, group_by)


def open_as_before(data: Any, patterns: Mapping[str, str], remembered: Columns, **reading: Any) -> Dataset:
    """Return the data as `open_dataset` does, read as an earlier set was where nothing else is asked for.

    Args:
        data: as `open_dataset` takes it.
        patterns: what took the labels and groups of the earlier set from its names, by the arguments of `open_dataset`.
            They count where the names match them: data that has its labels otherwise is read without.
        remembered: the names of its columns, which count where this one has them.
        reading: the other arguments of `open_dataset`; None for those that are not asked for.
    """
    by_column = set(reading.get("columns") or {})
    known = [
        (name, pattern)
        for name, pattern in sorted(patterns.items(), reverse=True)
        if reading.get(name) is None and name.partition("_")[0] not in by_column
    ]
    for count in range(len(known), 0, -1):
        for some in combinations(known, count):
            with suppress(UsageError):
                dataset = open_dataset(data, remembered=remembered, **{**reading, **dict(some)})
                flags = " and ".join(f"--{name.replace('_', '-')} {pattern!r}" for name, pattern in some)
                return replace(dataset, notes=(*dataset.notes, f"Read with {flags}, as the data of the model was."))
    return open_dataset(data, remembered=remembered, **reading)


def _opened(
    data: Any,
    *,
    root: Path | None,
    columns: Columns | None,
    remembered: Columns | None,
    label_from: str | None,
    follow_links: bool,
) -> Dataset:
    if not isinstance(data, (str, os.PathLike)):
        if is_loaded(data) and not _holds_media(data):
            return TableOpener(Path("data set"), root, columns, remembered).loaded(tables_of(data))
        return from_python(data, columns=columns)
    path = existing(data, what="DATA")
    opener = TableOpener(path, root, columns, remembered, label_from=label_from)
    dataset = _open(path, opener, follow_links=follow_links)
    if dataset is None:
        raise DataError(f"DATA must be {ACCEPTED}", path, "name one of these")
    return dataset


def _holds_media(data: Any) -> bool:
    """Return whether a data set of the library `datasets`, or a dict of such, has a column of media."""
    parts = data.values() if isinstance(data, Mapping) else [data]
    return any(
        type(feature).__name__ in ("Image", "Audio") for part in parts for feature in dict(part.features).values()
    )


def _open(path: Path, opener: TableOpener, *, follow_links: bool) -> Dataset | None:
    """Return the labelled examples in a folder, or in a file that its content tells; None where it is nothing known."""
    if path.is_dir():
        if (own := own_folder(path)) is not None:
            raise DataError(f"DATA must be {ACCEPTED}", f"{path}, {own.kind}", own.remedy)
        return _from_tree(Folder(path, reach=opener.root, follow_links=follow_links), opener)
    folder, name = Folder(path.parent, reach=path.resolve().parent), name_of(path)
    head = head_of(folder, path.name)
    if has_arrays(head):
        return from_array_files(folder, [path.name], name=name, where=str(path), labelled=opener.labelled)
    known = foreign_format(head, path.name)
    if known is not None and suffix_of(path.name) not in TABLE_SUFFIXES:
        raise DataError(f"DATA must be {ACCEPTED}", f"{path}, {known[0]}", known[1])
    if is_archive(head, path.name) and suffix_of(path.name) not in TABLE_SUFFIXES:
        return _from_tree(open_archive(path), opener)
    if suffix_of(path.name) in (".csv", ".tsv", ".txt") and holds_pixels(head_of(folder, path.name, size=PIXELS_HEAD)):
        return _from_pixels(folder, [(path.name, None)], opener)
    return opener.table(by_content=opener.labelled and holds_text(head))


def _from_pixels(tree: Tree, tables: Sequence[tuple[str, Split | None]], opener: TableOpener) -> Dataset:
    try:
        read = [(name, tree.read(name, limit=MAX_TABLE), split) for name, split in tables]
    except BadExample as error:
        raise DataError(f"the tables of {tree.where} must be readable", error.reason, "check the files") from error
    named = (opener.columns or {}).get("label")
    label = named if named is None or isinstance(named, str) else next(iter(named), None)
    where = str(opener.path)
    return from_pixel_tables(read, name=name_of(opener.path), where=where, label=label, labelled=opener.labelled)


def open_inputs(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    kind: Kind = "image",
    columns: Columns | None = None,
    remembered: Columns | None = None,
    root: Path | None = None,
    follow_links: bool = False,
) -> Dataset:
    """Return pictures, recordings or texts without labels, for prediction.

    Inputs are files, folders (searched to any depth), archives, and tables with a path or text column. The id of an
    example is its path, with the input in front.

    Raises:
        DataError: an input does not exist, or holds nothing of that kind.
    """
    if not inputs:
        raise DataError(
            f"INPUT must name {MODALITIES[kind].plural}", "nothing", "name files, folders, archives or tables"
        )
    opened: list[Input] = []
    every = [existing(item, what="INPUT") for item in inputs]
    reading: dict[str, Any] = {"root": root, "follow_links": follow_links}
    whole = {path: _input(path, kind, columns, remembered, **reading) for path in dict.fromkeys(every)}
    for alone, paths in groupby(every, key=lambda path: whole[path] is None):
        if alone:
            some = list(paths)
            opened.append(Input(some[0], Path(), from_items(some, kind=kind)))
        else:
            opened += [part for path in paths if (part := whole[path]) is not None]
    return joined(opened)


def _input(
    path: Path,
    kind: Kind,
    columns: Columns | None,
    remembered: Columns | None,
    *,
    root: Path | None,
    follow_links: bool,
) -> Input | None:
    """Return the examples in an input that is a folder, an archive or a table; None for one that is an example."""
    tree = _input_tree(path, follow_links=follow_links)
    if tree is not None:
        return Input(path, path, from_files(mounted(tree), name=path.name, kind=kind))
    opener = TableOpener(path, root, columns, remembered, labelled=False, kind=kind)
    table = _open(path, opener, follow_links=follow_links)
    if table is not None and table.kind != kind:
        there = f"{MODALITIES[table.kind].plural} in {path}"
        must = f"INPUT must hold {MODALITIES[kind].plural}, which the model was fitted on"
        raise DataError(must, there, f"name {MODALITIES[kind].plural}, or files and tables of them")
    return None if table is None else Input(path, path.parent, table)


def _input_tree(path: Path, *, follow_links: bool) -> Tree | None:
    """Return the files of an input that is a folder or an archive, else None."""
    if path.is_dir():
        return Folder(path, follow_links=follow_links)
    head = head_of(Folder(path.parent, reach=path.resolve().parent), path.name)
    refused = has_arrays(head) or foreign_format(head, path.name) is not None
    refused = refused or suffix_of(path.name) in TABLE_SUFFIXES
    return open_archive(path) if is_archive(head, path.name) and not refused else None


def existing(data: object, *, what: str) -> Path:
    """Return `data` as a path to a file or folder; raises DataError where there is none, or it is a device or pipe."""
    if not isinstance(data, (str, os.PathLike)):
        raise DataError(
            f"{what} must be a path, or in Python a pair (items, labels) or a data set",
            type(data).__name__,
            "give one of these",
        )
    if not os.fspath(data):
        raise DataError(f"{what} must be a path", "''", "give one, such as . for the working folder")
    path = Path(os.fsdecode(data))
    path = path.expanduser() if path.parts[:1] == ("~",) else path
    try:
        there, regular = path.exists(), path.is_file() or path.is_dir()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{what} must be a path that can be read", f"{path} ({error})", "give the path of a file or folder"
        ) from error
    if not there:
        lost = path.absolute()
        while not lost.parent.exists():
            lost = lost.parent
        some = islice(lost.parent.iterdir(), MOST_NAMES) if os.access(lost.parent, os.R_OK) else ()
        names = sorted(entry.name for entry in some)
        near = f"the nearest folder there is {lost.parent}{did_you_mean(lost.name, names)}"
        raise DataError(f"{what} must exist", f"no {path}", f"check the name; {near}")
    if not regular:
        raise DataError(f"{what} must be a file or a folder", f"{path}, a device, pipe or socket", f"name {ACCEPTED}")
    return path


def _from_tree(tree: Tree, opener: TableOpener) -> Dataset:
    tree, outside = unwrap(tree)
    inner = mounted(tree)
    if inner is not tree:
        inner, more = unwrap(inner)
        outside += more
    dataset = _from_unwrapped(inner, opener)
    if not outside:
        return dataset
    shown = [path for path in outside if not is_litter(path)]
    notes = (f"Files beside {inner.where} that are not used: {list_some(shown, 5)}.",) if shown else ()
    entries = None if dataset.entries is None else dataset.entries + len(outside)
    return replace(dataset, ignored=dataset.ignored + len(outside), entries=entries, notes=(*dataset.notes, *notes))


def _from_unwrapped(inner: Tree, opener: TableOpener) -> Dataset:
    shown = visible(inner.files)
    by_name = opener.label_from is not None and any(suffix_of(file.path) in EXAMPLES for file in shown)
    tables = [] if by_name else _tables_in(inner)
    if not by_name and not tables and (lone := _lone_table(inner, shown)) is not None:
        tables = [(lone, None)]
    if tables and suffix_of(tables[0][0]) == ".parquet":
        if not opener.path.is_dir():
            raise DataError(
                f"{opener.path} must hold no Parquet, which is read in place", tables[0][0], "unpack it first"
            )
        return opener.parquet([(Path(inner.where, name), split) for name, split in tables], whole=True)
    if tables and holds_pixels(head_of(inner, tables[0][0], size=PIXELS_HEAD)):
        return _from_pixels(inner, tables, opener)
    if tables:
        return opener.texts(inner, tables, whole=True)
    return _from_files_of(inner, shown, opener)


def _from_files_of(tree: Tree, shown: Sequence[File], opener: TableOpener) -> Dataset:
    """Return what a tree without tables of parts holds: arrays, files with labels beside them, or class folders."""
    name, label_from = name_of(opener.path), opener.label_from
    if (
        label_from is None
        and not any(suffix_of(file.path) in MEDIA for file in shown)
        and (arrays := array_files_of(tree))
    ):
        return from_array_files(tree, arrays, name=name, where=tree.where)
    if label_from is None and sum(file.path.lower().endswith(LABELS) for file in shown) * 3 > len(shown):
        kind = FileKinds(tree, shown).prevailing
        beside = labels_beside(shown, SUFFIXES[kind]) if kind != "text" else {}
        dataset = from_sidecars(tree, shown, beside, kind=kind, name=name) if beside else None
        if dataset is not None:
            return dataset
    try:
        return from_tree(tree, shown, opener)
    except DataError:
        if label_from is None and (dataset := from_text_lines(tree, shown, name=name)) is not None:
            return dataset
        check_boxes(tree, shown)
        others = [file for file in shown if suffix_of(file.path) not in (*MEDIA, *TEXT_SUFFIXES, *TABLES)]
        check_unused(tree, shown, [file.path for file in shown if suffix_of(file.path) in MEDIA])
        folders = {file.path.partition("/")[0] for file in shown if "/" in file.path}
        if len(folders) < 2 or 2 * len(others) >= len(shown):  # else they are not why it cannot be read
            check_foreign(tree, others)
        raise


def _tables_in(tree: Tree) -> list[tuple[str, Split | None]]:
    """Return the tables train, validation and test, or the one table all, with the part that each name gives."""
    names = [file.path for file in tree.files if "/" not in file.path and not is_litter(file.path)]
    tables: list[tuple[str, Split | None]] = []
    for name in names:
        match = _PART.fullmatch(name)
        if match:
            tables.append((name, SPLITS.get(match[1].lower())))
    tables = tables or _alike_but_for_the_part([name for name in names if suffix_of(name) in TABLES])
    splits = {split for _, split in tables}
    if not splits & {"train", None}:
        return []
    if len({suffix_of(name) for name, _ in tables}) > 1 or (None in splits and len(splits) > 1):
        received = ", ".join(name for name, _ in tables)
        raise DataError(
            f"{tree.where} must hold train, validation and test tables of one format, or one table all",
            received,
            "name the table to use, or move the others away",
        )
    return tables


def _alike_but_for_the_part(names: Sequence[str]) -> list[tuple[str, Split | None]]:
    """Return the tables whose names differ in the part alone, as `mnist_train.csv` and `mnist_test.csv` do."""
    groups: dict[tuple[str, ...], list[tuple[str, Split | None]]] = defaultdict(list)
    for name in names:
        words = [(word, part_named_in(word)) for word in _WORD.findall(name)]
        parts = [part for _, part in words if part is not None]
        if len(parts) == 1:
            rest = tuple(word.lower() for word, part in words if part is None and not word.isdigit())
            groups[rest].append((name, parts[0]))
    whole = [tables for tables in groups.values() if len({split for _, split in tables} & {"train", "test"}) == 2]
    return whole[0] if len(whole) == 1 else []


def _lone_table(tree: Tree, shown: Sequence[File]) -> str | None:
    """Return the one table of a tree that holds neither folders nor examples beside it, or None."""
    if any("/" in file.path or suffix_of(file.path) in MEDIA for file in shown):
        return None
    tables = [file.path for file in shown if suffix_of(file.path) in TABLES]
    return tables[0] if len(tables) == 1 and not array_files_of(tree) else None
