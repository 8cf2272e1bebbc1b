"""Examples that tables list: pictures and recordings by path, texts in their cells; and what paths may reach."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.base.errors import DataError
from headstart.data.audio.decoding import SOUND_SUFFIXES
from headstart.data.dataset import Dataset, Skipped, Split
from headstart.data.file_tree import Tree, file_reader, suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.labels import SPLITS, Listing, class_name_of
from headstart.data.modality import MODALITIES, Kind
from headstart.data.readers.tables import CONTENT, Table
from headstart.data.text import text_reader


@dataclass
class _TableListing(Listing):
    """The examples of several tables, row by row."""

    reach: tuple[str, str] | None = None  # the absolute paths of the tables' folder and of `root`, if there is one
    used: set[str] = field(default_factory=set)
    backslashes: int = 0

    def take(self, table: Table, row: int, split: Split | None) -> None:
        """Add one row, whose file gives it to `split`."""
        place = f"{table.unit} {table.lines[row]}"
        where = f"{table.where}, {place}"
        if table.splits is not None:
            named = split_cell(table.splits[row], where)
            if split not in (None, named):
                raise DataError(f"{where} must belong to the part of its file, {split}", repr(named), "correct it")
            split = named
        label = self._label(table, row)
        cell = table.cells[row]
        number = f"{posixpath.basename(table.where)}#{table.lines[row]}"
        if cell is None or not str(cell).strip():
            reason = "empty" if table.content == "text" else "no path"
            self.skipped.append(Skipped(number, label or "", reason))
            return
        if table.content == "text":
            name, content = number, cell if isinstance(cell, bytes) else str(cell)
        else:
            name, content = self._path(str(cell), table, place)
        group = class_name_of(table.groups[row]) if table.groups is not None else None
        self.add(name, label, content, split=split, group=group)

    def _path(self, text: str, table: Table, place: str) -> tuple[str, str]:
        """Return the id of a file, and its path; the id says where it is listed if the path was listed before."""
        if "\\" in text and "/" not in text:
            text, self.backslashes = text.replace("\\", "/"), self.backslashes + 1
        path = inside(text, f"{table.where}, {place}", self.reach)
        name = path if path not in self.used else f"{path}#{posixpath.basename(table.where)}, {place}"
        self.used.add(path)
        return name, path

    def _label(self, table: Table, row: int) -> str | None:
        if not self.labelled:
            return ""
        return None if table.labels is None else class_name_of(table.labels[row])


def from_tables(
    tree: Tree,
    tables: Sequence[tuple[Table, Split | None]],
    *,
    name: str,
    where: str,
    root: Path | None = None,
    labelled: bool = True,
) -> Dataset:
    """Return the texts that tables hold, or the pictures or recordings that they list, relative to the tables' folder.

    A row without a label, or whose text is empty or file missing, is skipped and counted; a path that leads out of the
    folder, and not into `root`, is an error, and nothing is ever fetched from a URL. If not `labelled`, every example
    has the label "" and there are no classes.

    Raises:
        DataError: a path leads out, a split is unknown, or there are fewer than two classes.
    """
    reach = None if root is None else (os.path.abspath(tree.where), os.path.abspath(root))  # noqa: PTH100
    listing = _TableListing(labelled, reach=reach)
    kind = _kind(tables, where)
    for table, split in tables:
        for row in range(len(table.cells)):
            listing.take(table, row, split)
    rows = sum(len(table.cells) for table, _ in tables)
    notes = [note for table, _ in tables for note in table.notes]
    if listing.backslashes:
        notes.append(f"{listing.backslashes} paths are written with backslashes, read as slashes.")
    if kind == "text":
        read = text_reader(listing.contents)
    else:
        read = file_reader(tree, listing.contents, absent="missing", begin=kind == "sound")
    return listing.dataset(
        read, name=name, kind=kind, where=where, do="give rows of at least two labels", notes=notes, found=rows
    )


def _kind(tables: Sequence[tuple[Table, Split | None]], where: str) -> Kind:
    """Return what the tables hold or list, all of them alike; of mere paths, most names tell."""
    paths = [str(cell) for table, _ in tables if table.content == "path" for cell in table.cells]
    suffixes = [suffix_of(path.strip()) for path in paths]
    sounds, photos = (sum(suffix in accepted for suffix in suffixes) for accepted in (SOUND_SUFFIXES, IMAGE_SUFFIXES))
    kinds: set[Kind] = {
        ("sound" if sounds > photos else "image") if table.content == "path" else CONTENT[table.content]
        for table, _ in tables
    }
    if len(kinds) > 1:
        received = " and ".join(
            f"{MODALITIES[kind].plural} in {'some' if not position else 'others'}"
            for position, kind in enumerate(sorted(kinds))
        )
        raise DataError(f"the tables of {where} must be alike", received, "make them so")
    return kinds.pop()


def split_cell(cell: object, where: str) -> Split:
    """Return the part that a cell of a split column names; raises DataError where it names none."""
    split = SPLITS.get(str(cell).strip().lower())
    if split is None:
        raise DataError(f"{where} must be one of {', '.join(SPLITS)} in its split column", repr(cell), "correct it")
    return split


def inside(text: str, where: str, reach: tuple[str, str] | None = None) -> str:
    """Return a path from a table, tidied, once it is sure to stay inside the table's folder.

    Raises:
        DataError: it is a URL, absolute, or leads out with `..`, unless it leads into one of the two absolute paths of
            `reach`.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", text) or text.startswith(("//", "\\\\")):
        kind = "a URL or drive"
    else:
        path = posixpath.normpath(text)
        out = path.startswith("/") or path == ".." or path.startswith("../")
        if not out:
            return path
        if reach is not None:
            full = posixpath.normpath(posixpath.join(reach[0], path))
            if any(full.startswith(f"{folder.rstrip('/')}/") for folder in reach):
                return path
        kind = "an absolute path" if path.startswith("/") else "a path that leads out"
    allowed = f"the table's folder{' or under ' + reach[1] if reach else ''}"
    raise DataError(
        f"{where} must hold a path inside {allowed}",
        f"{text} ({kind})",
        "use paths relative to the table; nothing is downloaded"
        if kind == "a URL or drive"
        else "use paths relative to the table, or allow the folder with root",
    )
