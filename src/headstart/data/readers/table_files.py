"""Files that are tables, by name, opened as one data set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.base.errors import DataError
from headstart.data.dataset import BadExample, Dataset, Split
from headstart.data.file_tree import Folder, Tree, suffix_of
from headstart.data.readers.manifest import from_tables
from headstart.data.readers.parquet import ParquetTable, from_pictures
from headstart.data.readers.tables import LINES_SUFFIXES, MAX_TABLE, TABLE_SUFFIXES, Table, read_csv, read_lines

Columns = Mapping[str, str]


@dataclass(frozen=True)
class TableOpener:
    """Opens tables as one data set."""

    path: Path  # what the data is called by
    root: Path | None  # a folder that paths in a table may lead into
    columns: Columns | None
    labelled: bool = True

    def table(self) -> Dataset | None:
        """Return what the one table at `path` holds or lists, or None where it is no table by its name."""
        suffix = suffix_of(self.path.name)
        if suffix == ".parquet":
            return self.parquet([(self.path, None)])
        if suffix in TABLE_SUFFIXES:
            return self.texts(Folder(self.path.parent, reach=self.root), [(self.path.name, None)])
        return None

    def texts(self, tree: Tree, names: Sequence[tuple[str, Split | None]]) -> Dataset:
        """Return what tables written as text hold or list."""
        tables = []
        for name, split in names:
            where = os.path.join(tree.where, name)  # noqa: PTH118 - a member of an archive is no path on disk
            try:
                data = tree.read(name, limit=MAX_TABLE)
            except BadExample as error:
                raise DataError(f"{where} must be readable", error.reason, "check the file and its rights") from error
            read = read_lines if suffix_of(name) in LINES_SUFFIXES else read_csv
            tables.append((read(data, where, columns=self.columns, labelled=self.labelled), split))
        return self._listed(tree, tables)

    def parquet(self, files: Sequence[tuple[Path, Split | None]]) -> Dataset:
        """Return what Parquet files hold or list."""
        tables = [(ParquetTable(file, columns=self.columns, labelled=self.labelled), split) for file, split in files]
        embedding = {table.embeds for table, _ in tables}
        if len(embedding) > 1:
            received = "pictures in some and paths in others"
            raise DataError(f"the tables of {self.path} must be alike", received, "make them so")
        if embedding == {True}:
            return from_pictures(tables, name=name_of(self.path), where=str(self.path), labelled=self.labelled)
        return self._listed(
            Folder(files[0][0].parent, reach=self.root), [(table.table(), split) for table, split in tables]
        )

    def _listed(self, tree: Tree, tables: Sequence[tuple[Table, Split | None]]) -> Dataset:
        name, where = name_of(self.path), str(self.path)
        return from_tables(tree, tables, name=name, where=where, root=self.root, labelled=self.labelled)


def name_of(path: Path) -> str:
    """Return what data at `path` is called in a report."""
    return path.resolve().name or str(path)
