"""Examples that tables list: pictures and recordings by path, texts in their cells; and what paths may reach."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from headstart.base.errors import DataError, list_some
from headstart.data.audio.formats import SOUND_SUFFIXES
from headstart.data.dataset import BadExample, Dataset, Skipped, Split, TableRows
from headstart.data.file_tree import file_reader, suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.labels import SPLITS, Listing, class_name_of, number_of, parts_of, time_of
from headstart.data.modality import MODALITIES, Kind
from headstart.data.readers.name_labels import check_labels, labels_by
from headstart.data.readers.tables.label_column import labels_of
from headstart.data.readers.tables.named_files import NamedFiles
from headstart.data.readers.tables.roles import Roles, unused_note
from headstart.data.readers.tables.table import CONTENT, Table, is_empty
from headstart.data.readers.tables.time_column import split_by_time
from headstart.data.text import TEXT_SUFFIXES, text_reader

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/|//|\\\\")
"""What begins a URL, or a path on a drive or another machine."""


@dataclass(frozen=True)
class ListedTable:
    """A table that lists or holds examples."""

    table: Table
    roles: Roles  # what its columns are for
    split: Split | None  # the part that its file gives its rows
    files: NamedFiles  # what its paths may lead to


@dataclass
class _TableListing(Listing):
    """The examples of several tables, row by row."""

    label_of: Callable[[str], str | None] | None = None  # what takes the label from the id of a row, if something does
    reach: tuple[str, str] | None = None  # the absolute paths of the tables' folder and of `root`, if there is one
    used: set[str] = field(default_factory=set)
    ids: list[str] = field(default_factory=list)  # of each row, where predictions are written beside them
    met: int = 0  # how many rows were read
    times: list[float] = field(default_factory=list)  # of each example, where there is a column of them
    backslashes: int = 0
    elsewhere: int = 0  # paths that lead out, of files that lie below the folder of the table all the same

    def take(self, listed: ListedTable) -> None:
        """Add every row of a table."""
        table, roles, split, files = listed.table, listed.roles, listed.split, listed.files
        kind = "row" if roles.embedded(table) else "text" if roles.content == "text" else "path"
        contents = range(self.met, self.met + len(table)) if kind == "row" else _contents(table, roles)
        labels = labels_of(table, roles.label) if roles.label else None
        groups = None if roles.group is None else [class_name_of(cell) for cell in table.cells(roles.group)]
        parts = None if roles.split is None else _parts(table, roles.split, split)
        times = None if roles.time is None else list(map(time_of, table.cells(roles.time)))
        own = None if roles.id is None else table.cells(roles.id)
        look = None
        if kind == "path" and not _are_paths(table, roles, files):
            look = partial(files.find, skip=files.fit(table.sample(roles.columns[0]))[1])
        base = table.where.removeprefix(f"{files.tree.where}/")
        base = posixpath.basename(base) if base.startswith("/") else base
        self.met += len(table)
        for row, cell in enumerate(contents):
            label = "" if not self.labelled else None if labels is None else labels[row]
            name, content, reason = f"{base}#{table.lines[row]}", cell, ""
            if is_empty(cell):
                reason = "empty" if kind == "text" else "no path"
            elif kind == "path":
                name, content, reason = self._path(str(cell), table, row, look)
            reason = "no time" if times is not None and times[row] is None else reason
            if own is not None or kind == "path":
                called = name if own is None or is_empty(own[row]) else str(own[row])
                name = self._id(called, f"{base}, {table.unit} {table.lines[row]}")
            if not self.labelled:
                self.ids.append(name)
            label = label if self.label_of is None else self.label_of(name)
            if reason:
                self.skipped.append(Skipped(name, label or "", reason))
                continue
            part = split if parts is None else parts[row]
            self.add(name, label, content, split=part, group=None if groups is None else groups[row])
            if times is not None and label is not None:
                self.times.append(times[row] or 0.0)

    def _id(self, name: str, place: str) -> str:
        """Return the id of a row: it says the place where it is listed if its name came before."""
        if name in self.used:
            return f"{name}#{place}"
        self.used.add(name)
        return name

    def _path(self, text: str, table: Table, row: int, find: Callable[[str], str] | None) -> tuple[str, str, str]:
        """Return the id of a file, its path, and why it cannot be used, which is empty where it can.

        `find` finds the file; without it the text is the path.
        """
        if "\\" in text and "/" not in text:
            text, self.backslashes = text.replace("\\", "/"), self.backslashes + 1
        path, refused = text, None
        try:
            path = inside(text, table, row, self.reach)
        except DataError as error:
            refused = error
        try:
            match = path if find is None else find(path)
        except BadExample as error:
            return path, path, error.reason
        if refused is not None:
            if _leads_out(posixpath.normpath(match)) or URL.match(match):
                raise refused
            self.elsewhere += 1
        return (path if match.startswith("/") else match), match, ""


def _are_paths(table: Table, roles: Roles, files: NamedFiles) -> bool:
    """Return whether cells are paths from the folder of the table, so that no file needs to be looked for."""
    sample = [str(cell) for cell in table.sample(roles.columns[0])]
    return all(files.is_path(posixpath.normpath(cell.replace("\\", "/"))) for cell in sample)


def from_tables(
    tables: Sequence[ListedTable],
    *,
    name: str,
    where: str,
    root: Path | None = None,
    labelled: bool = True,
    label_from: str | None = None,
    reader: Callable[[Sequence[Any]], Callable[[int], bytes]] | None = None,
) -> Dataset:
    """Return the texts that tables hold, or the pictures or recordings that they name, anywhere below their folder.

    A row without a label, or whose text is empty or file missing, is skipped and counted; a path that leads out of the
    folder, and not into `root`, is an error, and nothing is ever fetched from a URL. If not `labelled`, every example
    has the label "" and there are no classes; `label_from` is a regular expression that takes the label of a row from
    its id, which is its path, its cell in a column of ids, or its line. `reader` makes the reader where the tables hold
    the pictures themselves, from the rows of the examples, counted over all tables.

    Raises:
        DataError: a path leads out, a split is unknown, the labels are none, or there are fewer than two classes.
    """
    tree = tables[0].files.tree
    reach = None if root is None else (os.path.abspath(tree.where), os.path.abspath(root))  # noqa: PTH100
    listing = _TableListing(labelled, label_of=None if label_from is None else labels_by(label_from), reach=reach)
    for listed in tables:
        listing.take(listed)
    kind = _kind(tables, listing.contents, where)
    if label_from is not None:
        ids = [example.id for example in listing.examples] + [skipped.id for skipped in listing.skipped]
        check_labels([example.label for example in listing.examples], label_from, where, ids)
    notes = [note for listed in tables for note in listed.table.notes]
    notes += [note for listed in tables if labelled for note in unused_note(listed.table, listed.roles)]
    if listing.backslashes:
        notes.append(f"{listing.backslashes} paths are written with backslashes, read as slashes.")
    if listing.elsewhere:
        notes.append(
            f"{listing.elsewhere:,} paths lead out of {tree.where}: the files below it whose paths end alike are read."
        )
    if listing.times:
        listing.examples, note = split_by_time(listing.examples, listing.times, where)
        notes.append(note)
    if reader is not None:
        read = reader(listing.contents)
    elif tables[0].roles.content == "text":
        read = text_reader(listing.contents)
    else:
        read = file_reader(tree, listing.contents, absent="missing", begin=kind == "sound")
    dataset = listing.dataset(
        read,
        name=name,
        kind=kind,
        where=where,
        do="give rows of at least two labels",
        notes=list(dict.fromkeys(notes)),
        entries=sum(len(listed.table) for listed in tables),
    )
    return _with_table(dataset, tables, listing.ids)


def _with_table(dataset: Dataset, tables: Sequence[ListedTable], ids: Sequence[str]) -> Dataset:
    """Return a data set that says what its tables' columns are for, and where `ids` has them, which row is which."""
    table, roles = tables[0].table, tables[0].roles
    names = roles.names(table)
    if not table.has_header:
        names["header"] = table.names
    read = {word: columns for word, columns in names.items() if word != "header"}
    layout = ", ".join(f"{word} from {list_some(columns, 5)}" for word, columns in read.items()) + "."
    rows = TableRows(names, table if ids and len(tables) == 1 else None, tuple(ids))
    return replace(dataset, layout=layout, table=rows)


