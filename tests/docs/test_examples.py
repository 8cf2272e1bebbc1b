"""The examples run from beginning to end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_four_steps_on_digits(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "digits.py"), "--seeds", "2", "--epochs", "2", "--labels", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows[1:]] == [["5", "carried over"], ["5", "from scratch"], ["5", "gain"]]
    start = re.fullmatch(r"([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]", rows[3][2])
    assert start is not None and float(start[2]) > 0, "what is carried over starts above scratch"
