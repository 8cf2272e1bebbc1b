"""The main job where nothing heavy can be imported, by the script that .ci/run calls in an environment without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

JOBS = Path(__file__).parents[2] / "core" / "jobs.py"


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["photos", "texts", "recordings", "refusals"])
def test_the_core_does_it_and_imports_nothing_heavy(tmp_path: Path, warm_cache: Path, kind: str) -> None:
    command = [sys.executable, "-P", str(JOBS), str(tmp_path), kind, "--block"]
    environment = {**os.environ, "HEADSTART_CACHE": str(warm_cache)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{kind}: as it must be\n"
