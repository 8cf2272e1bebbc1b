"""The examples run from beginning to end."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_the_four_steps_on_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["digits.py", "--seeds", "2", "--epochs", "1", "--labels", "5"])
    runpy.run_path(str(EXAMPLES / "digits.py"), run_name="__main__")
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if " | " in line]
    assert [row[:2] for row in rows[1:]] == [["5", "carried over"], ["5", "from scratch"], ["5", "gain"]]
    start = re.fullmatch(r"([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]", rows[3][2])
    assert start is not None and float(start[2]) > 0, "what is carried over starts above scratch"
