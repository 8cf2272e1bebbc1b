"""Ctrl-C in every phase of a command: it ends within two seconds, says what is kept, and leaves no child behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from interrupts import PHASES, attempts, make
from tally import Tally

ROW = "Ctrl-C"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("interrupts")
    make(made)
    return made


@pytest.mark.parametrize("name", PHASES)
def test_ctrl_c_ends_a_phase_soon__DSK_11(name: str, folder: Path, tally: Tally, tries: Callable[[int], int]) -> None:
    tally.row = f"Ctrl-C: {name}"
    for ended in attempts(folder, name, tries(12)):
        with tally.attempt(f"after {ended.after:.1f} s"):
            assert not ended.wrong, ended.wrong
    tally.check()
