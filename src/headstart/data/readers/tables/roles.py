"""What each column of a table is for, told by what its cells match, whatever it is called.

A column that is named by an option counts first, then one with our own word for a name. What is left is told by
content: paths are cells that name files, texts are words that differ from row to row, parts are cells that all name
one. Where two columns could be it, nothing is guessed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.base.errors import DataError, UsageError, did_you_mean, list_some
from headstart.data.file_tree import suffix_of
from headstart.data.labels import TRUTHS, parts_of
from headstart.data.modality import Kind
from headstart.data.readers.tables.label_column import label_of
from headstart.data.readers.tables.named_files import EXAMPLES, NamedFiles
from headstart.data.readers.tables.table import CONTENT, HEADER, ROLES, ColumnNames, Table

MOSTLY = 0.5  # the share of cells that tells what a column holds
_PARTS = 4  # more different cells name no parts
_MARKED = 2.0  # texts that are so many times as long as all others are the texts


@dataclass(frozen=True)
class Roles:
    """The positions of the columns of a table by what they hold."""

    content: str  # what holds the examples: "path", "image", "text" or "audio"
    columns: tuple[int, ...]  # where; several columns of texts are joined
    label: tuple[int, ...] = ()  # one column, or one for each class; none where the table has no labels
    group: int | None = None
    split: int | None = None
    time: int | None = None
    id: int | None = None

    @property
    def used(self) -> frozenset[int]:
        """The positions of all columns that are used."""
        others = (self.group, self.split, self.time, self.id)
        return frozenset({*self.columns, *self.label, *(at for at in others if at is not None)})

    def embedded(self, table: Table) -> bool:
        """Return whether the examples themselves are in the table, and no paths or texts."""
        return self.content != "text" and self.columns[0] in table.embedded

    def names(self, table: Table) -> dict[str, tuple[str, ...]]:
        """Return the names of the columns by our words, and the whole header where the table has none of its own."""
        positions = {self.content: self.columns, "label": self.label}
        positions |= {
            word: (at,) for word in ("group", "split", "time", "id") if (at := getattr(self, word)) is not None
        }
        return {word: tuple(table.names[at] for at in places) for word, places in positions.items() if places}


def find_roles(
    table: Table,
    *,
    columns: ColumnNames | None = None,
    remembered: ColumnNames | None = None,
    files: NamedFiles | None = None,
    labelled: bool = True,
    kind: Kind | None = None,
) -> Roles:
    """Return what the columns of a table are for.

    Args:
        columns: names of columns, by our words for what they hold.
        remembered: the same of an earlier table, which count where this one has them.
        files: what paths may lead to; None where no column can hold paths.
        labelled: whether a column of labels must be there.
        kind: what the examples are, where that is known.

    Raises:
        DataError: a column that must be there is not, or several could be it; the message lists them.
        UsageError: `columns` uses a word that we do not know.
    """
    if len(table.names) < 2 and labelled:
        received = f"the columns {list_some(table.names, 1) or 'none'}"
        do = "separate them, such as by tabs or commas, with a header line such as text,label"
        raise DataError(f"{table.where} must have columns for the examples and their labels", received, do)
    named = _named(table, columns or {}, remembered or {}, labelled=labelled)
    content = next((word for word in CONTENT if word in (columns or {}) and word in named), None) or next(
        (word for word in CONTENT if word in named), None
    )
    single = {word: named[word][0] for word in ("group", "split", "time", "id") if word in named}
    used = {place for places in named.values() for place in places}
    if "split" not in single and "time" not in single:
        split = _split_column(table, used)
        single |= {} if split is None else {"split": split}
        used |= set(single.values())
    if content is None:
        content, places = _content_column(table, used, files, kind)
        named[content] = places
    places = named[content]
    content = "image" if content == "path" and places[0] in table.embedded else content
    label = named.get("label", ())
    if not label and labelled:
        label = label_of(table, used.union(places))
    return Roles(content, places, label if labelled else (), **single)


def unused_note(table: Table, roles: Roles) -> tuple[str, ...]:
    """Return a note that names every column that is not used, where there is one."""
    names = [name for at, name in enumerate(table.names) if at not in roles.used]
    return (f"Columns of {table.where} that are not used: {list_some(names, 10)}.",) if names else ()


def _named(
    table: Table, columns: ColumnNames, remembered: ColumnNames, *, labelled: bool
) -> dict[str, tuple[int, ...]]:
    """Return the positions of the columns that are named: by an option, as once before, or by our own words."""
    for word in columns:
        if word not in (*ROLES, HEADER):
            must = f"columns must name {', '.join(ROLES)}"
            raise UsageError(must, repr(word), f"choose one{did_you_mean(word, ROLES)}")
    folded = [name.casefold() for name in table.names]
    elsewhere = {name.casefold() for word in ROLES for name in _several(columns.get(word) or ())}
    positions: dict[str, tuple[int, ...]] = {}
    for word in ROLES:
        names = _several(columns.get(word) or ())
        for name in names:
            if name.casefold() not in folded and (labelled or word in CONTENT):
                received = f"the columns {list_some(table.names, 20)}"
                raise DataError(f"{table.where} must have the column {name!r}", received, "check the name")
        names = names or [name for name in _several(remembered.get(word) or ()) if name.casefold() in folded]
        ours = word not in ("time", "id") and word in folded and word not in elsewhere
        names = names or ([word] if ours else [])
        for name in names:
            if folded.count(name.casefold()) > 1:
                received = list_some(table.names, 5)
                raise DataError(
                    f"{table.where} must have one column {name!r}",
                    received,
                    "give the others names of their own in the header",
                )
        if places := tuple(folded.index(name.casefold()) for name in names if name.casefold() in folded):
            positions[word] = places
    return positions


def _several(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _split_column(table: Table, used: set[int]) -> int | None:
    """Return the column whose every cell names a part, train among them, or tells by truth whether it is one."""
    for place, name in enumerate(table.names):
        if place in used or place in table.embedded:
            continue
        sample = table.sample(place)
        if not sample or any(isinstance(cell, (list, dict)) for cell in sample):
            continue
        truths = all(str(cell).strip().lower() in TRUTHS for cell in sample)
        if len(set(sample)) > _PARTS or (truths and not name.lower().startswith("is")):
            continue
        parts = _parts(table.cells(place), name)
        if {"train"} < parts and None not in parts:
            return place
    return None


def _parts(cells: Sequence[Any], name: str) -> set[Any]:
    return set(parts_of(cells, name).values())


def _content_column(
    table: Table, used: set[int], files: NamedFiles | None, kind: Kind | None
) -> tuple[str, tuple[int, ...]]:
    """Return what holds the examples, and where."""
    free = [at for at in range(len(table.names)) if at not in used]
    bytes_of = [at for at in free if at in table.embedded]
    if len(bytes_of) == 1:
        return "image", (bytes_of[0],)
    free = [at for at in free if at not in table.embedded]
    if files is not None and (column := _path_column(table, free, files)) is not None:
        return "path", (column,)
    named = [at for at in free if _look_like_files(table, at)]
    if kind in (None, "text") and (column := _text_column(table, free)) is not None:
        spaced = sum(len(str(cell).split()) > 1 for cell in table.sample(column))
        if not named or spaced >= MOSTLY * len(table.sample(column)):
            return "text", (column,)
    what = {"text": "the texts", None: "the examples, such as their paths or texts"}.get(kind, "paths of files")
    if named:
        received = f"{table.names[named[0]]!r} with {str(table.sample(named[0])[0])!r}, and no such file"
        raise DataError(
            f"files that {table.where} names must lie below its folder",
            received,
            "name the folder they are in: --root DIR",
        )
    raise DataError(
        f"{table.where} must have a column of {what}",
        f"the columns {list_some(table.names, 20)}",
        "name it: --text-column NAME, or --path-column NAME; files may lie below --root DIR",
    )


def _path_column(table: Table, free: Sequence[int], files: NamedFiles) -> int | None:
    """Return the column whose cells name files that exist, each row another one."""
    matches: dict[int, set[str]] = {}
    for place in free:
        sample = table.sample(place)
        if not sample or not all(_could_be_path(cell) for cell in sample):
            continue
        distinct = {str(cell).strip() for cell in sample}
        if len(distinct) >= MOSTLY * len(sample) and files.fit(sample)[0] >= MOSTLY:
            matches[place] = distinct
    if len(matches) < 2:
        return next(iter(matches), None)
    most = max(files.fit(table.sample(place))[0] for place in matches)
    best = [place for place in matches if files.fit(table.sample(place))[0] == most]
    targets = {place: tuple(sorted(files.paths(table.sample(place)))) for place in best}
    if len(set(targets.values())) == 1:
        return best[0]
    raise ambiguous(table, best, "the path of each example", lambda name: f"--path-column={name}")


def _could_be_path(cell: object) -> bool:
    return isinstance(cell, (str, int)) and not isinstance(cell, bool) and len(str(cell)) < 256


def _look_like_files(table: Table, place: int) -> bool:
    sample = table.sample(place)
    names = [cell for cell in sample if isinstance(cell, str) and suffix_of(cell.strip()) in EXAMPLES]
    return bool(sample) and len(names) >= MOSTLY * len(sample)


def _text_column(table: Table, free: Sequence[int]) -> int | None:
    """Return the column of words that differ from row to row: the one whose texts are far longer than all others."""
    lengths: dict[int, float] = {}
    for place in free:
        sample = table.sample(place)
        wordy = sum(_is_wordy(cell) for cell in sample)
        varied = len({str(cell) for cell in sample}) >= MOSTLY * len(sample)
        if sample and varied and wordy >= MOSTLY * len(sample) and not _look_like_files(table, place):
            lengths[place] = sum(len(str(cell)) for cell in sample) / len(sample)
    ranked = sorted(lengths, key=lambda place: -lengths[place])
    if len(ranked) > 1 and lengths[ranked[0]] < _MARKED * lengths[ranked[1]]:
        alike = [place for place in ranked if lengths[ranked[0]] < _MARKED * lengths[place]]
        raise ambiguous(
            table, alike, "the texts", lambda name: f"--text-column={name}, which may be given again to join several"
        )
    return ranked[0] if ranked else None


def _is_wordy(cell: object) -> bool:
    """Return whether a cell reads as words, and not as a number, a code or a path."""
    if not isinstance(cell, str) or not any(char.isalpha() for char in cell):
        return False
    plain = not any(char.isdigit() or char in "_/\\" for char in cell)
    return plain or not cell.isascii() or any(char.isspace() for char in cell.strip())


def ambiguous(table: Table, places: Sequence[int], what: str, option: Callable[[str], str]) -> DataError:
    """Return the error that lists the columns that could be it, with a cell of each, and the option that decides."""
    shown = [f"{table.names[at]} ({str(table.sample(at)[0])[:40]!r})" for at in places]
    return DataError(
        f"one column of {table.where} must be {what}",
        f"{len(places)} that could be: {list_some(shown, 5)}",
        f"name it, such as {option(shlex.quote(table.names[places[0]]))}",
    )
