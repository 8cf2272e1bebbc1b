"""Texts one a line, in a file for each class, as `pos.txt` and `neg.txt`; the folders of these may be parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headstart.base.errors import counted, list_some
from headstart.data.dataset import BadExample, Dataset, Split
from headstart.data.file_tree import MAX_BYTES, File, Tree, suffix_of
from headstart.data.labels import Listing, part_named_in
from headstart.data.readers.folders.file_kinds import TABLES
from headstart.data.text import Undecodable, decode_text, text_reader

MOST_FILES = 50
LEAST_LINES = 5  # of a file
MOST_BLANK = 0.1  # share of lines: more are between the paragraphs of one text
MOST_CHARACTERS = 2_000  # of the line in the middle, by length


def from_text_lines(tree: Tree, shown: Sequence[File], *, name: str) -> Dataset | None:
    """Return the lines of text files as examples of the classes that the files are called; None where they are not so.

    Args:
        shown: the files that are no litter.
    """
    lines = {file.path: _lines(tree, file) for file in shown} if len(shown) <= MOST_FILES else {}
    lines = {path: some for path, some in lines.items() if some}
    split_of: dict[str, Split | None] = {}
    for folder in {path.rpartition("/")[0] for path in lines}:
        split_of[folder] = part_named_in(folder.rpartition("/")[2])
    if len(split_of) > 1 and (None in split_of.values() or "train" not in split_of.values()):
        return None
    names = {path: path.rpartition("/")[2] for path in lines}
    stems = {path: file.removesuffix(suffix_of(file)) for path, file in names.items()}
    labels = stems if len(set(stems.values())) > 1 else {path: suffix_of(file)[1:] for path, file in names.items()}
    if len(set(labels.values())) < 2 or len(lines) > len(set(labels.values())) * len(split_of):
        return None
    listing = Listing(labelled=True)
    for path, texts in lines.items():
        for number, text in enumerate(texts, 1):
            listing.add(f"{path}:{number}", labels[path], text, split=split_of[path.rpartition("/")[0]])
    notes = (f"Each line of {list_some(sorted(lines), 4)} is a text of the class that the file is called.",)
    dataset = listing.dataset(
        text_reader(listing.contents), name=name, kind="text", where=tree.where, do="give two classes", notes=notes
    )
    unused = [file.path for file in shown if file.path not in lines]
    if unused:
        notes = (f"{counted(len(unused), 'file is', 'files are')} not used: {list_some(unused, 5)}.",)
        dataset = replace(dataset, ignored=len(unused), notes=(*dataset.notes, *notes))
    return replace(dataset, layout=f"{len(dataset.classes)} classes, a text each line of a file of the class.")


def _lines(tree: Tree, file: File) -> list[str]:
    """Return the lines of a file that look like texts of their own; none where they do not."""
    if file.problem or suffix_of(file.path) in TABLES:
        return []
    try:
        lines = decode_text(tree.read(file.path, limit=MAX_BYTES))[0].splitlines()
    except (BadExample, Undecodable):
        return []
    texts = [line for line in lines if line.strip()]
    usual = sorted(map(len, texts))[len(texts) // 2] if texts else 0
    blank = len(lines) - len(texts)
    are_texts = len(texts) >= LEAST_LINES and blank <= MOST_BLANK * len(lines) and 3 < usual <= MOST_CHARACTERS
    return texts if are_texts and sum(" " in text.strip() for text in texts) * 2 > len(texts) else []
