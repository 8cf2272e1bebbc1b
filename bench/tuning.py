"""Tuning: images per second of kept activations and of the whole network, accuracy within a budget, and resuming.

Usage: python bench/tuning.py speed           last:1 and last:2 from kept activations, and `all`, against plain loops
       python bench/tuning.py accuracy DATA [--budget 10m] [--seeds 3] [--sets sign_digits,trashnet]

The loops of one speed test take turns. A plain loop is what a script does: contiguous, nothing fused, AdamW, the same
batch;
for `all` in float32 with BatchNorm in training mode, for `last:N` with the same parts frozen and BatchNorm still.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

SETS = ("ants_bees", "cats_dogs", "flowers5", "trashnet", "sign_digits")
WITHOUT_SPLIT = ("trashnet", "sign_digits")
ASKED = {"sign_digits": 0.956, "trashnet": 0.828}
PICTURES, BATCH, ROUNDS = 64, 32, 3


def speed() -> None:
    from headstart.engines.environment import set_passive_omp_wait

    set_passive_omp_wait()
    import torch
    from torch import nn

    from headstart.base.progress import Progress
    from headstart.data.audit import scan
    from headstart.data.readers.open import open_dataset
    from headstart.heads.linear import LinearHead
    from headstart.sources.registry import open_source
    from headstart.testing import toy_photos
    from headstart.tune.trial import TuningTrial
    from headstart.tune.network.fused_batchnorm import fused
    from headstart.tune.problem import TrialConfig, TuningProblem
    from headstart.tune.training.task import Recipe, precision

    folder = Path(tempfile.mkdtemp(prefix="headstart-"))
    toy_photos(folder / "photos", classes=2, per_class=PICTURES, seed=0)
    scanned = scan(open_dataset(folder / "photos"), progress=Progress())
    source = open_source("packaged:efficientnet-lite0")
    rng = np.random.default_rng(0)
    learn, judge = tuple(range(PICTURES)), tuple(range(PICTURES, PICTURES + 8))
    y = rng.integers(0, 2, PICTURES + 8)
    x = rng.normal(size=(PICTURES + 8, 1280)).astype(np.float32)
    head = LinearHead("ridge", 1.0, np.zeros((1280, 2), np.float32), np.zeros(2, np.float32))
    problem = TuningProblem(
        scanned.dataset, scanned.hashes, learn, judge, y[:PICTURES], y[PICTURES:], source, "pool", head,
        x[:PICTURES], x[PICTURES:], 2, folder / "cache",
    )  # fmt: skip
    decoded_cache: dict = {}
    device = torch.device("cpu")

    def trial(mode: str, *, cache_activations: bool) -> TuningTrial:
        config = TrialConfig(
            mode, cache_activations=cache_activations, augmented_views=1, recipe=Recipe(batch_size=BATCH)
        )
        made = TuningTrial(problem, config, decoded_cache=decoded_cache, device=device, progress=Progress())
        if made.prefix is not None:
            made._activations = made._cache_activations(made.prefix, None)
        return made

    def epoch(made: TuningTrial) -> Callable[[], None]:
        task = made.task()
        optimizer = torch.optim.AdamW([weight.tensor for weight in task.weights], lr=1e-6)

        def run() -> None:
            with fused(made.body, made.pairs):
                task.set_training(training=True)
                for rows in task.train.order(0, batch_size=BATCH, seed=0):
                    optimizer.zero_grad()
                    with precision(device):
                        scores = task.scores(*task.train.inputs(rows, epoch=0))
                    nn.functional.cross_entropy(scores, torch.from_numpy(task.train.y[rows])).backward()
                    optimizer.step()

        return run

    pictures = rng.normal(size=(PICTURES, 3, 224, 224)).astype(np.float32)

    def plain(learns: TuningTrial | None) -> Callable[[], None]:
        """Return a script's loop: contiguous; everything learns, BatchNorm too, or what an arm's groups name."""
        body, last = copy.deepcopy(source.module()).train(learns is None), nn.Linear(1280, 2)
        for name, weight in body.named_parameters():
            weight.requires_grad_(learns is None or name in learns.groups.lr_scales)
        weights = [weight for weight in (*body.parameters(), *last.parameters()) if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=1e-6)

        def run() -> None:
            for start in range(0, PICTURES, BATCH):
                optimizer.zero_grad()
                with precision(device):
                    final = body.forward_features(torch.from_numpy(pictures[start : start + BATCH]))
                    scores = last(body.forward_head(final, pre_logits=True))
                nn.functional.cross_entropy(scores.float(), torch.from_numpy(y[start : start + BATCH])).backward()
                optimizer.step()

        return run

    first, second = trial("last:1", cache_activations=True), trial("last:2", cache_activations=True)

    contenders = {
        "last:1, kept activations": epoch(first),
        "last:1, whole network, our loop": epoch(trial("last:1", cache_activations=False)),
        "last:1, whole network, plain loop": plain(first),
        "last:2, kept activations": epoch(second),
        "last:2, whole network, our loop": epoch(trial("last:2", cache_activations=False)),
        "last:2, whole network, plain loop": plain(second),
        "all": epoch(trial("all", cache_activations=True)),
        "all, plain loop": plain(None),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(ROUNDS + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if number:  # the first round warms up
                rates[name].append(PICTURES / (time.perf_counter() - start))
    for name, found in rates.items():
        print(f"{name:<34} {statistics.median(found):8.1f} images/s")
    for one, other, asked in (
        ("last:1, kept activations", "last:1, whole network, our loop", 6),
        ("last:1, kept activations", "last:1, whole network, plain loop", 6),
        ("last:2, kept activations", "last:2, whole network, our loop", 3),
        ("last:2, kept activations", "last:2, whole network, plain loop", 3),
        ("all", "all, plain loop", 1.7),
    ):
        ratios = [a / b for a, b in zip(rates[one], rates[other], strict=True)]
        print(f"RATIO {one} / {other}: {statistics.median(ratios):.1f} (asked {asked})")


def sure(said: dict[str, Any]) -> str:
    """Return what the examples that judged say of the best way."""
    confirmed = said["confirmed"]
    gain = confirmed["gain"] if confirmed else said["tried"][0]["gain"] if said["tried"] else None
    if gain is None:
        return "nothing could be tried"
    where = f"{confirmed['examples']} further examples" if confirmed else "the held-out part"
    return f"{said['way']}: {gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}] nats on {where}"


def accuracy(data: Path, budget: str, seeds: int, sets: list[str]) -> None:
    for name in sets:
        frozen, tuned, ways = [], [], []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as out:
                command = [sys.executable, "-m", "headstart", "fit", str(data / f"{name}.tar"), "--seed", str(seed)]
                command += ["--tune", "auto", "--budget", budget, "--out", out, "--json"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            said = result["tuning"]
            frozen.append(said["test"]["frozen"]["accuracy"]["value"])
            tuned.append(result["test"]["accuracy"]["value"])
            ways.append(said["way"] if said["kept"] else "frozen")
            print(
                f"{name} seed {seed}: frozen {frozen[-1]:.4f}, auto {tuned[-1]:.4f} ({ways[-1]}), "
                f"{result['seconds']['tune']:.0f} s; {sure(said)}",
                flush=True,
            )
        asked = f" (asked {ASKED[name]})" if name in ASKED else ""
        print(f"{name:<12} frozen {statistics.mean(frozen):.4f}  auto {statistics.mean(tuned):.4f}{asked}  {ways}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("speed", "accuracy"))
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default=",".join(SETS))
    asked = parser.parse_args()
    print(machine())
    if asked.what == "speed":
        speed()
    else:
        accuracy(asked.data, asked.budget, asked.seeds, asked.sets.split(","))


if __name__ == "__main__":
    main()