def _contents(table: Table, roles: Roles) -> Sequence[Any]:
    """Return what holds the example of each row; several texts are joined by line breaks."""
    if roles.content != "text":
        return table.cells(roles.columns[0])
    if len(roles.columns) == 1:
        cells = table.cells(roles.columns[0])
        as_they_are = all(type(cell) is str for cell in cells)
        return cells if as_they_are else [one if isinstance(one, bytes) or one is None else str(one) for one in cells]
    columns = [table.cells(at) for at in roles.columns]
    return ["\n".join(str(cell) for cell in cells if not is_empty(cell)) for cells in zip(*columns, strict=True)]


def _kind(tables: Sequence[ListedTable], paths: Sequence[Any], where: str) -> Kind:
    """Return what the tables hold or list, all of them alike; of mere paths, most names tell."""
    words = {one.roles.content for one in tables}
    kinds = {CONTENT[word] for word in words - {"path"}}
    if "path" in words:
        suffixes = Counter(suffix_of(str(path).strip()) for path in paths)
        known: dict[Kind, frozenset[str]] = {"image": IMAGE_SUFFIXES, "sound": SOUND_SUFFIXES, "text": TEXT_SUFFIXES}
        counts = {kind: sum(suffixes[suffix] for suffix in accepted) for kind, accepted in known.items()}
        kinds.add(max(counts, key=lambda kind: counts[kind]))
    if len(kinds) > 1 or ("text" in words and len(words) > 1):
        received = " and ".join(
            f"{MODALITIES[kind].plural} in {'some' if not position else 'others'}"
            for position, kind in enumerate(sorted(kinds))
        )
        raise DataError(
            f"the tables of {where} must be alike",
            received,
            "name one of them alone, or write all with the same columns",
        )
    return kinds.pop()


