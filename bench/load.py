"""How long the default source takes to load, beyond importing torch: in fresh processes, by turns with torch alone.

Usage: python bench/load.py [--rounds 5] [URI]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from machine import machine

TORCH = "from headstart.engines.environment import set_passive_omp_wait; set_passive_omp_wait(); import torch"
LOAD = "import headstart; headstart.open_source({uri!r}).module()"
CLOCK = """
import time
start, used = time.perf_counter(), time.process_time()
{code}
print(time.perf_counter() - start, time.process_time() - used)
"""


def seconds(code: str) -> tuple[float, float]:
    """Return wall and CPU seconds of `code` in a fresh process."""
    run = [sys.executable, "-c", CLOCK.format(code=code)]
    wall, cpu = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    return float(wall), float(cpu)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("uri", nargs="?", default="packaged:efficientnet-lite0")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(machine())
    codes = {"torch": TORCH, "source": f"{TORCH}\n{LOAD.format(uri=asked.uri)}"}
    rounds = [{name: seconds(code) for name, code in codes.items()} for _ in range(asked.rounds)]
    for at, clock in enumerate(("wall", "CPU")):
        alone, loaded = (statistics.median(one[name][at] for one in rounds) for name in codes)
        print(
            f"{clock}: torch {alone:.2f} s, torch and {asked.uri} {loaded:.2f} s, beyond torch {loaded - alone:.2f} s"
        )


if __name__ == "__main__":
    main()
