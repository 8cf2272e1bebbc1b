"""From a fresh clone to the report of `make demo`, and what the parts of the core weigh.

Usage: python bench/install.py [--empty-pip-cache]

The clone is of the commit that is checked out. `--empty-pip-cache` makes pip fetch every package again.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

HERE = Path(__file__).parents[1]
LISTED = 8
HIDDEN = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
"""Variables that a person does not have set."""
MEASURE = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2); \
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"


def megabytes(folder: Path) -> float:
    """Return what the files below a folder take on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e6


def step(name: str, command: list[str | Path], folder: Path, environment: dict[str, str]) -> float:
    """Run a command, print its seconds and those of its processors, and return the former."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:<40} {seconds:6.1f} s, of processors {used:6.1f} s", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--empty-pip-cache", action="store_true")
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        clone, cache = Path(name) / "headstart", Path(name) / "cache"
        environment = {key: value for key, value in os.environ.items() if key not in HIDDEN}
        environment |= {"HEADSTART_CACHE": str(cache), "PYTHON": sys._base_executable}  # type: ignore[attr-defined]
        environment |= {"PIP_NO_CACHE_DIR": "1"} if asked.empty_pip_cache else {}
        total = step("git clone", ["git", "clone", "--quiet", HERE, clone], Path(name), environment)
        total += step("make .venv/.core (venv, pip)", ["make", ".venv/.core"], clone, environment)
        total += step("make demo (installed)", ["make", "demo"], clone, environment)
        print(f"{'fresh clone to the report':<40} {total:6.1f} s (asked: 75)")
        step("headstart demo again, all compiled", [clone / ".venv/bin/headstart", "demo"], clone, environment)
        packages = next((clone / ".venv/lib").glob("python*/site-packages"))
        parts = sorted(((megabytes(part), part.name) for part in packages.iterdir() if part.is_dir()), reverse=True)
        print(f"{'.venv with the core and the demo':<40} {megabytes(clone / '.venv'):6.0f} MB (asked: 1,000)")
        for size, part in parts[:LISTED]:
            print(f"    {part:<36} {size:6.0f} MB")
        print(f"    {'the rest':<36} {sum(size for size, _ in parts[LISTED:]):6.0f} MB")
        photo = packages / "skimage" / "data" / "chelsea.png"
        bundle = next((clone / "runs").glob("*/bundle"))
        empty = {**environment, "HEADSTART_CACHE": str(Path(name) / "empty")}
        predict = [clone / ".venv/bin/python", "-c", MEASURE, clone / ".venv/bin/headstart", "predict", bundle, photo]
        peak = subprocess.run(predict, env=empty, capture_output=True, text=True, check=True).stdout
        print(f"{'predict of one photo, nothing cached':<40} {int(peak):6.0f} MiB (asked: 400)")


if __name__ == "__main__":
    main()