def _parts(table: Table, place: int, split: Split | None) -> list[Split]:
    """Return the part of each row, which is that of its file, `split`; raises DataError where a cell names none."""
    cells = table.cells(place)
    part_of = parts_of(cells, table.names[place])
    parts = [part_of[str(cell)] for cell in cells]
    if None in parts:
        row = parts.index(None)
        numbers = all(number_of(cell) is not None for cell in part_of)
        column = shlex.quote(table.names[place])
        do = f"keep each of these together instead: --group-column={column}" if numbers else "write one of them there"
        must = f"{table.place(row)} must be one of {', '.join(SPLITS)} in its split column"
        raise DataError(must, repr(cells[row]), do)
    others = [row for row, part in enumerate(parts) if split not in (None, part)]
    if others:
        must = f"{table.place(others[0])} must belong to the part of its file, {split}"
        raise DataError(must, repr(cells[others[0]]), f"write {split} there, or move the row to the file of its part")
    return [part for part in parts if part is not None]


def inside(text: str, table: Table, row: int, reach: tuple[str, str] | None = None) -> str:
    """Return a path from a row of a table, tidied, once it is sure to stay inside the table's folder.

    Raises:
        DataError: it is a URL, absolute, or leads out with `..`, unless it leads into one of the two absolute paths of
            `reach`.
    """
    if URL.match(text):
        kind = "a URL or drive"
    else:
        path = posixpath.normpath(text)
        if not _leads_out(path):
            return path
        if reach is not None:
            full = posixpath.normpath(posixpath.join(reach[0], path))
            if any(full.startswith(f"{folder.rstrip('/')}/") for folder in reach):
                return path
        kind = "an absolute path" if path.startswith("/") else "a path that leads out"
    allowed = f"the table's folder{' or under ' + reach[1] if reach else ''}"
    raise DataError(
        f"{table.place(row)} must hold a path inside {allowed}",
        f"{text} ({kind})",
        "use paths relative to the table; nothing is downloaded"
        if kind == "a URL or drive"
        else "use paths relative to the table, or name the folder that they lead into: --root DIR",
    )


def _leads_out(path: str) -> bool:
    return path.startswith(("/", "../")) or path == ".."
