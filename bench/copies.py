"""Peak memory of `fit`, of tuning and of `compare` on a table of many rows that hold a few distinct texts.

Usage: python bench/copies.py [--rows 1000000] [--command fit|tune|compare …]

The figure is the peak of the process itself, libraries included; torch alone takes some 0.5 GiB of it where it is used.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

TEXTS = 20
COMMANDS = {
    "fit": ("fit",),
    "tune": ("fit", "--tune", "last:1", "--budget", "60s"),
    "compare": ("compare", "--budget", "180s", "--seeds", "3"),
}
PROBE = """
import atexit, resource, sys
from headstart.cli.app import main
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr))
main()
"""


def table(path: Path, rows: int) -> None:
    """Write rows of the texts by turns, each with its label."""
    texts = [f"{'sunny' if number % 2 else 'rainy'} day number {number} by the sea," for number in range(TEXTS)]
    lines = [f"{text}{'good' if number % 2 else 'bad'}\n" for number, text in enumerate(texts)]
    with path.open("w") as file:
        file.write("text,label\n")
        for _ in range(rows // TEXTS):
            file.writelines(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--command", action="append", choices=COMMANDS)
    asked = parser.parse_args()
    print(machine())
    print("| command | rows | peak, MiB | seconds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "rows.csv"
        table(data, asked.rows)
        for name in asked.command or COMMANDS:
            command, *options = COMMANDS[name]
            start = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-c", PROBE, command, str(data), "--out", f"{temporary}/{name}", *options],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "HEADSTART_CACHE": f"{temporary}/cache"},
            )
            lines = done.stderr.strip().splitlines()
            assert done.returncode == 0, lines[-5:]
            peak = int(lines[-1]) >> 10
            print(f"| {name} | {asked.rows:,} | {peak:,} | {time.monotonic() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
