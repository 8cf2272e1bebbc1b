"""10,000 seeded mutants: each is used, skipped with a reason or refused in one line, within the bounds, or it is wrong.

A mutant is made again by its kind and number: `python tests/support/mutants.py pictures 17 1 1`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tally import Tally

ROW = "mutants"
SUPPORT = Path(__file__).parents[1] / "support"
COUNTS = {
    "pictures": 3_000,
    "recordings": 2_500,
    "tables": 1_500,
    "archives": 1_200,
    "checkpoints": 1_000,
    "bundles": 800,
    "arrays": 800,
    "shards": 400,
    "configs": 400,
}
PARTS = 4  # of each kind, so that two workers share the work
HANG = 120.0  # seconds by the clock without a word, after which a mutant is taken to hang


def outcomes(kind: str, first: int, count: int) -> Iterator[dict[str, Any]]:
    """Try mutants in processes of their own: one that dies is that mutant's outcome, and the next goes on."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    while count > 0:
        command = [sys.executable, str(SUPPORT / "mutants.py"), kind, *map(str, (first, count, PARTS))]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=HANG + count * 10, env=environment
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        ended = [line for line in lines if "outcome" in line]
        yield from ended
        if done.returncode == 0:
            assert len(ended) == count
            return
        assert lines, f"no mutant was begun: {done.stderr[-2000:]}"
        fault = f"the process died with {done.returncode}: {done.stderr[-300:]}"
        yield {"number": lines[-1].get("begins", -1), "outcome": "died", "wrong": fault}
        count -= len(ended) + 1
        first += (len(ended) + 1) * PARTS


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", COUNTS)
def test_a_mutant_is_used_skipped_or_refused__IMG_13_AUD_07_TAB_10_CKP_03(
    kind: str, part: int, tally: Tally, tries: Callable[[int], int]
) -> None:
    tally.row = f"mutants of {kind}"
    count = tries(COUNTS[kind] // PARTS)
    seen = set()
    for line in outcomes(kind, part, count):
        seen.add(line["outcome"])
        with tally.attempt(f"{kind} {line['number']}"):
            assert not line["wrong"], line["wrong"]
    tally.check(least=count)
    assert len(seen & {"used", "skipped", "refused"}) > 1 or count < 20, seen
