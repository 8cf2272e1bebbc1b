"""Predictions written as they come: into a file that an interrupted run goes on with, or a line of JSON each."""

from __future__ import annotations

import base64
import binascii
import json
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.cache import read_record, write_record
from headstart.base.config import cache_dir, cores
from headstart.base.disk import reraise_disk_errors, sync_folder
from headstart.base.errors import HeadstartError, UsageError, one_line
from headstart.base.hashing import foreign_json, sha256_json
from headstart.base.interrupts import GOES_ON, keeping
from headstart.base.progress import Progress
from headstart.cli.messages import show_json
from headstart.cli.predicted_table import as_objects, check_some, predicted_columns, write_predicted
from headstart.data.dataset import BadExample, Dataset, Skipped
from headstart.ship.bundle import plain_values

if TYPE_CHECKING:
    from headstart.model import Model
    from headstart.serving.open_model import OpenModel

WHOLE = (".parquet",)
"""Suffixes of files that are written at once."""


def writes_blocks(out: Path) -> bool:
    """Return whether a file is written block by block."""
    return out.suffix.lower() not in WHOLE


class OutFile:
    """A file of predictions, which has its name once it is whole.

    Until then a hidden part of it lies beside, with a record of how far it goes: the same command goes on there.
    """

    def __init__(
        self, out: Path, model: Model, dataset: Dataset, *, every_class: bool, size: int, nearest: int = 0
    ) -> None:
        assert dataset.table is not None
        self._out, self._model, self._dataset, self._every_class = out, model, dataset, every_class
        self._blocks: dict[str, Any] = {"size": size, "nearest": nearest}
        self._part = self._out.with_name(f".{self._out.name}.part")
        self._record = self._out.with_name(f".{self._out.name}.part.json")
        ids = list(dataset.table.ids)
        self._of = sha256_json([every_class, nearest, out.suffix, plain_values(model.manifest()), ids])
        self.rows, self.bytes, self.skipped = 0, 0, 0  # that are written

    def write(self, progress: Progress) -> int:
        """Write all predictions, and return how many inputs were skipped.

        UsageError: none could be used, or the disk is full.
        """
        before = read_record(self._record) or {}
        if before.get("of") == self._of and self._part.is_file() and self._part.stat().st_size >= before["bytes"]:
            self.rows, self.bytes, self.skipped = (before[name] for name in ("rows", "bytes", "skipped"))
            progress.say(f"Going on after {self.rows:,} rows, which an interrupted run has written")
        with keeping(self._kept), reraise_disk_errors(self._out, 0):
            with self._part.open("r+b" if self.rows else "wb") as file:
                file.truncate(self.bytes)
                file.seek(self.bytes)
                self._append(file, progress)
                os.fsync(file.fileno())
            self._part.replace(self._out)
            self._record.unlink(missing_ok=True)
            sync_folder(self._out.absolute().parent)
        return self.skipped

    def _kept(self) -> str:
        return f"{self.rows:,} rows are kept in {self._part}; the same command {GOES_ON}" if self.rows else ""

    def _append(self, file: Any, progress: Progress) -> None:
        first: list[Skipped] = []
        for block in self._model.predict_blocks(self._dataset, **self._blocks, start=self.rows, progress=progress):
            for skip in block.skipped:
                progress.say(f"Skipped {skip.id}: {skip.reason}")
            first += block.skipped if len(first) < self._blocks["size"] else ()
            added = predicted_columns(self._model, block, every_class=self._every_class)
            file.write(write_predicted(block.rows, added, self._out, header=not self.rows))
            file.flush()
            self.rows, self.bytes = self.rows + len(block.rows.ids), file.tell()
            self.skipped += len(block.skipped)
            write_record(
                self._record, {name: getattr(self, name) for name in ("rows", "bytes", "skipped")} | {"of": self._of}
            )
        try:
            check_some(self.rows - self.skipped, first, self._dataset)
        except UsageError:
            self._part.unlink()
            self._record.unlink(missing_ok=True)
            raise


