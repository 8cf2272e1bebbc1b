"""Folders that hold a table which lists their files, such as `labels.csv` beside photos, or `metadata.jsonl` in parts.

Where the folders themselves are no classes, such tables give the labels. Where they are, and a table says otherwise,
nobody can know which of them is meant.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from headstart.base.errors import DataError, UsageError, list_some
from headstart.data.dataset import BadExample, Dataset, Split
from headstart.data.file_tree import MAX_BYTES, File, Tree
from headstart.data.labels import SPLITS, class_name_of
from headstart.data.readers.folders.class_folders import from_folders
from headstart.data.readers.tables.named_files import NamedFiles
from headstart.data.readers.tables.opener import TableOpener, name_of
from headstart.data.readers.tables.read import is_table
from headstart.data.readers.tables.roles import MOSTLY, Roles, find_roles
from headstart.data.readers.tables.table import CONTENT, Table

MOST_TABLES = 50  # where more lie in a folder, they are examples or notes to them, and none lists the others
_AGREE = 0.95  # the share of rows in which a column repeats the names of the class folders


@dataclass(frozen=True)
class _Listing:
    name: str  # the path of the table in the tree
    table: Table
    roles: Roles  # its labels left out
    split: Split | None
    files: NamedFiles


def from_tree(tree: Tree, shown: Sequence[File], opener: TableOpener) -> Dataset:
    """Return the examples of class folders, or those that tables in the tree list where its folders are no classes.

    Raises:
        DataError: it is neither, or it is both and they differ.
    """
    listings, refused = ([], None) if opener.label_from is not None else _listings(tree, shown, opener)
    try:
        folders = from_folders(tree, shown, name=name_of(opener.path), label_from=opener.label_from)
    except DataError:
        if not listings:
            if refused is not None and opener.columns:
                raise refused from None
            raise
        return _from_listings(_one_each(listings, tree, opener), opener)
    if listings and (opener.columns or {}).keys() & {*CONTENT, "label"}:  # the table is meant
        return _from_listings(_one_each(listings, tree, opener), opener)
    for listing in listings:
        _check_agrees(listing, folders, tree)
    return folders


def _listings(tree: Tree, shown: Sequence[File], opener: TableOpener) -> tuple[list[_Listing], UsageError | None]:
    """Return the tables whose cells name most of the files at hand, and why another could not be read."""
    names = [file.path for file in shown if is_table(file.path) and not file.problem]
    if not names or len(names) > MOST_TABLES:
        return [], None
    every, listings, refused = NamedFiles(tree, opener.root), [], None
    for name in names:
        base, _, _ = name.rpartition("/")
        files = every.below(base)
        try:
            table = opener.read(tree, name, limit=MAX_BYTES)
            roles = find_roles(table, columns=opener.columns, files=files, labelled=False)
        except UsageError as error:
            refused = refused or error
            continue
        if roles.content == "text" or roles.embedded(table):
            continue
        share, _ = files.fit(table.sample(roles.columns[0]))
        if share * len(table) >= MOSTLY * files.count:
            listings.append(_Listing(name, table, roles, SPLITS.get(base.partition("/")[0].lower()), files))
    return listings, refused


def _one_each(listings: Sequence[_Listing], tree: Tree, opener: TableOpener) -> list[_Listing]:
    """Return one listing for each folder; raises DataError where there are several with labels."""
    counts = Counter(os.path.split(one.name)[0] for one in listings)
    alone = [one for one in listings if counts[os.path.split(one.name)[0]] == 1]
    rest = [one for one in listings if one not in alone and _has_labels(one, opener)]
    if len(rest) > 1:
        raise DataError(
            f"one table in {tree.where} must list the examples",
            list_some([one.name for one in rest], 5),
            f"name the one to use: {_command(tree, rest[0])}",
        )
    return [one for one in listings if one in alone or one in rest] or list(listings[:1])


def _has_labels(listing: _Listing, opener: TableOpener) -> bool:
    try:
        return bool(find_roles(listing.table, columns=opener.columns, files=listing.files).label)
    except UsageError:
        return False


def _from_listings(listings: Sequence[_Listing], opener: TableOpener) -> Dataset:
    names = [one.name for one in listings]
    dataset = opener.listed([(one.table, one.split, one.files) for one in listings], names)
    note = f"The examples and their labels are taken from {list_some(names)}."
    return replace(dataset, notes=(note, *dataset.notes))


def _check_agrees(listing: _Listing, folders: Dataset, tree: Tree) -> None:
    """Raise DataError where a table lists the examples of class folders and no column of it holds their classes."""
    table, files = listing.table, listing.files
    paths = table.cells(listing.roles.columns[0])
    _, skip = files.fit(table.sample(listing.roles.columns[0]))
    label_of = {example.id: example.label for example in folders.examples}
    rows: list[tuple[int, str]] = []
    for row in range(0, len(table), max(1, len(table) // 500)):
        try:
            label = label_of.get(files.find(str(paths[row]), skip))
        except BadExample:
            label = None
        if label is not None:
            rows.append((row, label))
    if len(rows) * 2 < len(range(0, len(table), max(1, len(table) // 500))):
        return
    for column in range(len(table.names)):
        if column not in table.embedded:
            cells = table.cells(column)
            if sum(class_name_of(cells[row]) == label for row, label in rows) >= _AGREE * len(rows):
                return
    raise DataError(
        f"{tree.where} must give the label of each example once",
        f"class folders, and the table {listing.name}, which lists their files and does not hold their classes",
        f"use the table: {_command(tree, listing)}; or move it away",
    )


def _command(tree: Tree, listing: _Listing) -> str:
    return f"headstart fit {shlex.quote(os.path.join(tree.where, listing.name))}"  # noqa: PTH118
