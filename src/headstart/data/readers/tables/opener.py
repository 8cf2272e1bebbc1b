"""Files that are tables, opened as one data set."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.base.errors import DataError, list_some
from headstart.data.dataset import BadExample, Dataset, Split
from headstart.data.file_tree import Folder, Tree, is_litter, suffix_of
from headstart.data.modality import Kind
from headstart.data.readers.tables.delimited import MAX_TABLE
from headstart.data.readers.tables.manifest import ListedTable, from_tables
from headstart.data.readers.tables.named_files import EXAMPLES, NamedFiles
from headstart.data.readers.tables.parquet import ParquetTable, picture_reader, picture_runs
from headstart.data.readers.tables.read import is_table, read_table
from headstart.data.readers.tables.roles import Roles, find_roles
from headstart.data.readers.tables.table import HEADER, ColumnNames, Table

Columns = ColumnNames


@dataclass(frozen=True)
class TableOpener:
    """Opens tables as one data set."""

    path: Path  # what the data is called by
    root: Path | None  # a folder that paths in a table may lead into
    columns: ColumnNames | None = None
    remembered: ColumnNames | None = None  # those of an earlier table, which count where this one has them
    labelled: bool = True
    label_from: str | None = None  # a regular expression that takes the label from the id of a row
    kind: Kind | None = None  # what the examples are, where that is known

    @property
    def _has_labels(self) -> bool:
        """Whether a column must hold the labels."""
        return self.labelled and self.label_from is None

    def table(self, *, by_content: bool = False) -> Dataset | None:
        """Return what the one table at `path` holds or lists, or None where it is none, by its name or its content."""
        if suffix_of(self.path.name) == ".parquet":
            return self.parquet([(self.path, None)])
        if is_table(self.path.name) or by_content:
            return self.texts(Folder(self.path.parent, reach=self.root), [(self.path.name, None)])
        return None

    def texts(self, tree: Tree, names: Sequence[tuple[str, Split | None]], *, whole: bool = False) -> Dataset:
        """Return what tables written as text hold or list; of the `whole` tree, other files are counted."""
        files = NamedFiles(tree, self.root)
        read = [name for name, _ in names] if whole else None
        return self.listed([(self.read(tree, name), split, files) for name, split in names], read)

    def listed(
        self, tables: Sequence[tuple[Table, Split | None, NamedFiles]], read: Sequence[str] | None = None
    ) -> Dataset:
        """Return what tables hold or list, each with its part and what its paths may lead to; see `with_unused`."""
        return self._listed(self._with_roles(tables), read=read)

    def read(self, tree: Tree, name: str, *, limit: int = MAX_TABLE) -> Table:
        """Return one table that is written as text, of at most `limit` bytes."""
        where = os.path.join(tree.where, name)  # noqa: PTH118 - a member of an archive is no path on disk
        try:
            data = tree.read(name, limit=limit)
        except BadExample as error:
            raise DataError(f"{where} must be readable", error.reason, "check the file and its rights") from error
        header, known = ([*(one or {}).get(HEADER, ())] for one in (self.columns, self.remembered))
        labels = (self.remembered or {}).get("label", ())
        return read_table(data, where, names=header, known=[known, [name for name in known if name not in labels]])

    def parquet(self, paths: Sequence[tuple[Path, Split | None]], *, whole: bool = False) -> Dataset:
        """Return what Parquet files hold or list; of their `whole` folder, other files are counted."""
        opened = [(ParquetTable(path), split) for path, split in paths]
        files = NamedFiles(Folder(paths[0][0].parent, reach=self.root), self.root)
        read = [path.name for path, _ in paths] if whole else None
        listed, aside = self._with_roles([(file.table(), split, files) for file, split in opened])
        embedded = {one.roles.embedded(one.table) for one in listed}
        if len(embedded) > 1:
            received = "pictures in some and paths in others"
            raise DataError(
                f"the tables of {self.path} must be alike",
                received,
                "name one of them alone, or write all with the same columns",
            )
        if embedded != {True}:
            return self._listed((listed, aside), read=read)
        by_path = {str(file.path): file for file, _ in opened}
        columns = [(by_path[one.table.where], one.roles.columns[0]) for one in listed]
        dataset = self._listed((listed, aside), picture_reader(columns), read)
        return replace(dataset, runs=picture_runs([file for file, _ in columns]))

    def loaded(self, tables: Sequence[tuple[Table, Split | None]]) -> Dataset:
        """Return the texts of data sets that are loaded already; raises DataError where they hold none."""
        files = NamedFiles(Folder(Path()))
        listed, aside = self._with_roles([(table, split, files) for table, split in tables], paths=False)
        for entry in listed:
            if entry.roles.content != "text":
                received = f"a column {entry.table.names[entry.roles.columns[0]]!r}"
                do = "give a data set with a text and a label column, or write it to Parquet: data.to_parquet(path)"
                raise DataError(f"{entry.table.where} must hold texts", received, do)
        return self._listed((listed, aside))

    def _with_roles(
        self, tables: Sequence[tuple[Table, Split | None, NamedFiles]], *, paths: bool = True
    ) -> tuple[list[ListedTable], list[Table]]:
        """Return the tables with what their columns are for, told by the train part first, and those without labels."""
        listed_by_position: dict[int, ListedTable] = {}
        aside: list[Table] = []
        known = self.remembered
        for position, (table, split, files) in sorted(
            enumerate(tables), key=lambda one: one[1][1] not in ("train", None)
        ):
            roles = self._roles(table, files if paths else None, known, first=not listed_by_position)
            if self._has_labels and not roles.label:
                aside.append(table)
                continue
            listed_by_position[position] = ListedTable(table, roles, split, files)
            known = roles.names(table)
        return [listed_by_position[position] for position in sorted(listed_by_position)], aside

    def _listed(
        self,
        tables: tuple[list[ListedTable], list[Table]],
        reader: Callable[[Sequence[Any]], Callable[[int], bytes]] | None = None,
        read: Sequence[str] | None = None,
    ) -> Dataset:
        """Return what tables hold or list; those without labels are set aside, which is noted.

        Where all files that were `read` as tables are given, those of the tree that no row names are counted.
        """
        listed, aside = tables
        dataset = from_tables(
            listed,
            name=name_of(self.path),
            where=str(self.path),
            root=self.root,
            labelled=self.labelled,
            label_from=self.label_from,
            reader=reader,
        )
        dataset = dataset if read is None else with_unused(dataset, listed, read)
        if not aside:
            return dataset
        note = f"{list_some(table.where for table in aside)} has no labels, and is set aside for predict."
        rows = sum(map(len, aside))
        entries = None if dataset.entries is None else dataset.entries + rows
        return replace(dataset, notes=(note, *dataset.notes), ignored=dataset.ignored + rows, entries=entries)

    def _roles(self, table: Table, files: NamedFiles | None, known: ColumnNames | None, *, first: bool) -> Roles:
        """Return what the columns of a table are for; not of labels where an earlier table has shown their column."""
        folded = {name.casefold() for name in table.names}
        labelled = self._has_labels and (
            first or any(name.casefold() in folded for name in (known or {}).get("label", ()))
        )

        def find() -> Roles:
            return find_roles(
                table, columns=self.columns, remembered=known, files=files, labelled=labelled, kind=self.kind
            )

        if table.has_header or table.names[0] in (
            *(self.columns or {}).get(HEADER, ()),
            *(known or {}).get(HEADER, ()),
        ):
            return find()
        try:
            roles = find()
        except DataError:
            roles = None
        raise _no_header(table, roles)


def with_unused(dataset: Dataset, listed: Sequence[ListedTable], read: Sequence[str]) -> Dataset:
    """Return a data set that counts, and names, the files of its tree that are none of the tables `read` nor in a row.

    Args:
        listed: its tables.
        read: the paths of all files that were read as tables.
    """
    tree = listed[0].files.tree
    used = set(read)
    for entry in listed:
        if entry.roles.content != "text" and not entry.roles.embedded(entry.table):
            used |= entry.files.paths(entry.table.cells(entry.roles.columns[0]))
    others = [file.path for file in tree.files if file.path not in used]
    if not others:
        return dataset
    shown = [path for path in others if not is_litter(path)]
    examples = [path for path in shown if suffix_of(path) in EXAMPLES]
    rest = [path for path in shown if suffix_of(path) not in EXAMPLES]
    notes = []
    if examples:
        notes.append(f"Files that no row names are left out: {len(examples):,} ({list_some(examples, 3)}).")
    if rest:
        notes.append(f"Other files in {tree.where} that are not used: {list_some(rest, 5)}.")
    ignored, entries = dataset.ignored + len(others), dataset.entries
    entries = None if entries is None else entries + len(others)
    return replace(dataset, ignored=ignored, entries=entries, notes=(*dataset.notes, *notes))


def _no_header(table: Table, roles: Roles | None) -> DataError:
    """Return the error for a table without a header, with the option that gives its columns names that work."""
    words: dict[int, str] = {}
    if roles is not None:
        words = {roles.columns[0]: roles.content} | ({roles.label[0]: "label"} if len(roles.label) == 1 else {})
    names = ",".join(words.get(at, name) for at, name in enumerate(table.names))
    first = list_some([repr(str(table.cells(at)[0])[:40]) for at in range(len(table.names))], 5)
    return DataError(
        f"{table.where} must have a header, which names its columns",
        f"no header, but a row of data: {first}",
        f"name its columns: --columns={shlex.quote(names)}",
    )


def name_of(path: Path) -> str:
    """Return what data at `path` is called in a report."""
    return path.resolve().name or str(path)