def show_lines(
    model: Model, dataset: Dataset, progress: Progress, *, every_class: bool, size: int, nearest: int = 0
) -> int:
    """Print a line of JSON for each input, those that cannot be used with their reason; return how many these are."""
    count, skipped = 0, list[Skipped]()
    for block in model.predict_blocks(dataset, size=size, nearest=nearest, progress=progress):
        for prediction in as_objects(model, block, every_class=every_class):
            show_json(prediction)
        for skip in block.skipped:
            show_json({"path": skip.id, "error": skip.reason})
        count, skipped = count + len(block.ids), [*skipped, *block.skipped]
    check_some(count, skipped, dataset)
    return len(skipped)


@dataclass
class _Line:
    """One line of a stream: what is given back of it, and what it asks for, or why that cannot be used."""

    given_back: dict[str, Any]
    item: bytes | str | Path | None = None
    reason: str = ""


def from_stream(
    bundle: Path, stream: Iterable[str], progress: Progress, *, engine: str, every_class: bool, size: int
) -> int:
    """Predict the lines of a stream as they come, print a line of JSON for each, and return how many cannot be used.

    Whatever has come is predicted together, so that a sender who waits for each answer gets it at once.
    """
    from headstart.model import load
    from headstart.serving.open_model import Engines, OpenModel

    model = OpenModel(load(bundle), Engines(cache_dir(), engine=engine, progress=progress))
    skipped = 0
    with ThreadPoolExecutor(cores()) as pool:
        for lines in _groups(stream, size):
            asked = [_asked(line, model.kind) for line in lines]
            for shown in _answered(model, asked, pool.map, every_class=every_class):
                skipped += "error" in shown
                print(json.dumps(shown, allow_nan=False, default=str).replace("\x7f", "\\u007f"), flush=True)
    return skipped


def _groups(stream: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield the lines that have come, `size` at most, as soon as there is one."""
    waiting: queue.Queue[str | None] = queue.Queue(size)

    def read() -> None:
        for line in stream:
            waiting.put(line)
        waiting.put(None)

    threading.Thread(target=read, name="lines", daemon=True).start()
    while (line := waiting.get()) is not None:
        group: list[str | None] = [line]
        while len(group) < size and group[-1] is not None and not waiting.empty():
            group.append(waiting.get())
        yield [text for text in group if text is not None and text.strip()]
        if group[-1] is None:
            return


def _asked(line: str, kind: str) -> _Line:
    """Return what a line asks for: JSON with path, text or data, or else a path, or for a model of texts a text."""
    text = line.rstrip("\r\n")
    if not text.startswith("{"):
        return _Line({"text" if kind == "text" else "path": text}, text if kind == "text" else Path(text))
    try:
        content = foreign_json(text.encode("utf-8", "surrogatepass"))
        named = [name for name in ("path", "text", "data") if isinstance(content.get(name), str)]
        if len(named) != 1:
            return _Line(content, reason="a line must hold one of path, text and data")
        value = content[named[0]]
        back = {name: one for name, one in content.items() if name != "data"}
        if named[0] == "data":
            return _Line(back, base64.b64decode(value, validate=True))
        return _Line(back, value if named[0] == "text" else Path(value))
    except (ValueError, binascii.Error) as error:
        return _Line({"line": one_line(text, 80)}, reason=f"no JSON, or no base64: {error}")


def _answered(
    model: OpenModel, lines: list[_Line], each: Callable[..., Iterable[Any]], *, every_class: bool
) -> Iterator[Mapping[str, Any]]:
    """Yield the answer on each line, in their order."""

    def prepared(line: _Line) -> Any:
        try:
            if line.item is None or (isinstance(line.item, str) and model.kind != "text"):
                return line.reason or "a text, where the model reads none"
            return model.prepare(line.item)
        except (BadExample, HeadstartError) as error:
            return str(error)

    ready = list(each(prepared, lines))
    usable = [one for one in ready if not isinstance(one, str)]
    runs = (usable[first : first + model.batch] for first in range(0, len(usable), model.batch))
    answers = (answer for group in runs for answer in model.run(group))
    for line, outcome in zip(lines, ready, strict=True):
        shown = (
            {"error": outcome}
            if isinstance(outcome, str)
            else next(answers).shown(model.model.classes, every_class=every_class)
        )
        yield {**line.given_back, **shown}
