"""A simulation of many workers with failures, by the schedule that `fit --cluster` follows, in simulated time.

Usage: python bench/thousand_workers.py [--examples 10000000] [--workers 1000] [--rate 60] [--driver 200]

The rates are measured ones: examples a second of one worker (`bench/cluster.py`), and shards a second that the one
process takes and writes (`--driver`, measured at the start where it is left out). Workers die at random, each
once in so many hours, also of their poison; a new one takes a while to open data and network.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from machine import machine

from headstart.scale.elsewhere import SHARD
from headstart.scale.schedule import WorkerDied, run_orders
from headstart.scale.shards import Shard, ShardFolder, to_bytes
from headstart.scale.worker import Order


class Simulated:
    """Workers in simulated time, whose results one process takes one after the other."""

    def __init__(self, options: argparse.Namespace, poison: set[int]) -> None:
        self.options, self.poison, self.random = options, poison, np.random.default_rng(0)
        self.free = [0.0] * options.workers  # when each worker that has nothing to do was ready
        self.ends: list[tuple[float, int, bool, bool]] = []  # when, which order, in death, noted
        self.now = self.worked = self.lost = self.taking = 0.0
        self.deaths = 0
        heapq.heapify(self.free)

    def idle(self) -> bool:
        return bool(self.free)

    def give(self, number: int, order: Order, *, carefully: bool) -> None:
        start = max(heapq.heappop(self.free), self.now)
        seconds = SHARD / self.options.rate * self.random.uniform(0.8, 1.25) * (2 if carefully else 1)
        until_death = self.random.exponential(3600 * self.options.hours)
        bad = number in self.poison and not order.poison
        dies = bad or until_death < seconds
        seconds = min(until_death, seconds * self.random.random() if bad else seconds)
        heapq.heappush(self.ends, (start + seconds, number, dies, carefully and bad))
        if dies:
            self.lost += seconds
        else:
            self.worked += seconds

    def wait(self) -> tuple[int, Callable[[], Any]]:
        at, number, dies, noted = heapq.heappop(self.ends)
        self.now = max(self.now, at)
        heapq.heappush(self.free, self.now + (self.options.restart if dies else 0))
        if dies:
            self.deaths += 1
        else:  # the one process takes shards one after the other, and gives no order meanwhile
            self.now += 1 / self.options.driver
            self.taking += 1 / self.options.driver

        def result() -> None:
            if dies:
                raise WorkerDied(0 if noted else None)

        return number, result


def taken_a_second(width: int, summary: int) -> float:
    """Return how many shards of features a second of processor are written, and their rows copied."""
    rng = np.random.default_rng(0)
    digests = tuple(f"{number:064x}" for number in range(SHARD))
    shard = Shard(
        digests, {}, {}, np.arange(SHARD), rng.random((SHARD, width), np.float32),
        rng.integers(0, 256, (SHARD, summary), np.uint8), "m", "e",
    )  # fmt: skip
    data, x, summaries = to_bytes(shard), np.empty_like(shard.x), np.empty_like(shard.summaries)
    start, count = time.process_time(), 0
    with tempfile.TemporaryDirectory() as folder:
        shards = ShardFolder(folder)
        while time.process_time() - start < 2:
            shards.put(str(count % 8), data)
            x[:], summaries[:] = shard.x, shard.summaries
            count += 1
    return count / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=60.0, help="examples a second of one worker")
    parser.add_argument("--hours", type=float, default=24.0, help="after which a worker dies, on average")
    parser.add_argument("--restart", type=float, default=30.0, help="seconds until a new worker is ready")
    parser.add_argument("--poison", type=float, default=1e-6, help="the share of examples that kill")
    parser.add_argument("--width", type=int, default=1_280 + 2_200, help="features of an example, all blocks")
    parser.add_argument("--driver", type=float, default=0.0, help="shards a second that the one process takes")
    options = parser.parse_args()
    print(machine())
    options.driver = options.driver or taken_a_second(options.width, 1_792)
    count = -(-options.examples // SHARD)
    random = np.random.default_rng(1)
    poison = set(random.choice(count, round(options.examples * options.poison), replace=False).tolist())
    workers, done = Simulated(options, poison), 0

    def accept(number: int, result: Any) -> None:
        nonlocal done
        done += 1

    run_orders(workers, [Order(0, (str(number),)) for number in range(count)], accept)
    seconds = workers.now
    ideal = options.examples / options.rate / options.workers
    print(f"{options.examples:,} examples, {options.workers:,} workers of {options.rate:.0f}/s, {done:,} shards done")
    print(f"{seconds / 3600:.2f} h, {ideal / 3600:.2f} h without anything in the way: efficiency {ideal / seconds:.3f}")
    hours = (workers.lost / 3600, (workers.worked + workers.lost) / 3600)
    lost = f"{hours[0]:.1f} of {hours[1]:,.1f} worker hours lost"
    print(f"{workers.deaths} deaths, of {len(poison)} poison examples three each; {lost}")
    taken, most = options.driver * SHARD, options.driver * SHARD / options.rate
    print(f"one process takes {taken:,.0f} examples/s, busy {workers.taking / seconds:.0%}; enough for {most:,.0f}")


if __name__ == "__main__":
    main()
