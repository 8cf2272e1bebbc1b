"""How soon Ctrl-C ends a command, in every phase of its work.

Usage: python bench/interrupt.py [--instants 12] [--phase NAME…]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from interrupts import PHASES, attempts, make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instants", type=int, default=12)
    parser.add_argument("--phase", action="append", choices=PHASES)
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder)
        print("| phase | instants | median, s | longest, s | wrong |\n|---|---|---|---|---|")
        for name in asked.phase or PHASES:
            ended = list(attempts(folder, name, asked.instants))
            seconds = [one.seconds for one in ended] or [float("nan")]
            wrong = [f"after {one.after:.1f} s: {one.wrong}" for one in ended if one.wrong]
            shown = f"{statistics.median(seconds):.2f} | {max(seconds):.2f} | {len(wrong)}"
            print(f"| {name} | {len(ended)} | {shown} |", flush=True)
            for one in ended:
                print(f"  {one.after:.1f}: {one.seconds:.2f} {one.text.strip().splitlines()[-1:]}", file=sys.stderr)
            for line in wrong:
                print(f"  {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
