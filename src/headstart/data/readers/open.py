"""Open data in any form that is accepted, as a Dataset that reads its examples when asked."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from headstart.base.errors import DataError
from headstart.data import groups
from headstart.data.dataset import Dataset, Split
from headstart.data.file_tree import Folder, Tree, is_litter, suffix_of
from headstart.data.labels import SPLITS
from headstart.data.modality import MODALITIES, Kind
from headstart.data.readers.archives import is_archive, open_archive
from headstart.data.readers.class_folders import from_files, unwrap
from headstart.data.readers.in_memory import from_items
from headstart.data.readers.listing_tables import from_tree
from headstart.data.readers.table_files import Columns, TableOpener
from headstart.data.readers.tables import is_loaded, tables_of

ACCEPTED = "a folder of class folders, a .zip or .tar of one, or a .csv, .tsv, .jsonl or .parquet"

_NAMES = "|".join((*SPLITS, "all"))
# Parquet comes in shards, such as train-00000-of-00002.parquet; "train_notes.csv" is no part.
_PART = re.compile(rf"({_NAMES})(?:\.(?:csv|tsv|jsonl|ndjson|json)(?:\.gz)?|(?:[-_.].*)?\.parquet)", re.IGNORECASE)


def open_dataset(
    data: Any,
    *,
    root: Path | None = None,
    columns: Columns | None = None,
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
        label_from: a regular expression that takes the label of each file from its path, in place of the folders.
        group_by: a regular expression that takes the group of each example from its id (path, row or column of ids).
        follow_links: whether links in folders are followed wherever they lead.

    Raises:
        DataError: there is no such data, or it cannot be used as it is; the message says what to do.
    """
    reading: dict[str, Any] = {"root": root, "columns": columns, "label_from": label_from, "follow_links": follow_links}
    dataset = _opened(data, **reading)
    return dataset if group_by is None else groups.group_by(dataset, group_by)


def _opened(
    data: Any, *, root: Path | None, columns: Columns | None, label_from: str | None, follow_links: bool
) -> Dataset:
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError("data in Python must be a pair (items, labels)", f"{len(data)} values", "give two")
        return from_items(*data)
    if is_loaded(data):
        return TableOpener(Path("data set"), root, columns).loaded(tables_of(data))
    path = existing(data, what="DATA")
    opener = TableOpener(path, root, columns)
    if path.is_dir():
        return _from_tree(Folder(path, reach=root, follow_links=follow_links), opener, label_from)
    if is_archive(path):
        return _from_tree(open_archive(path), opener, label_from)
    dataset = opener.table()
    if dataset is None:
        raise DataError(f"DATA must be {ACCEPTED}", path, "name one of these")
    return dataset


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
    parts: list[Dataset] = []
    single: list[Path] = []
    for item in inputs:
        path = existing(item, what="INPUT")
        if path.is_dir():
            parts.append(_under(path, from_files(Folder(path, follow_links=follow_links), name=path.name, kind=kind)))
        elif is_archive(path):
            parts.append(_under(path, from_files(open_archive(path), name=path.name, kind=kind)))
        else:
            table = TableOpener(path, root, columns, remembered, labelled=False, kind=kind).table()
            if table is None:
                single.append(path)
            elif table.kind != kind:
                there = f"{MODALITIES[table.kind].plural} in {path}"
                raise DataError(
                    f"INPUT must hold {MODALITIES[kind].plural}, which the model was fitted on", there, "name others"
                )
            else:
                parts.append(_under(path.parent, table))
    return _joined([*([from_items(single, kind=kind)] if single else []), *parts])


def existing(data: object, *, what: str) -> Path:
    """Return `data` as a path to a file or folder; raises DataError where there is none, or it is a device or pipe."""
    if not isinstance(data, (str, os.PathLike)):
        raise DataError(
            f"{what} must be a path, or in Python a pair (items, labels) or a data set", type(data).__name__, "give one"
        )
    path = Path(os.fsdecode(data))
    path = path.expanduser() if path.parts[:1] == ("~",) else path
    try:
        there, regular = path.exists(), path.is_file() or path.is_dir()
    except (OSError, ValueError) as error:
        raise DataError(f"{what} must be a path that can be read", f"{path} ({error})", "check it") from error
    if not there:
        near = next((parent for parent in path.absolute().parents if parent.exists()), None)
        raise DataError(f"{what} must exist", f"no {path}", f"check the name; the nearest folder there is {near}")
    if not regular:
        raise DataError(f"{what} must be a file or a folder", f"{path}, a device, pipe or socket", f"name {ACCEPTED}")
    return path


def _from_tree(tree: Tree, opener: TableOpener, label_from: str | None) -> Dataset:
    inner, outside = unwrap(tree)
    tables = _tables_in(inner)
    if not tables or label_from is not None:
        return from_tree(inner, opener, ignored=outside, label_from=label_from)
    if suffix_of(tables[0][0]) != ".parquet":
        return opener.texts(inner, tables)
    if not opener.path.is_dir():
        raise DataError(f"{opener.path} must hold no Parquet, which is read in place", tables[0][0], "unpack it first")
    return opener.parquet([(Path(inner.where, name), split) for name, split in tables])


def _tables_in(tree: Tree) -> list[tuple[str, Split | None]]:
    """Return the tables train, validation and test, or the one table all, with the part that each name gives."""
    tables: list[tuple[str, Split | None]] = []
    for file in tree.files:
        match = None if "/" in file.path or is_litter(file.path) else _PART.fullmatch(file.path)
        if match:
            tables.append((file.path, SPLITS.get(match[1].lower())))
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


def _under(folder: Path, dataset: Dataset) -> Dataset:
    prefix, rows = "" if folder == Path() else f"{str(folder).rstrip('/')}/", dataset.table
    return replace(
        dataset,
        table=rows and replace(rows, ids=tuple(f"{prefix}{name}" for name in rows.ids)),
        examples=tuple(replace(example, id=f"{prefix}{example.id}") for example in dataset.examples),
        skipped=tuple(replace(skipped, id=f"{prefix}{skipped.id}") for skipped in dataset.skipped),
    )


def _joined(parts: Sequence[Dataset]) -> Dataset:
    """Return several datasets as one; an id that comes again gets its position behind it."""
    if len(parts) == 1:
        return parts[0]
    examples = [example for part in parts for example in part.examples]
    used: set[str] = set()
    for position, example in enumerate(examples):
        if example.id in used:
            examples[position] = replace(example, id=f"{example.id}#{position}")
        used.add(example.id)
    starts = tuple(accumulate((len(part) for part in parts[:-1]), initial=0))

    def read(position: int) -> bytes:
        part = bisect_right(starts, position) - 1
        return parts[part].read(position - starts[part])

    return Dataset(
        name="inputs",
        kind=parts[0].kind,
        examples=tuple(examples),
        classes=(),
        read=read,
        skipped=tuple(skipped for part in parts for skipped in part.skipped),
        ignored=sum(part.ignored for part in parts),
        found=sum(part.total if part.found is None else part.found for part in parts),
        notes=tuple(note for part in parts for note in part.notes),
    )
