"""Seconds that the features store takes to read 20,000 rows of the default source: the best of three.

Usage: python bench/store.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from machine import machine

from headstart.features.store import Store, StoredRow

WIDTH, ROWS, AT_ONCE = 3656, 20_000, 500


def main() -> None:
    print(machine())
    row = StoredRow(np.random.default_rng(0).normal(size=WIDTH).astype(np.float32), np.zeros(768, dtype=np.uint8))
    keys = [number.to_bytes(32, "big") for number in range(ROWS)]
    chunks = [keys[start : start + AT_ONCE] for start in range(0, ROWS, AT_ONCE)]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        with Store(Path(folder)) as store:
            for chunk in chunks:
                store.put_many(dict.fromkeys(chunk, row))
        for _ in range(3):
            start = time.perf_counter()
            with Store(Path(folder)) as store:
                for chunk in chunks:
                    assert len(store.get_many(chunk)) == AT_ONCE
            seconds.append(time.perf_counter() - start)
    print(f"{ROWS:,} rows of {WIDTH:,} features: {min(seconds):.2f} s")


if __name__ == "__main__":
    main()
