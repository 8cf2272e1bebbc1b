"""What the tests of ../shared/field share: its scripts, which write inputs as people bring them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def made(shared: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that runs the script of a number, and returns the folder that it filled."""

    def make(number: str) -> Path:
        (script,) = (shared.parent / "field").glob(f"{number}_*.py")
        subprocess.run([sys.executable, script, tmp_path], check=True)
        return tmp_path

    return make
