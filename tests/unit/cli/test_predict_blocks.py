"""Predictions by blocks: the same as at once; a run that was interrupted goes on; a stream is answered line by line."""

from __future__ import annotations

import base64
import csv
import io
import json
import queue
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from served import small_run

import headstart as hs
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.cli.predict_blocks import OutFile, from_stream, show_lines, writes_blocks
from headstart.data.dataset import Dataset
from headstart.data.readers.open import open_inputs

HOW: dict[str, Any] = {"every_class": True, "size": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = small_run(tmp_path_factory.mktemp("small"))
    (run.parent / "photos0" / "class0" / "0003.png").write_bytes(b"broken")
    return run


@pytest.fixture
def data(run: Path) -> Dataset:
    return open_inputs([run.parent / "photos0"])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Interrupting:
    """The bytes of examples, until one is asked for again, for its features, at which Ctrl-C comes."""

    def __init__(self, dataset: Dataset, place: int) -> None:
        self.dataset, self.place, self.asked = dataset, place, list[int]()

    def __call__(self, position: int) -> bytes:
        self.asked.append(position)
        if position == self.place and self.asked.count(position) == 2:
            raise KeyboardInterrupt
        return self.dataset.read(position)


def test_an_interrupted_run_goes_on_where_its_output_ends(
    run: Path, data: Dataset, tmp_path: Path, cache: Path
) -> None:
    model, whole, out = hs.load(run), tmp_path / "whole.csv", tmp_path / "out.csv"
    assert OutFile(whole, model, data, every_class=True, size=1000).write(Progress()) == 1
    stopped = replace(data, read=Interrupting(data, 12))
    with pytest.raises(KeyboardInterrupt) as interrupt:
        OutFile(out, model, stopped, **HOW).write(Progress())
    assert "10 rows are kept" in interrupt.value.__notes__[-1] and not out.exists()

    with (tmp_path / ".out.csv.part").open("ab") as part:
        part.write(b"half a li")  # of a block that was not recorded
    counting = Interrupting(data, -1)
    assert OutFile(out, model, replace(data, read=counting), **HOW).write(Progress()) == 1
    assert min(counting.asked[24:]) == 10, "what was written is not read again, but for the range of all values"
    assert out.read_bytes() == whole.read_bytes() and sorted(path.name for path in tmp_path.iterdir()) == [
        "out.csv",
        "whole.csv",
    ]
    rows = rows_of(out)
    assert len(rows) == 24 and [row["reason"] for row in rows if not row["label"]] == [
        "not an accepted image (looks like text)"
    ]
    expected = model.predict([row["path"] for row in rows if row["label"]])
    assert [row["label"] for row in rows if row["label"]] == expected


def test_another_run_does_not_go_on_with_it(run: Path, data: Dataset, tmp_path: Path, cache: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        OutFile(out, hs.load(run), replace(data, read=Interrupting(data, 12)), **HOW).write(Progress())
    OutFile(out, hs.load(run), data, every_class=False, size=7).write(Progress())
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 24 and all("p(class0)" not in line for line in lines)


def test_nothing_is_left_where_no_input_can_be_used(run: Path, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    broken = open_inputs([tmp_path / "a.jpg"])
    with pytest.raises(UsageError, match=r"INPUT must hold some photos that can be read; found .*a\.jpg"):
        OutFile(tmp_path / "out.csv", hs.load(run), broken, **HOW).write(Progress())
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    assert writes_blocks(Path("a.csv")) and writes_blocks(Path("a")) and not writes_blocks(Path("a.parquet"))


def test_lines_of_json(run: Path, data: Dataset, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_lines(hs.load(run), data, Progress(), **HOW) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 24 and [line["path"][-8:] for line in lines if "error" in line] == ["0003.png"]


class Lines(io.TextIOBase):
    """A standard output whose lines another thread waits for."""

    def __init__(self) -> None:
        self.queue: queue.Queue[str] = queue.Queue()

    def write(self, text: str) -> int:
        if text.strip():
            self.queue.put(text)
        return len(text)


def test_a_stream_is_answered_as_it_comes(
    run: Path, data: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line is sent only when the one before was answered."""
    photos = sorted((run.parent / "photos0" / "class1").iterdir())
    encoded = base64.b64encode(photos[1].read_bytes()).decode()
    asked = [
        str(photos[0]), json.dumps({"path": str(photos[1]), "id": 7}), json.dumps({"data": encoded, "id": "x"}),
        "none.jpg", "{", json.dumps({"text": "a"}), json.dumps({"url": "http://x/"}), "",
    ]  # fmt: skip

    def lines() -> Iterator[str]:
        for line in asked:
            yield f"{line}\n"
            if line:
                shown.append(answers.queue.get(timeout=60))

    shown: list[str] = []
    answers = Lines()
    monkeypatch.setattr("sys.stdout", answers)
    assert from_stream(run, lines(), Progress(), engine="auto", every_class=False, size=4) == 4
    found = [json.loads(line) for line in shown]
    expected = hs.load(run).predict(photos[:2])
    assert [one.get("label") for one in found] == [expected[0], expected[1], expected[1], None, None, None, None]
    assert (
        found[1]["id"] == 7 and found[2]["id"] == "x" and "data" not in found[2] and found[0]["path"] == str(photos[0])
    )
    assert [("error" in one) for one in found] == [False] * 3 + [True] * 4 and "url" in found[6]
