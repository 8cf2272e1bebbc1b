"""The names of classes whose folders are called by ids, from a list beside them, as `synsets.txt` or `words.txt`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headstart.data.dataset import BadExample
from headstart.data.file_tree import File, Tree, suffix_of
from headstart.data.readers.folders.file_kinds import TABLES
from headstart.data.readers.folders.lists import MAX_LIST, MOST_TEXTS, SUFFIXES

BETWEEN = re.compile(r"\t|[ ]*[,;:=][ ]*|[ ]+")  # an id and its name


def names_beside(tree: Tree, files: Sequence[File], ids: Sequence[str]) -> tuple[str, dict[str, str]] | None:
    """Return the list that holds the name of each class, and the name of each id; None where there is none.

    Ids hold a digit each. A list has them all in its first column, an id and a name in each line; names must differ and
    begin with a letter. Of several of one class, with commas between them, the first is taken where it is its alone.
    """
    if not ids or not all(any(letter.isdigit() for letter in one) for one in ids):
        return None
    lists = [one for one in files if not one.problem and one.path.count("/") < 2]
    for file in [one for one in lists if suffix_of(one.path) in {*SUFFIXES, *TABLES}][:MOST_TEXTS]:
        try:
            lines = tree.read(file.path, limit=MAX_LIST).decode("utf-8-sig").splitlines()
        except (BadExample, UnicodeDecodeError):
            continue
        unnamed, names = set(ids), dict[str, str]()
        for line in lines:
            first, *rest = BETWEEN.split(line.strip(), maxsplit=1)
            if first in unnamed and rest and (name := rest[0].strip()):
                names.setdefault(first, name)
        firsts = {one: name.split(",")[0] for one, name in names.items()}
        for named in ({one: name.strip(" '\"") for one, name in some.items()} for some in (firsts, names)):
            distinct = set(named.values())
            if names.keys() == unnamed and len(distinct) == len(ids) and all(name[:1].isalpha() for name in distinct):
                return file.path, named
    return None
